"""Read a run, finished or not, from its folder: its table, masks, signs, weights and networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deepexp import models
from deepexp.analysis.labels import NAMES
from deepexp.config.import_paths import is_own
from deepexp.config.settings import Config
from deepexp.data import dataset as data
from deepexp.networks import network
from deepexp.pruning.masks import Mask
from deepexp.runs.checkpoint import load_state
from deepexp.storage import bit_files, records
from deepexp.storage import folder as layout
from signflow.files import atomic, check_folder
from signflow.formats import labelled

if TYPE_CHECKING:
    import xarray as xr

_COUNTS = ("kept", "total", "flips")


@dataclass(frozen=True)
class StoredRun:
    """The stored results of a run, as `load` returns them. Its methods only read the run's folder.

    The levels 0, 1, ..., len(levels.level) - 1 are complete. Masks, signs and weights are mappings with one
    tensor for each convolution or linear layer, in the order of the layers. The keys are the names of the
    weight tensors in the state dict.

    Attributes
    ----------
    folder : Path
        The run's folder.
    config : Config
        The run's configuration.
    levels : xarray.Dataset
        The columns of levels.csv. The dimension `level` has one entry for each complete level.
    """

    folder: Path
    config: Config
    levels: xr.Dataset

    def mask(self, level: int) -> Mask:
        """Return the mask of a level.

        Parameters
        ----------
        level : int
            A complete level.

        Returns
        -------
        Mask
            Boolean tensors by layer, True where a weight is alive.

        Raises
        ------
        ValueError
            The level is not complete, or its file is missing or damaged.
        """
        return Mask(bit_files.load(self._file("masks", level)))

    def signs(self, level: int) -> dict[str, Tensor]:
        """Return the signs of the weights at the end of a level.

        Parameters
        ----------
        level : int
            A complete level.

        Returns
        -------
        dict of str to Tensor
            For each layer, an int8 tensor in the shape of its weights: 0 for a pruned weight, -1 for a
            negative living weight, and +1 for any other living weight.

        Raises
        ------
        ValueError
            As for `mask`.
        """
        negative = bit_files.load(self._file("signs", level))
        return {name: (1 - 2 * negative[name].to(torch.int8)) * alive for name, alive in self.mask(level)}

    def weights(self, level: int) -> dict[str, Tensor]:
        """Return the weights at the end of a level.

        Parameters
        ----------
        level : int
            A complete level.

        Returns
        -------
        dict of str to Tensor
            For each layer, a float32 tensor in which pruned weights are 0.

        Raises
        ------
        ValueError
            As for `mask`.
        """
        state = self.state(level)
        return {name: state[name] for name, _ in self.mask(level)}

    def state(self, level: int) -> dict[str, Tensor]:
        """Return the state dict of the network at the end of a level.

        Parameters
        ----------
        level : int
            A complete level.

        Returns
        -------
        dict of str to Tensor
            All parameters and buffers, on the CPU; pruned weights are 0.

        Raises
        ------
        ValueError
            As for `mask`, or the stored weights contradict the mask.
        """
        found = dict(load_state(self._file("weights", level), self.config.run_id).tensors)
        path = layout.file(self.folder, "masks", level)
        for name, alive in self.mask(level):
            if name not in found or found[name].shape != alive.shape:
                raise ValueError(
                    f"the masks in '{path}' must fit the weights of their run, but '{name}' does not; "
                    "restore the file"
                )
            revived = int((found[name].masked_fill(alive, 0) != 0).count_nonzero())
            if revived:
                raise ValueError(
                    f"every pruned weight of '{self.folder}' must be 0, but {revived:,} of '{name}' at level "
                    f"{level} are not; delete the run and start it again"
                )
        return found

    def model(self, level: int) -> nn.Module:
        """Build the network as it was at the end of a level, with pruned weights set to 0.

        Parameters
        ----------
        level : int
            A complete level.

        Returns
        -------
        nn.Module
            The network on the CPU, in evaluation mode. It maps images (B, C, H, W), normalised as by
            `dataset`, to logits (B, classes). It has no masks, so further training would change the pruned
            weights unless the caller masks them.

        Raises
        ------
        ValueError
            As for `state`, or the source of a user's own network has changed.
        """
        state, mask, model = self.state(level), self.mask(level), self.config.model
        if is_own(model.name):
            made = records.about(self.folder)
            net = network(
                model, classes=made["classes"], shape=tuple(made["image_shape"]), seed=self.config.seed
            )
        else:
            # Earlier versions did not record the numbers of classes and channels, but the shapes of the
            # classifier and of the first convolution show them.
            shapes = [tuple(alive.shape) for _, alive in mask]
            net = models.outline(
                model.name, classes=shapes[-1][0], stem=model.stem, width=model.width, channels=shapes[0][1]
            )
        net.load_state_dict(state, assign=True)
        return net.eval()

    def dataset(self) -> data.Dataset:
        """Load the images of the run onto the CPU, split and normalised as in the run.

        Returns
        -------
        Dataset

        Raises
        ------
        ValueError
            This machine does not have the data, or they are damaged.
        """
        return data.load(self.config.data, self.config.seed)

    def _file(self, kind: str, level: int) -> Path:
        """Return the path of a file of a level; raise ValueError unless the level is complete."""
        done = self.levels.sizes["level"]
        if not 0 <= level < done:
            raise ValueError(
                f"the level must be complete in '{self.folder}', which has {done} complete levels (counted "
                f"from 0), got {level}"
            )
        return layout.file(self.folder, kind, level)


def load(run_folder: str | Path) -> StoredRun:
    """Read a run, finished or not, from its folder.

    Parameters
    ----------
    run_folder : str or Path
        The folder, such as 'runs/RUN_ID'.

    Returns
    -------
    StoredRun
        The run as it is now. To see levels that finish later, call `load` again.

    Raises
    ------
    ValueError
        The folder holds no run, or its configuration or table is damaged.
    """
    folder = Path(run_folder)
    return StoredRun(folder, layout.read_config(folder), _levels(folder / "levels.csv"))


def _levels(path: Path) -> xr.Dataset:
    """Read levels.csv as a Dataset, with counts as integers and a label for every column."""
    import xarray as xr

    rows = records.rows(path)
    columns = [name for name in (rows[0] if rows else ()) if name != "level"]
    table = {name: ("level", [row[name] for row in records.numbers(path, columns)]) for name in columns}
    made = labelled(xr.Dataset(table, {"level": range(len(rows))}), NAMES)
    return made.assign({name: made[name].astype(int) for name in _COUNTS if name in made})


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
        As for `StoredRun.state`.
    """
    stored = load(run)
    state = stored.state(level)
    pruned: dict[str, Any] = dict(state)
    for name, alive in stored.mask(level):
        pruned[f"{name}_orig"] = pruned.pop(name)
        pruned[f"{name}_mask"] = alive.to(state[name].dtype)
    check_folder(out)
    paths = [out / "state_dict.pt", out / "pruned_state_dict.pt"]
    for path, tensors in zip(paths, (state, pruned), strict=True):
        with atomic(path) as temporary, temporary.open("wb") as file:
            torch.save(tensors, file)  # given a path, torch would store its temporary name
    return paths
