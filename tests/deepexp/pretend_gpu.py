"""A GPU that computes nothing: its tensors have a shape, a type and a device, and it lists what waits for it.

`python tests/deepexp/pretend_gpu.py NET ...` trains these networks on it for an epoch and, of several, whole
runs of the first, and prints what they waited for and reached, as JSON. It is a process of its own, since the
device stays with the process.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from deepexp.config.build import build
from deepexp.config.settings import Config
from deepexp.pruning import masks
from deepexp.pruning.scores import score
from deepexp.runs import level_start, setup
from deepexp.runs import run as levels
from deepexp.training import steps as train

NAME = "pretended"
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


class Pretended(TorchDispatchMode):
    """Tensors on the device are fake, those of the CPU real; what reads the device back gets ones.

    An operation between both that is no copy raises RuntimeError, since a GPU would refuse it, or wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        there = [tensor for tensor in tensors if isinstance(tensor, FakeTensor)]
        device = torch.device(kwargs.get("device") or "cpu").type
        if not there and device != NAME:
            return func(*args, **kwargs)
        if not there and tensors:  # a copy to the device
            (source,) = tensors
            with self.fake:
                kind = kwargs.get("dtype") or source.dtype
                return torch.empty_strided(source.shape, source.stride(), dtype=kind, device=NAME)
        if func is torch.ops.aten._local_scalar_dense.default:
            self.waits.append("item")
            return 1
        if func in COPIES and there and ("device" in kwargs or len(there) == 1) and len(tensors) <= 2:
            source = tensors[-1]
            if isinstance(source, FakeTensor) and device == "cpu" and "device" in kwargs:
                self.waits.append("copy back")
                return torch.ones(source.shape, dtype=kwargs.get("dtype") or source.dtype)
            if isinstance(source, FakeTensor) and len(tensors) == 2:
                self.waits.append("copy back")
                return tensors[0].fill_(1)
        elif there and any(t.dim() and not isinstance(t, FakeTensor) for t in tensors):
            raise RuntimeError(f"{func} mixes a tensor of the CPU with one of the GPU")
        if func is torch.ops.aten._fused_sgd_.default:
            for weight, gradient, momentum in zip(*args[:3], strict=True):
                assert _layout(weight) == _layout(gradient) == _layout(momentum)
            return None
        with self.fake:
            return func(*args, **kwargs)


def _layout(tensor: torch.Tensor) -> list[tuple[int, int]]:
    """Sizes and strides that a fused kernel needs alike; a dimension of one element has no stride."""
    return [(size, step) for size, step in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]


def _give(parameter: torch.Tensor, other: torch.Tensor) -> None:
    parameter.data = other.data


def _autocast() -> list[torch.library.Library]:
    """Let convolutions and linear layers cast to bfloat16 under autocast on the device, as on 'cuda'."""
    key = "AutocastPrivateUse1"
    some, every = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    every.fallback(torch.library.fallthrough_kernel, key)
    outside = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def cast(operation: Any) -> Any:
        def run(*args: Any) -> Any:
            low = [arg.bfloat16() if isinstance(arg, torch.Tensor) else arg for arg in args]
            with torch._C._ExcludeDispatchKeyGuard(outside):
                return operation(*low)

        return run

    for name in ("conv2d", "linear"):
        some.impl(name, cast(getattr(torch.ops.aten, name).default), key)
    return [some, every]


@contextlib.contextmanager
def pretended() -> Iterator[Pretended]:
    """The device, in place of 'cuda' and its flags."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    setup._set_up = lambda machine: None
    torch.utils.swap_tensors = _give  # of Module.to, which refuses what a fake tensor is registered by
    kept = _autocast()
    with Pretended() as gpu:
        yield gpu
    del kept


def config(**settings: Any) -> Config:
    """A configuration for the device, which the configuration's own checks do not know."""
    made = build({key.replace("_", ".", 1): value for key, value in settings.items()})
    return made.model_copy(update={"machine": made.machine.model_copy(update={"device": NAME})})


def steps(gpu: Pretended, chosen: Config) -> list[str]:
    """What an epoch of a pruned network waits for."""
    work = setup.prepare(chosen, Path())
    mask = masks.top(score("magnitude", work.net, 0), masks.dense_mask(work.net), 2000)
    level_start.restore(work.net, work.sgd, level_start.masked(level_start.capture(work.net, work.sgd), mask))
    assert {p.device.type for p in work.net.parameters()} == {NAME}
    assert work.sgd.defaults["fused"]
    gpu.waits.clear()
    (report,) = train.steps(work.net, work.forward, work.sgd, mask, work.dataset, chosen, 0, 0)
    assert report.step == work.total(0)
    return list(gpu.waits)


def main(names: list[str]) -> None:
    """Print the waits by network and precision, and the densities of whole runs by algorithm."""
    warnings.simplefilter("error")
    shape = {"model_width": 0.25, "data_limit": 12, "train_batch_size": 4}
    found: dict[str, Any] = {}
    with pretended() as gpu:
        for name in names:
            for precision in ("float32", "bf16"):  # tf32 is a flag of the device
                chosen = config(
                    **{**shape, "model_name": name, "machine_precision": precision, "train_epochs": 1},
                    policy_rewind_epoch=0,
                    data_crop_padding=1,
                    data_flip="random",
                )
                found[f"{name} {precision}"] = steps(gpu, chosen)
        for algorithm in ("imp", "wr", "lrr") if len(names) > 1 else ():
            chosen = config(
                **{**shape, "model_name": names[0], "machine_precision": "bf16", "train_epochs": 2},
                policy_rewind_epoch=1,
                pruning_levels=2,
                pruning_keep=0.5,
                algorithm=algorithm,
            )
            with tempfile.TemporaryDirectory() as folder:
                rows = [event.row for event in levels.run(chosen, Path(folder) / "run") if event.row]
            found[algorithm] = [row["density"] for row in rows]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
