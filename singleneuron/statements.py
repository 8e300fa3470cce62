"""Statements to verify: the theorems, what goes beyond them, and a user's own from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from figures.messages import invalid
from singleneuron import comparisons, conditions
from singleneuron.comparisons import Comparing
from singleneuron.pruning import check_algorithm
from singleneuron.rates import predicted_rate

MAX_BYTES = 65_536
MOST_NUMBERS = 10**7
"""Of n samples in d > 1 coordinates, n d numbers, which each run draws."""


class Setting(BaseModel):
    """Which runs: the problem, and the law of the starts, restricted to those for which `given` holds.

    With n samples each run draws its own data, and trains all its levels on them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    d: int = Field(default=10, ge=1, le=10**9)
    targets: int = Field(default=1, ge=1)
    init: Literal["balanced", "independent"] = "balanced"
    scale: float = Field(default=1.0, gt=0)
    n: int | None = Field(default=None, ge=1, le=10**12)
    noise: float = Field(default=0.0, ge=0)
    given: str = "True"

    @field_validator("given", "success", check_fields=False)
    @classmethod
    def _is_condition(cls, text: str | None) -> str | None:
        if text is not None:
            conditions.parse(text)
        return text

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.targets > self.d or (self.targets > 1 and self.d > 1000):
            raise ValueError(f"targets must be <= d, and d <= 1000 where targets > 1; d is {self.d}")
        if self.n is None and self.noise:
            raise ValueError("noise is that of samples: give their number n too")
        if self.n is not None and self.targets > 1:
            raise ValueError(f"n samples need one target, but targets is {self.targets}")
        if self.n is not None and self.d > 1 and self.n * self.d > MOST_NUMBERS:
            raise ValueError(f"n d must be <= {MOST_NUMBERS:,} where d > 1, but is {self.n * self.d:,}")
        if "found" in conditions.parse(self.given).names:
            raise ValueError("given is about the start, but found is known after the dense level alone")
        return self

    @property
    def sampled(self) -> bool:
        """Whether runs train on samples in d > 1; in one coordinate their statistics say all."""
        return self.n is not None and self.d > 1

    @property
    def reduced(self) -> bool:
        """Whether a start is drawn as (a, p, q)."""
        return self.targets == 1 and not self.sampled

    @property
    def label(self) -> str:
        samples = "" if self.n is None else f" n = {self.n:,} noise = {self.noise:g}"
        targets = "" if self.targets == 1 else f" k = {self.targets}"
        return f"{self.init} d = {self.d:,}{targets}{samples}"


class Claim(BaseModel):
    """What is stated of an algorithm: the region of starts from which it succeeds, its rate, or both."""

    model_config = Setting.model_config

    algorithm: Literal["imp", "wr", "lrr"]
    imp: Literal["keep", "rebalance"] = "keep"
    rewind_time: float | None = Field(default=None, ge=0)
    success: str | None = None
    rate: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        check_algorithm(self.algorithm, self.imp, self.rewind_time)
        if self.algorithm != "wr" and self.rewind_time is not None:
            raise ValueError(f"rewind_time is for algorithm 'wr', but algorithm is {self.algorithm!r}")
        if self.algorithm == "lrr" and "imp" in self.model_fields_set:
            raise ValueError("imp is what IMP and WR do with a after a pruning: 'lrr' takes none")
        if self.success is None and self.rate is None:
            raise ValueError("state `success`, a condition on the start, or `rate`, its probability")
        return self

    @property
    def label(self) -> str:
        time = "" if self.rewind_time is None else f" t_k = {self.rewind_time:g}"
        return f"{self.algorithm}{time}{'' if self.imp == 'keep' else ' rebalanced'}"


class Conjecture(Setting, Claim):
    """A user's own statement: one claim in one setting, and a `statement` in words."""

    statement: str = Field(default="", max_length=1000)

    @model_validator(mode="after")
    def _known_data(self) -> Self:
        if not self.statement.isprintable():
            raise ValueError("a statement is one line of printable characters")
        if self.success is not None and "found" in conditions.parse(self.success).names and not self.sampled:
            raise ValueError("found is for n samples with d > 1: there alone a mask may miss the target")
        return self


