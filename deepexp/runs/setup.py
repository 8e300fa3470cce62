"""Prepare a run: load what it needs and, before anything is trained or written, check that it is possible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from deepexp.config.machine import Machine
from deepexp.config.settings import Config
from deepexp.data import dataset as data
from deepexp.distributed import ALONE, ProcessGroup
from deepexp.networks import network
from deepexp.runs.checks import check_compiler, check_device_memory, check_possible, without_bf16
from deepexp.runs.workspace import Run
from deepexp.training import forward as training_forward
from deepexp.training import optimizer
from signflow.machine import keep_freed_memory


def prepare(
    config: Config,
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
    dataset: data.Dataset | None = None,
    group: ProcessGroup = ALONE,
) -> Run:
    """Load the data, build the network and optimizer, and check all that can be checked without training.

    Parameters
    ----------
    config : Config
        The run's configuration.
    folder : Path
        The folder that the run will use; nothing is written there.
    say : Callable[[str], None]
        Called with each line that the user should see.
    dataset : Dataset, optional
        The run's data, if they are already loaded.
    group : ProcessGroup
        The processes of the run.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        The run is impossible.
    """
    _set_up(config.machine)
    if config.machine.device == "cpu" and config.machine.precision == "bf16" and without_bf16():
        say(
            "machine.precision = 'bf16' is slow here, because this processor has no bf16 instructions; on "
            "such processors, bf16 was measured to be 3 to 11 times slower than float32"
        )
    check_device_memory(config)
    dataset = dataset or data.load(config.data, config.seed, config.machine.device)
    net = network(config.model, classes=dataset.classes, shape=dataset.shape, seed=config.seed)
    net.to(config.machine.device)
    if config.machine.channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward, sgd = training_forward.compiled(net, config.machine), optimizer.optimizer(net, config.train)
    work = Run(config, folder, dataset, net, forward, sgd, say, group)
    check_possible(work)
    return work


def _set_up(machine: Machine) -> None:
    """Set torch's number of threads and, on a GPU, its precision and cuDNN's choice of algorithms.

    On a CPU, keep freed memory for the next step. Raise ValueError if a needed compiler or GPU is missing.
    """
    torch.set_num_threads(machine.threads)
    if machine.compile:
        check_compiler(machine.device)
    if machine.device == "cpu":
        keep_freed_memory()
        return
    if not torch.cuda.is_available():
        raise ValueError(
            "machine.device = 'cuda' needs a CUDA device, but torch finds none; use --device cpu"
        )
    torch.set_float32_matmul_precision("high" if machine.precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = machine.precision == "tf32"
    # With `benchmark`, cuDNN can choose different algorithms in different processes. Without `deterministic`,
    # it can choose algorithms that sum in varying order. Either way, the results of a resumed run could
    # differ from those of an uninterrupted one at the bit level.
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
