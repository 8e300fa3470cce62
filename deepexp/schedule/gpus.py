"""Which GPU a run takes: the first that no other run holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepexp.config.settings import Config


@contextlib.contextmanager
def device(config: Config) -> Iterator[None]:
    """Give a run on 'cuda' a GPU of this machine for itself, as soon as one is free.

    A run on a CPU gets none, nor do the processes of torchrun, which have theirs. Users of one machine do not
    wait for each other.

    Parameters
    ----------
    config : Config
        Its `machine.device` says whether the run needs a GPU.

    Yields
    ------
    None
        While the run holds the GPU, which is torch's current device.

    Raises
    ------
    ValueError
        Where torch finds no GPU.
    """
    if config.machine.device == "cpu" or "LOCAL_RANK" in os.environ:
        yield
        return
    import torch

    if not torch.cuda.is_available():
        raise ValueError("a run on 'cuda' needs a CUDA device, but torch finds none; use --device cpu")
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    visible = names.split(",") if names else [str(i) for i in range(torch.cuda.device_count())]
    # Locks bear the user's id, since no user may open another's files in this folder for writing.
    here = Path(tempfile.gettempdir())
    # A part of a GPU has slashes in its name, as in MIG-GPU-x/1/0.
    named = [name.strip().replace("/", "_") for name in visible]
    locks = [here / f"signflow-{os.getuid()}-gpu-{name}.lock" for name in named]
    with first_free(locks) as index:
        torch.cuda.set_device(index)
        yield


@contextlib.contextmanager
def first_free(locks: Sequence[Path], pause: float = 0.5) -> Iterator[int]:
    """Hold the first of these lock files that no process holds, and yield its index; wait if all are held."""
    with contextlib.ExitStack() as stack:
        files = [
            stack.enter_context(os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))) for path in locks
        ]
        while True:
            for index, file in enumerate(files):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield index
                return
            time.sleep(pause)