@dataclass(frozen=True)
class Experiment:
    """Claims about the same runs.

    nested : each algorithm succeeds wherever the one before it does. weight : in sharing out the runs of a
    statement.
    """

    setting: Setting
    claims: tuple[Claim, ...]
    nested: bool = False
    weight: int = 1


@dataclass(frozen=True)
class Statement:
    """What is to be verified, and by what: titles of derivations, laws against integration, experiments.

    Formulas stand between backticks in `text`.
    """

    id: str
    text: str
    derivations: tuple[str, ...] = ()
    comparisons: tuple[Comparing, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    figure: str | None = None


def read(path: Path) -> Statement:
    """The statement in a user's TOML file; ValueError, in one line, for anything else."""
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        conjecture = Conjecture.model_validate(tomllib.loads(path.read_text("utf-8-sig")))
    except ValidationError as error:
        wrong = invalid(error, Conjecture)
        raise ValueError(f"the statement in '{path}' is not valid: {wrong}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read a statement from '{path}': {error}; save it as UTF-8") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read a statement from '{path}': {str(error)[:300]}") from None
    setting = Setting(**{name: getattr(conjecture, name) for name in Setting.model_fields})
    claim = Claim(
        **{
            name: getattr(conjecture, name)
            for name in Claim.model_fields
            if name in conjecture.model_fields_set
        }
    )
    comparison = comparisons.limit_states
    if setting.d == 1 or setting.n is not None:  # the last level, of one coordinate
        comparison = comparisons.line_flows
    elif setting.init == "balanced":
        comparison = comparisons.balanced_flows
    text = conjecture.statement or claim.success or f"P({claim.label}) = {claim.rate}"
    return Statement(path.stem, text, (), (comparison,), (Experiment(setting, (claim,)),))


def shipped() -> tuple[Statement, ...]:
    """The theorems of Gadhikar & Burkholz (ICLR 2024), and, each marked so, what goes beyond the paper."""
    return (*_theorems(), *_unbalanced(), *_balanced(), *_noise(), *_more())


IN_LINE = ("Gradient flow in one coordinate", "Statistics of the population in one coordinate")
IN_PLANE = (
    "Gaussian correlation of two ReLU neurons",
    "Population loss",
    "Angle kernel",
    "Gradient of the correlation",
    "Conservation and energy law of the population",
    "Polar form of the population flow",
    "Critical points",
)
NESTED = ("The one-coordinate region is never left", "IMP within WR within LRR")


def _theorems() -> tuple[Statement, ...]:
    wide = [Setting(d=d) for d in (2, 10, 1000)]
    dense = Claim(algorithm="lrr", success="a0 > 0", rate=0.5)
    last = Claim(algorithm="imp", success="a0 > 0 and w1 > 0", rate=0.25)
    reached = Claim(algorithm="lrr", success="True", rate=1.0)
    return (
        Statement(
            "theorem-2.1",
            "One coordinate, balanced: the flow reaches the target iff `a(0) > 0` and `w(0) > 0`, `P = 1/4`.",
            (
                *IN_LINE,
                "Invariants in one coordinate",
                "The line w = 0",
                "Logistic solutions, balanced",
                "Success in one coordinate",
                "Success from balanced starts",
            ),
            (comparisons.line_flows,),
            (Experiment(Setting(d=1), (Claim(algorithm="lrr", success="a0 > 0 and w1 > 0", rate=0.25),)),),
            "fig1a",
        ),
        Statement(
            "lemma-2.2",
            "`d > 1` coordinates, balanced: the flow reaches the target iff `a(0) > 0`, `P = 1/2`.",
            (*IN_PLANE, "Success of dense training", "Success from balanced starts"),
            (comparisons.balanced_flows,),
            tuple(Experiment(setting, (dense,)) for setting in wide),
            "fig1c",
        ),
        Statement(
            "theorem-2.3",
            "`d > 1`, balanced: LRR succeeds iff `a(0) > 0`, `P = 1/2`; IMP iff also `w_1(0) > 0`, "
            "`P = 1/4`.",
            (
                *IN_PLANE,
                *NESTED,
                "Success of dense training",
                "Success in one coordinate",
                "Success from balanced starts",
                "Probabilities of success",
            ),
            (comparisons.balanced_flows, comparisons.line_flows),
            tuple(Experiment(setting, (last, dense), nested=True) for setting in wide),
            "fig2a",
        ),
        Statement(
            "theorem-A.1",
            "Balanced, `a(0) > 0`, `w(0)` not antiparallel to `v`: the population flow converges to the "
            "target.",
            (*IN_PLANE, "Bounds and limit of the flow", "Universal angle curve, balanced"),
            (comparisons.balanced_flows,),
            tuple(Experiment(Setting(d=d, given="a0 > 0 and theta < pi"), (reached,)) for d in (2, 10, 1000)),
            "angle",
        ),
    )


def _unbalanced() -> tuple[Statement, ...]:
    # No region and no rate depends on the scale; smaller weights make the slow manifold less stiff.
    plane = Setting(d=2, init="independent", scale=0.7)
    line = Claim(algorithm="lrr", success="w1 > 0 and a0 > -w1", rate=0.375)
    last = Claim(algorithm="imp", success="w1 > 0 and a0 > -w1", rate=0.375)
    even = Claim(algorithm="imp", imp="rebalance", success="w1 > 0 and a0 > 0", rate=0.25)
    dense = Claim(algorithm="lrr", success="a0 > -rho", rate=predicted_rate(2, "lrr", init="independent"))
    return (
        Statement(
            "unbalanced-line",
            "Beyond: one coordinate, any balance: success iff `w(0) > 0` and `a(0) > -w(0)`; "
            "`P = 3/8` from independent `N(0, 1)` starts.",
            (
                *IN_LINE,
                "Invariants in one coordinate",
                "The line w = 0",
                "Riccati equations",
                "Riccati solution",
                "Riccati solution by half sums",
                "Time to w = 0",
                "Success in one coordinate",
                "Probabilities of success",
            ),
            (comparisons.line_flows,),
            (Experiment(Setting(d=1, init="independent"), (line,)),),
            "unbalanced",
        ),
        Statement(
            "unbalanced-plane",
            "Beyond: `d > 1`, any balance: LRR succeeds iff `a(0) > -|w(0)|`, IMP iff `w_1(0) > 0` and "
            "`a(0) > -w_1(0)`, re-balanced IMP iff `w_1(0) > 0` and `a(0) > 0`; at `d = 2` from independent "
            "Gaussian starts `P = (2 + sqrt 2)/4`, `3/8` and `1/4`.",
            (
                *IN_PLANE,
                *NESTED,
                "The coordinate log tan(theta/2)",
                "Bounds and limit of the flow",
                "Sign change of a",
                "Death of a neuron",
                "Success of dense training",
                "Success in one coordinate",
                "Probabilities of success",
            ),
            (comparisons.limit_states, comparisons.line_flows),
            (
                Experiment(plane, (last, dense), nested=True, weight=9),
                Experiment(plane, (even, last), nested=True),
            ),
            "fig1c",
        ),
    )


def _balanced() -> tuple[Statement, ...]:
    rewound = tuple(
        Claim(
            algorithm="wr",
            rewind_time=time,
            success=f"a0 > 0 and theta < flip_angle({time})",
            rate=predicted_rate(1000, "wr", rewind_time=time),
        )
        for time in (0.1, 0.3, 1.0)
    )
    last = Claim(algorithm="imp", success="a0 > 0 and w1 > 0", rate=0.25)
    dense = Claim(algorithm="lrr", success="a0 > 0", rate=0.5)
    return (
        Statement(
            "universal-angle",
            "Beyond: balanced, `d > 1`: every flow follows one angle curve, "
            "`T(theta(t)) = T(theta(0)) +- t`, whatever `d` and `|w|`.",
            (
                "Polar form of the population flow",
                "Universal angle curve, balanced",
                "Bernoulli equation of the norm, balanced",
                "Bernoulli solution, balanced",
                "Series near antiparallel, balanced",
                "Series near the target, balanced",
            ),
            (comparisons.angle_curve, comparisons.balanced_flows),
            (),
            "angle",
        ),
        Statement(
            "wr-law",
            "Beyond: balanced: WR rewound to `t_k` succeeds iff `a(0) > 0` and `theta(0) < theta^*(t_k)`, "
            "`T(theta^*) = -t_k`, between IMP and LRR and growing with `t_k`; `w_1` changes its sign after "
            "`4 z + (4/pi) z^2 + ...`, `z = theta(0) - pi/2`.",
            (*NESTED, "Universal angle curve, balanced", "Time to the sign flip of w_1, balanced"),
            (comparisons.flip_times, comparisons.balanced_flows),
            (Experiment(Setting(d=1000), (last, *rewound, dense), nested=True),),
            "angle",
        ),
    )


def _noise() -> tuple[Statement, ...]:
    statistics = ("Gradient flow in one coordinate", "Statistics of label noise in one coordinate")
    wedge = Claim(algorithm="lrr", success="a0 > -w1 and (w1 > 0 or w1 < 0 and s_neg > 0)", rate=0.4375)
    rescued = "found > 0 and a0 > 0 and (w1 > 0 or w1 < 0 and s_neg > 0)"
    return (
        Statement(
            "noise-wedge",
            "Beyond: one coordinate with noisy samples: `s_neg > 0` adds the wedge `w(0) < 0`, "
            "`a(0) > |w(0)|`, which crosses after `log(c |w(0)|/(a(0) s_neg))/(C c)` for `s_neg << c`.",
            (
                *statistics,
                "The line w = 0",
                "Time to w = 0",
                "Crossing time in the wedge of label noise",
                "Success in one coordinate",
            ),
            (comparisons.wedge_times, comparisons.wedge_logarithm, comparisons.line_flows),
            (Experiment(Setting(d=1, init="independent", n=100, noise=0.5), (wedge,)),),
            "noise_wedge",
        ),
        Statement(
            "noise-rescue",
            "Beyond: balanced, `d > 1`, samples with label noise: where the mask of the dense level keeps "
            "the target, IMP succeeds iff `a(0) > 0` and (`w_1(0) > 0` or `s_neg > 0`); `P = 3/8` in the "
            "limit of long levels if `n` is large enough, against `d` and the noise, that it always does.",
            (
                *statistics,
                "Success in one coordinate",
                "Success from balanced starts",
                "Probabilities of success",
            ),
            (comparisons.line_flows,),
            (
                Experiment(
                    Setting(d=10, n=1000, noise=0.1), (Claim(algorithm="imp", success=rescued, rate=0.375),)
                ),
                Experiment(
                    Setting(d=10, n=100, noise=2.0, given="s_pos > 0"),
                    (Claim(algorithm="imp", success=rescued),),
                ),
            ),
            "noise_map",
        ),
    )


def _more() -> tuple[Statement, ...]:
    even = Claim(algorithm="imp", imp="rebalance", success="a0 > 0")
    free = Claim(algorithm="imp", success="a0 > -kept")
    return (
        Statement(
            "several-targets",
            "Beyond: `k >= 2` target coordinates: IMP succeeds iff `a(0) > -|mask * w(0)|`; balanced, "
            "`P(IMP) = P(LRR) = 1/2`: no gap in the limit.",
            (*IN_PLANE, *NESTED, "Success of dense training", "Success from balanced starts"),
            (comparisons.balanced_flows, comparisons.limit_states),
            (
                Experiment(
                    Setting(d=4, targets=2),
                    (
                        Claim(algorithm="imp", success="a0 > 0", rate=0.5),
                        Claim(algorithm="lrr", success="a0 > 0", rate=0.5),
                    ),
                    weight=9,
                ),
                Experiment(Setting(d=3, targets=2, init="independent"), (even, free), nested=True),
            ),
        ),
        Statement(
            "escape-time",
            "Beyond: from `delta = pi - theta(0) << 1` the turn to `pi/2` takes "
            "`(2/c) log(1 + pi c rho/(a delta))`, `2 pi/delta` at `c = 0`, "
            "and `(3 pi^2/2) |c|/delta_1^4` along the slow manifold.",
            (
                "Leading order near antiparallel",
                "Escape while a/rho grows",
                "Escape along the slow manifold",
                "Sign change of a",
            ),
            (comparisons.escape_times,),
        ),
    )
