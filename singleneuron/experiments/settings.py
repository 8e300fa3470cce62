"""The settings of success maps and studies, as frozen records that validate themselves when they are made.

Every option is defined only here. Records are made from the arguments of `success_map` and `success_rate`,
the entries of presets, and the options of commands. `--help` loads this module, which imports numpy later.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from singleneuron.experiments.options import check_variant, option, settle, training_option

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from singleneuron.algorithms import Algorithm
    from singleneuron.experiments.grid import Grid
    from singleneuron.parameterization import Name, Parameterization
    from singleneuron.problem.problem import Problem

CELLS = 8192
"""Number of cells of a map that are integrated at a time. Progress is reported after each such chunk."""


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """The settings of a success map: its plane of starts, and how the neurons are trained and pruned.

    All fields except `training` are documented in `success_map`.

    Attributes
    ----------
    training : Mapping
        Further arguments of `integrate`.

    Raises
    ------
    ValueError
        If a value is out of range, or if values do not fit each other; the message is one line.
    """

    d: int = option(None, text="number of input coordinates", kind=int)
    algorithms: Sequence[str | Algorithm] = option(
        ("imp", "lrr"), text="one or more algorithms (imp lrr)", kind=str, name="algorithm", several=True,
        metavar="imp|wr|lrr", rules=True,
    )  # fmt: skip
    resolution: int = option(256, text="points on each axis (%(default)s)", kind=int)
    extent: float = option(2.0, text="both axes run from -E to E (%(default)g)", metavar="E")
    w_perp: float | None = option(
        None, text="norm of w_2, ..., w_d (default: sqrt(1 - 1/d))", metavar="R", exclusive="others"
    )
    balanced: bool = option(
        False, text="choose the norm of w_2, ..., w_d so that |w| = |a|", kind=bool, exclusive="others"
    )
    average: int | None = option(
        None, text="average over RUNS draws of w_2, ..., w_d from N(0, 1/d)", kind=int, metavar="RUNS",
        exclusive="others",
    )  # fmt: skip
    imp: str = option(
        "keep", text="what IMP and WR do with the outer weight after pruning (%(default)s)", kind=str,
        choices=("keep", "rebalance"),
    )  # fmt: skip
    rewind_time: float | None = option(None, text="time to which WR rewinds", metavar="T")
    levels: int = option(1, text="number of geometric pruning steps from d to 1 (%(default)s)", kind=int)
    n: int | None = option(None, text="number of samples (default: train on the population)", kind=int)
    noise: float = option(0.0, text="standard deviation of the samples' label noise (%(default)g)")
    learning_rate: float | None = option(
        None, text="step size of gradient descent (default: gradient flow)", metavar="LR"
    )
    seed: int = option(0, text="seed of all random draws (%(default)s)", kind=int)
    level_time: float = option(
        math.inf, text="training time per level (default: train to the limit)", metavar="T"
    )
    method: str = option(
        "ode", text="integrate the flow or use closed forms (%(default)s)", kind=str, choices=("ode", "exact")
    )
    parameterization: str = option(
        "plain", text="train weights directly, or as products m u (%(default)s)", kind=str,
        choices=("plain", "sign-in"),
    )  # fmt: skip
    beta_a: float = option(1.0, text="m^2 - u^2 for a with sign-in (%(default)g)", metavar="B")
    beta_w: float = option(1.0, text="m^2 - u^2 for every w_i with sign-in (%(default)g)", metavar="B")
    reset_every: int | None = option(
        None, text="reset the betas every STEPS steps of descent (default: never)", kind=int, metavar="STEPS"
    )
    targets: int = 1
    v: ArrayLike | None = None
    problem: Problem | None = None
    training: Mapping[str, Any] | tuple[tuple[str, Any], ...] = training_option()

    def __post_init__(self) -> None:
        """Check every field, and the fields against each other."""
        from singleneuron.algorithms import level_counts
        from singleneuron.flows.task import check_method
        from singleneuron.problem.arguments import integer_in_range, number

        settle(self)
        if not isinstance(self.algorithms, tuple):
            object.__setattr__(self, "algorithms", (self.algorithms,))
        integer_in_range("d", self.d, 1)
        integer_in_range("targets", self.targets, 1, self.d)
        if self.learning_rate is not None:
            number("learning_rate", self.learning_rate, least=0.0, open_end=True)
        integer_in_range("resolution", self.resolution, 2)
        number("extent", self.extent, least=0.0, open_end=True)
        integer_in_range("seed", self.seed, 0)
        if self.n is not None:
            integer_in_range("n", self.n, 1)
        if self.average is not None:
            integer_in_range("average", self.average, 1)
        if number("noise", self.noise, least=0.0) and self.n is None:
            raise ValueError(
                f"noise = {self.noise:g} needs samples; give their number n as well, or leave noise out"
            )
        if not self.algorithms or len(set(self.labels)) < len(self.algorithms):
            raise ValueError(f"algorithms must be one or more distinct names, got {self.labels}")
        self._check_others()
        if self.rewind_time is not None and "wr" not in self.algorithms:
            raise ValueError(
                f"rewind_time is for 'wr', which is not among the algorithms; add 'wr', or leave out "
                f"rewind_time = {self.rewind_time:g}"
            )
        if integer_in_range("levels", self.levels, 1) > 1 and self.d == self.targets:
            raise ValueError(
                f"levels must be 1 if d = targets = {self.d} (nothing is pruned), but is {self.levels}"
            )
        level_counts(self.d, self.targets, self.levels)
        number("level_time", self.level_time, least=0.0, finite=False, open_end=True)
        check_method(self.method)
        if self.method == "exact" and self.learning_rate is not None:
            raise ValueError("gradient descent has no closed form; use method 'ode', or drop learning_rate")
        check_variant(self.imp, self.algorithms)
        for rule in self.rules:
            rule.check_times(self.level_time, self.learning_rate)
        self.product.check_method(self.method, self.learning_rate)

    def _check_others(self) -> None:
        """Check `w_perp`, `balanced` and `average`, of which at most one may be given."""
        from singleneuron.problem.arguments import number

        if self.w_perp is not None and number("w_perp", self.w_perp, least=0.0) and self.d == 1:
            raise ValueError(
                f"w_perp is the norm of w_2, ..., w_d, but d = 1; leave out w_perp = {self.w_perp:g}"
            )
        on = {"w_perp": self.w_perp is not None, "balanced": self.balanced, "average": self.average}
        given = [name for name, value in on.items() if value]
        if len(given) > 1:
            raise ValueError(f"give at most one of w_perp, balanced and average, got {' and '.join(given)}")

    def check_size(self) -> None:
        """Raise a one-line ValueError if the map would not fit in memory or would take too long."""
        from signflow.machine import check_memory
        from signflow.workers import check_runs

        cells, algorithms = self.resolution**2, len(self.algorithms)
        starts = 3 * min(CELLS, cells) * self.d  # three copies of the starts: drawn, assembled, and kept
        size = 8 * (3 * algorithms * cells + starts)
        check_memory(f"a map with resolution = {self.resolution}, d = {self.d}", size)
        check_runs((self.average or 1) * algorithms * cells)

    @property
    def rules(self) -> list[Algorithm]:
        """The algorithms, each with the options that it takes."""
        from singleneuron.algorithms import Algorithm

        imp, time = self.imp, self.rewind_time
        return [Algorithm.fitting(given, imp=imp, rewind_time=time) for given in self.algorithms]

    @property
    def labels(self) -> list[str]:
        """The algorithms as results show them."""
        return [given if isinstance(given, str) else given.label for given in self.algorithms]

    @property
    def product(self) -> Parameterization:
        """The parameterization with its betas."""
        from singleneuron.parameterization import Parameterization

        name = cast("Name", self.parameterization)
        return Parameterization(name, self.beta_a, self.beta_w, self.reset_every)

    @property
    def how(self) -> dict[str, Any]:
        """The arguments of `integrate` other than the problem, the starts and the time."""
        own = {"method": self.method, "seed": self.seed, "learning_rate": self.learning_rate}
        return dict(self.training) | own | {"parameterization": self.product}


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """The settings of a study: its points, the runs per point, and how the neurons are trained and pruned.

    All fields except `training` are documented in `success_rate`.

    Attributes
    ----------
    training : Mapping
        Further arguments of `integrate`.

    Raises
    ------
    ValueError
        If a value is out of range, or if values do not fit each other; the message is one line.
    """

    d: int | Sequence[int] = option(None, text="number of input coordinates", kind=int, factor=True)
    n: float | Sequence[float | None] | None = option(
        None, text="number of samples per run; inf means the population (default)", kind=int, factor=True,
        infinite=True,
    )  # fmt: skip
    noise: float | Sequence[float] = option(
        0.0, text="standard deviation of the samples' label noise (0)", factor=True
    )
    algorithms: str | Sequence[str | Algorithm] = option(
        ("imp", "lrr"), text="one or more algorithms (imp lrr)", kind=str, name="algorithm", several=True,
        metavar="imp|wr|lrr", rules=True,
    )  # fmt: skip
    init: str | Sequence[str] = option(
        "balanced", text="distribution of the starts (balanced)", kind=str, factor=True,
        metavar="balanced|independent",
    )  # fmt: skip
    scale: float | Sequence[float] = option(1.0, text="scale factor of the starts (1)", factor=True)
    learning_rate: float | Sequence[float | None] | None = option(
        None, text="step size of gradient descent (default: gradient flow)", factor=True, metavar="LR"
    )
    level_time: float | Sequence[float] = option(
        math.inf, text="training time per level (default: train to the limit)", factor=True, metavar="T"
    )
    rewind_time: float | Sequence[float | None] | None = option(
        None, text="time to which WR rewinds", factor=True, metavar="T"
    )
    targets: int | Sequence[int] = option(
        1, text="number of target coordinates (1)", kind=int, factor=True, metavar="K"
    )
    parameterization: str | Sequence[str] = option(
        "plain", text="train weights directly, or as products m u (plain)", kind=str, factor=True,
        metavar="plain|sign-in",
    )  # fmt: skip
    beta_a: float | Sequence[float] = option(
        1.0, text="m^2 - u^2 for a with sign-in (1)", factor=True, metavar="B"
    )
    beta_w: float | Sequence[float] = option(
        1.0, text="m^2 - u^2 for every w_i with sign-in (1)", factor=True, metavar="B"
    )
    reset_every: int | None = option(
        None, text="reset the betas every STEPS steps of descent (default: never)", kind=int, metavar="STEPS"
    )
    levels: int = option(1, text="number of geometric pruning steps from d to K (%(default)s)", kind=int)
    imp: str = option(
        "keep", text="what IMP and WR do with the outer weight after pruning (%(default)s)", kind=str,
        choices=("keep", "rebalance"),
    )  # fmt: skip
    runs: int = option(10_000, text="runs per point (%(default)s); the maximum with --ci-width", kind=int)
    ci_width: float | None = option(None, text="stop once every interval is narrower than W", metavar="W")
    seed: int = option(0, text="seed of all random draws (%(default)s)", kind=int)
    method: str = option(
        "ode", text="integrate the flow or use closed forms (%(default)s)", kind=str, choices=("ode", "exact")
    )
    v: ArrayLike | None = None
    problem: Problem | None = None
    training: Mapping[str, Any] | tuple[tuple[str, Any], ...] = training_option()

    def __post_init__(self) -> None:
        """Check every field, and the fields against each other."""
        from singleneuron.flows.task import check_method
        from singleneuron.problem.arguments import integer_in_range, number

        settle(self)
        integer_in_range("runs", self.runs, 1)
        integer_in_range("levels", self.levels, 1)
        integer_in_range("seed", self.seed, 0)
        check_method(self.method)
        if self.ci_width is not None:
            number("ci_width", self.ci_width, least=0.0, open_end=True)
        rates = self.learning_rate if isinstance(self.learning_rate, tuple) else (self.learning_rate,)
        if self.method == "exact" and any(rate is not None for rate in rates):
            raise ValueError("gradient descent has no closed form; use method 'ode', or drop learning_rate")
        check_variant(self.imp, self.algorithms)
        _ = self.grid  # raises for invalid factors

    def check_size(self) -> None:
        """Raise a one-line ValueError if the study would not fit in memory or would take too long."""
        from singleneuron.experiments.grid import check_study_size

        check_study_size(self.grid.groups, self.runs, at_most=self.ci_width is not None)

    @functools.cached_property
    def grid(self) -> Grid:
        """The points of the study, and the groups in which their runs are counted."""
        from singleneuron.experiments.grid import FACTORS, grid_of

        fields_of = {name: name for name in FACTORS} | {"algorithm": "algorithms"}
        factors = {name: getattr(self, field) for name, field in fields_of.items()}
        common = {"levels": self.levels, "method": self.method, "seed": self.seed}
        common |= {"training": self.training, "v": self.v, "problem": self.problem}
        return grid_of(factors, self.imp, common, self.reset_every)
