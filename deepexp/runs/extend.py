"""Extend a finished run: a run with more levels starts from the levels of a shorter run beside it.

A level does not depend on how many levels follow. The levels of the shorter run are therefore also levels of
the longer run. Their files have the same bytes, except for the run_id in weights, states and checkpoints.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepexp.config.settings import Config
from deepexp.runs.workspace import Run
from deepexp.storage import completeness, records, tensor_files
from signflow.files import atomic

_SAME = ("data_variant", "data_digest")  # what both runs must have in common, besides the version of torch
_MADE_BY = ("run_id", "revision", "source_digest", "versions", "cpu", "platform", "created")


def shorter_run(work: Run, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """Find the longest finished run that a new run can start from.

    Parameters
    ----------
    work : Run
        The run. If it has checkpoints, it has begun, and starts from no other run.
    about : Mapping[str, Any]
        The data and software of this process, as about.json will record them.

    Returns
    -------
    dict of str to Any, optional
        The run_id and the number of prunings of the shorter run, and the software and machine that made it,
        for about.json. None if no shorter run is complete, undamaged, and made from the same data by the same
        version of torch.
    """
    if (work.folder / "checkpoints").exists():
        return None
    for levels in reversed(range(work.config.pruning.levels)):
        shorter = _with_levels(work.config, levels)
        folder = work.other(shorter.run_id)
        if not (folder / "config.toml").is_file():
            continue
        try:
            if not completeness.is_complete(folder, shorter) or completeness.damaged(folder, shorter):
                continue
            there = records.about(folder)
        except ValueError:
            continue
        torch = json.loads(about["versions"])["torch"]
        if there["versions"].get("torch") == torch and all(there.get(key) == about[key] for key in _SAME):
            return {name: there.get(name) for name in _MADE_BY} | {"levels": levels}
    return None


def _with_levels(config: Config, levels: int) -> Config:
    return config.model_copy(update={"pruning": config.pruning.model_copy(update={"levels": levels})})


def copy_levels(work: Run, run_id: str) -> None:
    """Copy the levels and checkpoints of a finished run, so that `work` resumes from the last checkpoint.

    Parameters
    ----------
    work : Run
        The run, which has no checkpoints yet.
    run_id : str
        The finished run, which `shorter_run` has found.
    """
    source, target = work.other(run_id), work.folder
    # Copy the checkpoints last. If the process is killed before that, the run starts anew.
    for kind in ("masks", "signs", "weights", "states", "checkpoints"):
        for path in sorted((source / kind).glob("*.safetensors")):
            copy = target / kind / path.name
            if kind in ("masks", "signs"):
                with atomic(copy) as temporary:
                    shutil.copyfile(path, temporary)
            else:
                _copy_renamed(path, copy, work.config.run_id)


def _copy_renamed(path: Path, copy: Path, run_id: str) -> None:
    """Copy a file of tensors, and replace the run_id in the copy by `run_id`."""
    tensors, meta = tensor_files.read(path)
    tensor_files.write(tensors, copy, {**meta, "run_id": run_id})
