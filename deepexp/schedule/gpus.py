"""Choose the GPU for a run: the first GPU that no other run has reserved."""

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
    """Reserve a GPU of this machine for a run on 'cuda', as soon as one is free.

    Nothing is reserved for a run on the CPU, nor for a process started by torchrun, whose local rank already
    determines its GPU. A run waits only for other runs of the same user.

    Parameters
    ----------
    config : Config
        The run's configuration; `machine.device` says whether it needs a GPU.

    Yields
    ------
    None
        Within the context, the reserved GPU is torch's current device.

    Raises
    ------
    ValueError
        If the run needs a GPU but torch finds none.
    """
    if config.machine.device == "cpu" or "LOCAL_RANK" in os.environ:
        yield
        return
    import torch

    if not torch.cuda.is_available():
        raise ValueError("a run on 'cuda' needs a CUDA device, but torch finds none; use --device cpu")
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    visible = names.split(",") if names else [str(i) for i in range(torch.cuda.device_count())]
    # The names of lock files contain the user's id, because users share the folder for temporary files, and
    # cannot open each other's files for writing.
    here = Path(tempfile.gettempdir())
    # The name of a GPU partition may contain slashes, as in MIG-GPU-x/1/0.
    named = [name.strip().replace("/", "_") for name in visible]
    locks = [here / f"signflow-{os.getuid()}-gpu-{name}.lock" for name in named]
    with first_free(locks) as index:
        torch.cuda.set_device(index)
        yield


@contextlib.contextmanager
def first_free(locks: Sequence[Path], pause: float = 0.5) -> Iterator[int]:
    """Acquire the first lock file that is free, and yield its index; if all are held, wait for one."""
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
