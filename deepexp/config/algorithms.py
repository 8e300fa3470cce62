"""The pruning algorithms: what each level keeps from the training before it, and what it resets.

IMP is iterative magnitude pruning, WR weight rewinding, and LRR learning-rate rewinding.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from signflow.messages import unknown

Origin = Literal["keep", "initial", "rewind"]
Fraction01 = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
WeightOrigin = Literal["keep", "initial", "rewind", "donor"]


class Section(BaseModel):
    """A frozen group of settings; unknown keys, values of the wrong type, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class LevelPolicy(Section):
    """Where each part of the training state comes from when a level starts.

    An origin is 'keep' (the state at the end of the previous level), 'initial' (the initial state), 'rewind'
    (the state at the rewind point) or, for weights only, 'donor' (the state that the run `Config.donor` has
    at the end of the previous level).

    Attributes
    ----------
    amplitude, sign : {'keep', 'initial', 'rewind', 'donor'}
        The origins of the weights' amplitudes and of their signs. If the two origins differ, a weight becomes
        copysign(abs(amplitude), sign).
    bias : {'keep', 'initial', 'rewind'}
        The origin of the biases.
    norm_affine : {'keep', 'initial', 'rewind'}
        The origin of the scales and shifts of batch normalisation.
    norm_statistics : {'keep', 'initial', 'rewind'}
        The origin of the running statistics of batch normalisation.
    momentum : {'keep', 'initial', 'rewind'}
        The origin of the optimizer's momentum; the initial momentum is zero.
    schedule : {'start', 'rewind'}
        Where a level enters the learning-rate schedule: at the beginning, or at the rewind point.
    shuffle_amplitude : bool
        Whether to permute the amplitudes of the surviving weights within each layer.
    rewind_epoch, rewind_step : int
        The rewind point is reached in level 0 after `rewind_epoch` epochs and `rewind_step` more steps.
    """

    amplitude: WeightOrigin
    sign: WeightOrigin
    bias: Origin
    norm_affine: Origin
    norm_statistics: Origin
    momentum: Origin
    schedule: Literal["start", "rewind"]
    shuffle_amplitude: bool = False
    rewind_epoch: int = Field(0, ge=0)
    rewind_step: int = Field(0, ge=0)

    def rewinds(self) -> bool:
        """Return whether a level restores anything from the rewind point, or enters the schedule there."""
        return "rewind" in (
            self.amplitude,
            self.sign,
            self.bias,
            self.norm_affine,
            self.norm_statistics,
            self.momentum,
            self.schedule,
        )


_SOURCES = ("amplitude", "sign", "bias", "norm_affine", "norm_statistics", "momentum")
_IMP: dict[str, Any] = {**dict.fromkeys(_SOURCES, "initial"), "schedule": "start"}
_WR: dict[str, Any] = {**dict.fromkeys(_SOURCES, "rewind"), "schedule": "rewind"}
_LRR: dict[str, Any] = {**dict.fromkeys(_SOURCES, "keep"), "schedule": "start"}
_SNAPSHOT: dict[str, Any] = _WR | {"norm_statistics": "keep", "schedule": "start"}


def _row(base: dict[str, Any], **changes: Any) -> LevelPolicy:
    return LevelPolicy(**base | changes)


# What each algorithm resets, by protocol. The public codes disagree, and none of them is the reference.
POLICIES: dict[str, dict[str, LevelPolicy]] = {
    "signflow": {
        "imp": _row(_IMP),
        "imp-keep-statistics": _row(_IMP, norm_statistics="keep"),
        "imp-keep-bn": _row(_IMP, norm_affine="keep", norm_statistics="keep"),
        "wr": _row(_WR),
        "lrr": _row(_LRR),
        "lrr-fresh-momentum": _row(_LRR, momentum="initial"),
        "lrr-bn-rewind": _row(_LRR, norm_affine="initial", norm_statistics="initial"),
        "trained-signs": _row(_IMP, sign="keep"),
        "trained-amplitudes": _row(_IMP, amplitude="keep"),
        "shuffled-amplitudes": _row(_LRR, shuffle_amplitude=True),
        "donor-signs": _row(_IMP, sign="donor"),
        "donor-amplitudes": _row(_IMP, amplitude="donor"),
    },
    "renda20": {
        "imp": _row(_IMP),
        "wr": _row(_WR),
        "lrr": _row(_LRR, schedule="rewind"),
    },
    "openlth": {
        "imp": _row(_IMP),
        "wr": _row(_WR, momentum="initial"),
    },
    "turboprune24": {
        "imp": _row(_IMP, norm_statistics="keep"),
        "wr": _row(_SNAPSHOT),
        "lrr": _row(_LRR, momentum="initial"),
    },
    "turboprune": {
        "imp": _row(_IMP),
        "wr": _row(_WR, momentum="initial", schedule="start"),
        "lrr": _row(_LRR, momentum="initial"),
    },
    # In this code, every reset loads the network and optimizer saved after the warm-up, so IMP and WR
    # coincide. The last six rows are our own algorithms, adapted to this code: their resets load the same
    # saved state, so that all algorithms of an experiment are comparable.
    "s2s": {
        "imp": _row(_SNAPSHOT),
        "wr": _row(_SNAPSHOT),
        "lrr": _row(_LRR),
        "lrr-bn-rewind": _row(_LRR, norm_affine="rewind", norm_statistics="rewind", momentum="rewind"),
        "trained-signs": _row(_SNAPSHOT, sign="keep"),
        "trained-amplitudes": _row(_LRR, sign="rewind", momentum="rewind"),
        "donor-signs": _row(_SNAPSHOT, sign="donor"),
        "donor-amplitudes": _row(_SNAPSHOT, amplitude="donor"),
        "imp-keep-bn": _row(_SNAPSHOT, norm_affine="keep"),
    },
}
POLICIES["laptop-converged"] = POLICIES["signflow"]  # both protocols are this project's own


def policy(protocol: str, algorithm: str) -> LevelPolicy:
    """Return the level policy of `algorithm` under `protocol`.

    Parameters
    ----------
    protocol : str
        A key of `POLICIES`.
    algorithm : str
        An algorithm of the protocol. For the protocols of other codes, 'signflow-NAME' is our version of the
        algorithm NAME.

    Returns
    -------
    LevelPolicy

    Raises
    ------
    ValueError
        The protocol does not define the algorithm.
    """
    ours, rows = POLICIES["signflow"], POLICIES[protocol]
    if rows is not ours:
        rows = rows | {f"signflow-{name}": row for name, row in ours.items()}
    if not isinstance(algorithm, str) or algorithm not in rows:
        if algorithm in list(ours):
            raise ValueError(
                f"the algorithm must be one of {', '.join(POLICIES[protocol])} for the protocol "
                f"'{protocol}', got '{algorithm}'; 'signflow-{algorithm}' runs our version with the "
                "protocol's settings"
            )
        unknown("the algorithm must be", algorithm, POLICIES[protocol])
    return rows[algorithm]
