"""Check, before anything is trained, that a run is possible."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from copy import deepcopy

import torch

from deepexp import models
from deepexp.config import import_paths
from deepexp.config.import_paths import is_own
from deepexp.config.settings import Config
from deepexp.data import catalogue
from deepexp.pruning import masks, signs
from deepexp.runs import checkpoint
from deepexp.runs.workspace import Run, borrowed
from deepexp.storage import completeness
from deepexp.storage import folder as layout
from signflow.machine import memory

_CXX = ("clang++",) if sys.platform == "darwin" else ("g++",)
# Up to this width, torch can build the outline of every network. For wider networks, the number of weights is
# extrapolated from the network of this width.
_COUNTED = 1e4


def without_bf16() -> bool:
    """Return whether this is an x86 processor without bf16 instructions."""
    # torch reports this only through private functions.
    has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return platform.machine() in ("x86_64", "AMD64") and not has


def check_compiler(device: str) -> None:
    """Raise ValueError if the compiler that torch.compile calls is not installed."""
    # On a CPU, torch.compile calls a C++ compiler. On a GPU, it calls Triton, which calls a C compiler.
    variable, names = ("CXX", _CXX) if device == "cpu" else ("CC", ("gcc", "clang"))
    names = (os.environ[variable],) if os.environ.get(variable) else names
    if not any(map(shutil.which, names)):
        raise ValueError(
            f"machine.compile = true on '{device}' needs a compiler, but there is no {' or '.join(names)}; "
            f"install one, set the environment variable {variable} to another compiler, or leave out "
            "machine.compile"
        )


def check_device_memory(config: Config) -> None:
    """Raise ValueError if the device has too little memory for the run.

    A run with a user's own network or images is not checked, because their sizes are not known yet. The
    estimate is a lower bound. It counts the weights, gradients and momentum in float32, and one batch of
    images. With Sign-In, a weight has no momentum of its own. Instead, it has two factors, each with a
    gradient and a momentum.
    """
    if is_own(config.model.name) or config.data.dataset not in catalogue.SOURCES:
        return
    source, machine, model = catalogue.SOURCES[config.data.dataset], config.machine, config.model
    height, _, channels = source.shape
    size = config.data.size or config.data.side or height
    counted = min(model.width, _COUNTED)
    net = models.outline(
        model.name,
        classes=min(config.data.classes or source.classes, source.classes),
        stem=model.stem,
        width=counted,
        channels=channels,
    )
    wider = model.width / counted  # the number of weights grows with the square of the width
    count = sum(parameter.numel() for parameter in net.parameters()) * wider * wider
    images = config.train.batch_size // machine.processes
    # A step of Sign-In holds all 8 copies at once, although the factors' gradients are freed at its end.
    copies = 8 if config.train.parameterization == "sign-in" else 3
    values = copies * count + images * channels * size * size
    need = 4 * max(1, len(machine.stack)) * values
    have = memory()
    if machine.device == "cuda":
        have = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    if need > have:
        raise ValueError(
            f"{model.name} of width {model.width:g} with batches of {images:,} images of {size}x{size} "
            f"pixels needs {need / 1e9:,.3g} GB or more, but '{machine.device}' has {have / 1e9:,.3g} GB; "
            "set a smaller model.width, train.batch_size or data.size"
        )


def check_possible(work: Run) -> None:
    """Raise ValueError if the data, a setting or another run makes the run impossible."""
    config, dense = work.config, masks.dense_mask(work.net)
    if work.per_epoch == 0:
        raise ValueError(
            f"train.batch_size must be at most {len(work.dataset.train):,}, the number of training images, "
            f"got {config.train.batch_size:,}"
        )
    if is_own(config.pruning.score):
        import_paths.load("pruning.score", config.pruning.score, config.pruning.code)
    if config.pruning.score == "snip" and config.pruning.snip_batches > work.per_epoch:
        raise ValueError(
            f"pruning.snip_batches must be at most {work.per_epoch:,}, the number of batches in an epoch, "
            f"got {config.pruning.snip_batches:,}"
        )
    rest = 0 if config.train.drop_last else len(work.dataset.train) % config.train.batch_size
    if rest % config.machine.processes:
        raise ValueError(
            f"machine.processes must divide {rest}, the number of images in the last batch, got "
            f"{config.machine.processes}; set train.drop_last=true"
        )
    _check_images(work, (rest or config.train.batch_size) // config.machine.processes)
    if config.policy.rewinds() and not work.rewind < work.total(0):
        raise ValueError(
            f"the rewind point must lie before the end of level 0 (step {work.total(0):,}), got step "
            f"{work.rewind:,}; set a smaller policy.rewind_epoch or policy.rewind_step"
        )
    if config.pruning.run is None:
        last = config.pruning.kept(config.pruning.levels, dense.total)
        if last < 1:
            raise ValueError(
                f"every level must keep at least one weight, but with pruning.keep = {config.pruning.keep:g} "
                f"level {config.pruning.levels} keeps none of {dense.total:,} weights; set a smaller "
                "pruning.levels"
            )
    if config.perturbation.fraction:
        signs.perturbation(dense, config.perturbation, 0)
    for run_id in filter(None, (config.pruning.run, config.donor)):
        completeness.check_complete(work.other(run_id), run_id)
    if config.pruning.run is not None:
        _check_masks(work)
    if config.donor is not None:
        _check_donor(work)


def _check_images(work: Run, smallest: int) -> None:
    """Raise ValueError if images are too small to crop, or a batch is too small for batch normalisation.

    `smallest` is the number of images that each process gets from the smallest batch.
    """
    config, (height, width, channels) = work.config, work.dataset.shape
    if config.data.crop_padding >= min(height, width):
        raise ValueError(
            f"data.crop_padding must be below {min(height, width)}, the smaller side of the images, got "
            f"{config.data.crop_padding}"
        )
    if smallest > 1:
        return
    copy = deepcopy(work.net).to("meta").train()
    try:
        copy(torch.empty(1, channels, height, width, device="meta"))
    except ValueError:  # batch normalisation needs more than one value per channel
        raise ValueError(
            f"{config.model.name} on {height}x{width} images cannot train on a batch of one image, got "
            f"{len(work.dataset.train):,} images in batches of {config.train.batch_size}; set "
            f"train.drop_last=true or another train.batch_size"
        ) from None


def _check_masks(work: Run) -> None:
    """Raise ValueError unless the masks of `pruning.run` exist, fit the network, are nested and not empty."""
    config, previous = work.config, masks.dense_mask(work.net)
    assert config.pruning.run is not None
    for level in range(config.pruning.levels + 1):
        mask = borrowed(work, level)
        masks.check_fits(mask, work.net, config.pruning.run)
        if not mask.within(previous) or mask.kept == 0:
            raise ValueError(
                f"the masks of {config.pruning.run} must be nested and not empty, but the mask of level "
                f"{level} is empty or revives weights; use the masks of another run"
            )
        previous = mask


def _check_donor(work: Run) -> None:
    """Raise ValueError unless the donor has weights that fit this network for every level but the last."""
    config = work.config
    assert config.donor is not None
    for level in range(config.pruning.levels):
        have = checkpoint.load_state(layout.file(work.other(config.donor), "weights", level)).tensors
        for name, weight in models.prunable(work.net).items():
            if name not in have or have[name].shape != weight.shape:
                raise ValueError(
                    f"the weights of the donor {config.donor} must fit this network, but '{name}' is missing "
                    "or has another shape; use a donor with the same model"
                )
