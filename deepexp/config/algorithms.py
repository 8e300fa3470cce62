"""IMP, WR, LRR and their transplants: what a level keeps, and what it takes back."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from deepexp.config.protocols import _SNAPSHOT
from signflow.messages import unknown

Origin = Literal["keep", "initial", "rewind"]


WeightOrigin = Literal["keep", "initial", "rewind", "donor"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class LevelPolicy(Section):
    """What a level starts from: keep what training left, or restore the initial state or the rewind point.

    `donor` takes the weights of the run `Config.donor` at the end of the same previous level. Weights whose
    amplitude and sign have different origins become copysign(|amplitude|, sign). `momentum = initial` is
    zero.
    """

    amplitude: WeightOrigin
    sign: WeightOrigin
    bias: Origin
    norm_affine: Origin
    norm_statistics: Origin
    momentum: Origin
    schedule: Literal["start", "rewind"]  # where the learning-rate schedule starts
    shuffle_amplitude: bool = False  # permute the amplitudes among each layer's surviving weights
    rewind_epoch: int = Field(0, ge=0)  # the rewind point, in level 0: this epoch plus this many steps
    rewind_step: int = Field(0, ge=0)

    def rewinds(self) -> bool:
        """Whether the rewind point matters: anything is restored from it, or the schedule starts there."""
        return "rewind" in (
            self.amplitude,
            self.sign,
            self.bias,
            self.norm_affine,
            self.norm_statistics,
            self.momentum,
            self.schedule,
        )


def policy(protocol: str, algorithm: str) -> LevelPolicy:
    """What `algorithm` resets as `protocol`'s source has it; 'signflow-NAME' is our NAME under any protocol.

    Raises ValueError where the source has no such algorithm.
    """
    ours, rows = POLICIES["signflow"], POLICIES[protocol]
    if rows is not ours:
        rows = rows | {f"signflow-{name}": row for name, row in ours.items()}
    if not isinstance(algorithm, str) or algorithm not in rows:
        if algorithm in list(ours):
            raise ValueError(
                f"the algorithm must be one that the protocol '{protocol}' has "
                f"({', '.join(POLICIES[protocol])}), got '{algorithm}'; 'signflow-{algorithm}' is ours "
                "with its settings"
            )
        unknown("the algorithm must be", algorithm, POLICIES[protocol])
    return LevelPolicy.model_validate(dict(zip(LevelPolicy.model_fields, rows[algorithm], strict=False)))


_INITIAL = ("initial",) * 6 + ("start",)


_KEPT = ("keep",) * 6 + ("start",)


_REWOUND = ("rewind",) * 6 + ("rewind",)


# What each algorithm resets, by the public code that does it so (none of them is 'the' algorithm): the fields
# of a LevelPolicy in their order, that is the origins of amplitude, sign, bias, BN affine, BN statistics and
# momentum, the start of the schedule, and whether amplitudes are shuffled.
POLICIES: dict[str, dict[str, tuple[str | bool, ...]]] = {
    "signflow": {
        "imp": _INITIAL,
        "imp-keep-statistics": ("initial", "initial", "initial", "initial", "keep", "initial", "start"),
        "imp-keep-bn": ("initial", "initial", "initial", "keep", "keep", "initial", "start"),
        "wr": _REWOUND,
        "lrr": _KEPT,
        "lrr-fresh-momentum": ("keep", "keep", "keep", "keep", "keep", "initial", "start"),
        "lrr-bn-rewind": ("keep", "keep", "keep", "initial", "initial", "keep", "start"),
        "trained-signs": ("initial", "keep", *_INITIAL[2:]),
        "trained-amplitudes": ("keep", "initial", *_INITIAL[2:]),
        "shuffled-amplitudes": (*_KEPT, True),
        "donor-signs": ("initial", "donor", *_INITIAL[2:]),
        "donor-amplitudes": ("donor", "initial", *_INITIAL[2:]),
    },
    "renda20": {
        "imp": _INITIAL,
        "wr": _REWOUND,
        "lrr": (*_KEPT[:6], "rewind"),
    },
    "openlth": {
        "imp": _INITIAL,
        "wr": ("rewind", "rewind", "rewind", "rewind", "rewind", "initial", "rewind"),
    },
    "turboprune24": {
        "imp": ("initial", "initial", "initial", "initial", "keep", "initial", "start"),
        "wr": _SNAPSHOT,
        "lrr": ("keep", "keep", "keep", "keep", "keep", "initial", "start"),
    },
    "turboprune": {
        "imp": _INITIAL,
        "wr": ("rewind", "rewind", "rewind", "rewind", "rewind", "initial", "start"),
        "lrr": ("keep", "keep", "keep", "keep", "keep", "initial", "start"),
    },
    # Its resets load what it saved after the warm-up, the optimizer included: IMP and WR are one. The last
    # two are ours in its terms, so that all arms of an experiment go back to the same point.
    "s2s": {
        "imp": _SNAPSHOT,
        "wr": _SNAPSHOT,
        "lrr": _KEPT,
        "lrr-bn-rewind": ("keep", "keep", "keep", "rewind", "rewind", "rewind", "start"),
        "trained-signs": ("rewind", "keep", "rewind", "rewind", "keep", "rewind", "start"),
        "trained-amplitudes": ("keep", "rewind", "keep", "keep", "keep", "rewind", "start"),
        "donor-signs": ("rewind", "donor", *_SNAPSHOT[2:]),
        "donor-amplitudes": ("donor", "rewind", *_SNAPSHOT[2:]),
        "imp-keep-bn": ("rewind", "rewind", "rewind", "keep", "keep", "rewind", "start"),
    },
}
