"""Base classes and functions that the kinds of table share."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

import singleneuron as sn
from singleneuron.experiments.options import made
from singleneuron.problem.arguments import number

CURVE_POINTS = 50
"""Number of points of a predicted curve."""


class PresetPart(BaseModel):
    """A table of a preset. It is frozen, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ExperimentPart(PresetPart):
    """A table that an experiment computes, with the settings of the experiment as additional entries."""

    model_config = ConfigDict(frozen=True, extra="allow")
    record: ClassVar[type]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """Check the settings when the preset is read, before any table is computed."""
        _ = self.settings
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """The settings that the preset states. All other settings keep their defaults."""
        return dict(self.model_extra or {})

    @property
    def settings(self) -> Any:
        """The settings of the experiment. An unknown or invalid entry raises ValueError."""
        return made(self.record, self.arguments)


def full_states(state: sn.State | sn.Reduced) -> sn.State:
    """Return `state` unchanged, so that a type checker knows that it is a full `State`."""
    assert isinstance(state, sn.State)
    return state


def problem_of(d: int, n: int | None, noise: float, seed: int) -> sn.Population | sn.Sample:
    """Return `n` samples drawn with `seed`, or the population if `n` is None."""
    if n is None:
        if number("noise", noise, least=0.0):
            raise ValueError(
                f"noise = {noise:g} needs samples; give their number n as well, or leave noise out"
            )
        return sn.Population(d)
    return sn.Sample.draw(d=d, n=n, noise=noise, seed=seed)


def time_points(t_end: float, points: int) -> np.ndarray:
    """Return `points` evenly spaced times from 0 to `t_end`, or raise ValueError if that is impossible."""
    if not 0 < t_end < math.inf:
        raise ValueError(f"t_end must be a finite number > 0, got {t_end:g}")
    if points < 2:
        raise ValueError(f"points must be >= 2, got {points}")
    return np.linspace(0, t_end, points)
