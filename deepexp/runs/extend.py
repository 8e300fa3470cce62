"""Extend a finished run: a run with more levels starts from the levels of a shorter one beside it.

Levels do not depend on how many follow, so the levels of both runs are the same, and so are the bytes of
their files, apart from the run_id that the files of tensors name.
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
        Which run it is and what made it, for about.json. None if there is no such run, or if it was made from
        other data or by another version of torch.
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
    """Copy the levels of a finished run, from whose last checkpoint this run then resumes.

    Parameters
    ----------
    work : Run
        The run, which has no checkpoints yet.
    run_id : str
        The finished run, which `shorter_run` has found.
    """
    source, target = work.other(run_id), work.folder
    # The checkpoints come last: without them, a run that was killed here starts anew.
    for kind in ("masks", "signs", "weights", "states", "checkpoints"):
        for path in sorted((source / kind).glob("*.safetensors")):
            copy = target / kind / path.name
            if kind in ("masks", "signs"):
                with atomic(copy) as temporary:
                    shutil.copyfile(path, temporary)
            else:
                _copy_renamed(path, copy, work.config.run_id)


def _copy_renamed(path: Path, copy: Path, run_id: str) -> None:
    """Copy a file of tensors, which then names another run."""
    tensors, meta = tensor_files.read(path)
    tensor_files.write(tensors, copy, {**meta, "run_id": run_id})
