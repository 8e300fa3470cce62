"""Export a level's network for other code, as a plain state dict and in torch.nn.utils.prune's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from deepexp.runs.checkpoint import load_state
from deepexp.storage import folder as layout
from deepexp.storage import records
from deepexp.storage.bit_files import load
from signflow.files import atomic, check_folder


def export(run: Path, level: int, out: Path) -> list[Path]:
    """Write the network at the end of a level to state_dict.pt and pruned_state_dict.pt.

    In state_dict.pt, pruned weights are 0. In pruned_state_dict.pt, '<layer>.weight_orig' and
    '<layer>.weight_mask' replace '<layer>.weight', as in a network masked by torch.nn.utils.prune. Both files
    can be read with torch.load(..., weights_only=True).

    Parameters
    ----------
    run : Path
        The run's folder.
    level : int
        The level, which must be complete.
    out : Path
        The folder to write to.

    Returns
    -------
    list of Path
        The two files.

    Raises
    ------
    ValueError
        The level is not complete, its mask does not fit its weights, or a pruned weight is not 0.
    """
    config = layout.read_config(run)
    done = len(records.rows(run / "levels.csv"))
    if not 0 <= level < done:
        raise ValueError(
            f"the level must be one of the complete levels of '{run}', of which there are {done} (counted "
            f"from 0), got {level}"
        )
    state = dict(load_state(layout.file(run, "weights", level), config.run_id).tensors)
    pruned: dict[str, Any] = dict(state)
    path = layout.file(run, "masks", level)
    for name, alive in load(path).items():
        if name not in state or state[name].shape != alive.shape:
            raise ValueError(
                f"the masks in '{path}' must fit the weights of their run, but the mask of '{name}' does "
                "not; restore the file"
            )
        revived = int((state[name].masked_fill(alive, 0) != 0).count_nonzero())
        if revived:
            raise ValueError(
                f"every pruned weight of '{run}' must be 0, but {revived:,} pruned weights of '{name}' at "
                f"level {level} are not; delete the run and start it again"
            )
        pruned[f"{name}_orig"] = pruned.pop(name)
        pruned[f"{name}_mask"] = alive.to(state[name].dtype)
    check_folder(out)
    paths = [out / "state_dict.pt", out / "pruned_state_dict.pt"]
    for path, tensors in zip(paths, (state, pruned), strict=True):
        with atomic(path) as temporary, temporary.open("wb") as file:
            torch.save(tensors, file)  # given a path, torch would store the temporary name
    return paths
