"""The settings that say how a run uses the machine: device, processes, threads and precision."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from deepexp.config.algorithms import Section


class Machine(Section):
    """How a run uses the machine.

    These settings are part of a run's identity, since even the number of threads changes the order of sums.

    Attributes
    ----------
    device : {'cpu', 'cuda'}
        The device to train on.
    stack : tuple of int
        The seeds whose runs train together as one stacked network. With (), this run trains by itself.
    processes : int
        The number of processes that share every batch. During training, batch normalisation in a process
        uses the statistics of that process's images only.
    threads : int
        The number of threads in each process, at most 1024. Without this limit, a mistyped number could start
        so many threads that the process dies.
    channels_last : bool
        Whether images and weights are stored in channels_last layout.
    compile : bool
        Whether to compile the network; on 'cuda' it is compiled into CUDA graphs.
    precision : {'float32', 'tf32', 'bf16'}
        How matrix products and convolutions are computed. 'float32' computes them in float32. 'tf32' rounds
        the mantissas of the factors to 10 bits and then computes in float32. It needs 'cuda'. 'bf16' uses
        torch's autocast to bfloat16. Weights, momentum, scores and gradient masks are always float32.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    stack: tuple[int, ...] = Field((), strict=False)
    processes: int = Field(1, ge=1)
    threads: int = Field(1, ge=1, le=1024)
    channels_last: bool = True
    compile: bool = False
    precision: Literal["float32", "tf32", "bf16"] = "float32"

    @model_validator(mode="after")
    def _stack_is_one_process(self) -> Self:
        if self.stack and (len(set(self.stack)) < 2 or len(set(self.stack)) < len(self.stack)):
            raise ValueError(f"stack must have at least two seeds, all different, got {list(self.stack)}")
        if self.stack and self.processes > 1:
            raise ValueError(
                "processes must be 1 with machine.stack, whose seeds train in one process, got "
                f"{self.processes}; set processes to 1, or leave machine.stack out"
            )
        return self

    @model_validator(mode="after")
    def _device_has_precision(self) -> Self:
        if self.precision == "tf32" and self.device != "cuda":
            raise ValueError(
                f"precision = 'tf32' needs device = 'cuda', got '{self.device}'; use 'float32' or 'bf16'"
            )
        return self
