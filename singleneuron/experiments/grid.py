"""Lay out the grid of a study's factors, and group the points of the grid that are counted together."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from signflow.machine import check_memory
from signflow.workers import check_runs
from singleneuron.algorithms import Algorithm, level_counts
from singleneuron.parameterization import PLAIN, Parameterization
from singleneuron.problem.arguments import integer_in_range, number
from singleneuron.problem.data import identity
from singleneuron.problem.problem import Population, Problem
from singleneuron.problem.starts import INITS

FACTORS = (
    "d", "n", "noise", "init", "scale", "learning_rate", "level_time", "targets", "parameterization",
    "beta_a", "beta_w", "algorithm", "rewind_time",
)  # fmt: skip

LARGEST_SCALE = 1e100
"""Largest scale factor of the starts, so that squares of the weights do not overflow."""

BLOCK = 4096
"""Number of starts drawn at a time. Unlike the size of a chunk, it affects which starts are drawn."""

BLOCK_NUMBERS = 2**22
"""Maximum number of random numbers drawn at a time, which makes a block smaller if d is large."""


def _values(name: str, value: Any) -> list[Any]:
    """Check the values of a factor and return them as a list. A single value becomes a list of one."""
    check: Mapping[str, Callable[[Any], Any]] = {
        "d": lambda v: integer_in_range("d", v, 1),
        "n": _samples,
        "noise": lambda v: number("noise", v, least=0.0),
        "scale": _scale,
        "learning_rate": lambda v: v if v is None else number("learning_rate", v, least=0.0, open_end=True),
        "level_time": lambda v: number("level_time", v, least=0.0, finite=False, open_end=True),
        "targets": lambda v: integer_in_range("targets", v, 1),
        "rewind_time": lambda v: v if v is None else number("rewind_time", v, least=0.0),
        "beta_a": lambda v: number("beta_a", v, least=0.0, open_end=True),
        "beta_w": lambda v: number("beta_w", v, least=0.0, open_end=True),
    }
    listed = value if isinstance(value, tuple) else (value,)
    values = [check.get(name, lambda v: v)(item) for item in listed]
    shown = [getattr(item, "label", item) for item in values]
    if not values or len(set(shown)) < len(values):
        raise ValueError(f"{name} must have one or more distinct values, but has {shown}")
    return values


def _scale(value: Any) -> float:
    """Check a scale factor of the starts."""
    if number("scale", value, least=0.0, open_end=True) > LARGEST_SCALE:
        raise ValueError(f"scale must be at most {LARGEST_SCALE:g}, but is {value:g}")
    return float(value)


def _samples(value: Any) -> int | None:
    """Check a number of samples, and return None if it is infinite."""
    if value is None or (isinstance(value, float) and value == np.inf):
        return None
    return integer_in_range("n", int(value) if isinstance(value, float) and value.is_integer() else value, 1)


@dataclass(frozen=True)
class Group:
    """Points of a study's grid that share their dense level, with everything that their runs depend on.

    The points of a group differ only in their algorithm. The other fields hold the values of the other
    factors, and the settings that all points of the grid have in common.
    """

    d: int
    n: int | None
    noise: float
    init: str
    scale: float
    learning_rate: float | None
    level_time: float
    targets: int
    levels: int
    method: str
    seed: int
    training: tuple[tuple[str, Any], ...]
    algorithms: tuple[Algorithm, ...] = ()
    parameterization: Parameterization = PLAIN
    v: tuple[float, ...] | None = None
    problem: Problem | None = None

    @property
    def population(self) -> Population:
        """The population that runs without samples train on."""
        return Population(self.d, self.targets, self.v)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the group's runs depend on, as plain values."""
        problem = None if self.problem is None else identity(self.problem)
        return asdict(replace(self, problem=None)) | {"problem": problem}

    @property
    def reduced(self) -> bool:
        """Whether a run needs only a, w_1 and |(w_2, ..., w_d)|, so that its cost does not grow with d."""
        one_pruning = len(level_counts(self.d, self.targets, self.levels)) <= 2
        symmetric = self.n is None and self.targets == 1 and self.parameterization.plain
        return symmetric and one_pruning and np.isinf(self.level_time)

    @property
    def block(self) -> int:
        """Number of starts drawn at a time."""
        return BLOCK if self.reduced else min(BLOCK, max(1, BLOCK_NUMBERS // self.d))

    @property
    def chunk(self) -> int:
        """Number of runs in a chunk, chosen so that counting a chunk takes about a second."""
        return 64 if self.n is not None else 2 * self.block


@dataclass
class Grid:
    """The factors of a study with their values, and the group in which each point is counted.

    Attributes
    ----------
    values : dict of str to list
        The values of each factor in `FACTORS`.
    dims : list of str
        The factors that were given as sequences, which become dimensions of the result.
    groups : list of Group
        The groups, with their algorithms.
    where : list of tuple of int
        For every point, in C order, the index of its group and the index of its algorithm in that group.
    """

    values: dict[str, list[Any]]
    dims: list[str]
    groups: list[Group] = field(default_factory=list)
    where: list[tuple[int, int]] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values of each factor."""
        return tuple(len(self.values[name]) for name in FACTORS)

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the points in C order, each as a dict from factors to values."""
        for point in itertools.product(*(self.values[name] for name in FACTORS)):
            yield dict(zip(FACTORS, point, strict=True))


def grid_of(
    factors: Mapping[str, Any], imp: str, common: Mapping[str, Any], reset_every: int | None = None
) -> Grid:
    """Lay out the grid of a study, and group its points.

    Points whose runs cannot differ are counted only once. For example, noise has no effect without samples.

    Parameters
    ----------
    factors : Mapping
        A value, or a tuple of values, for each factor in `FACTORS`.
    imp : str
        'keep' or 'rebalance': what IMP and WR do with the outer weight a after pruning.
    common : Mapping
        The fields of `Group` that all points have in common.
    reset_every : int, optional
        Number of descent steps between resets of Sign-In's betas.

    Returns
    -------
    Grid
        The grid.

    Raises
    ------
    ValueError
        If a value is out of range, or if values do not fit each other.
    """
    values = {name: _values(name, factors[name]) for name in FACTORS}
    grid = Grid(values, [name for name in FACTORS if isinstance(factors[name], tuple)])
    found: dict[Group, list[Algorithm]] = {}
    places = []
    for point in grid.points():
        if point["init"] not in INITS:
            raise ValueError(f"init must be one of {', '.join(INITS)}, but is {point['init']!r}")
        Population(point["d"], point["targets"], common["v"])
        level_counts(point["d"], point["targets"], common["levels"])
        given, rewind_time = point.pop("algorithm"), point.pop("rewind_time")
        algorithm = Algorithm.fitting(given, imp=imp, rewind_time=rewind_time)
        algorithm.check_times(point["level_time"], point["learning_rate"])
        betas = {name: point.pop(name) for name in ("beta_a", "beta_w")}
        point["parameterization"] = Parameterization.fitting(
            point["parameterization"], **betas, reset_every=reset_every
        )
        point["parameterization"].check_method(common["method"], point["learning_rate"])
        group = Group(**point | ({"noise": 0.0} if point["n"] is None else {}), **common)
        known = found.setdefault(group, [])
        if algorithm not in known:
            known.append(algorithm)
        places.append((group, algorithm))
    if values["rewind_time"] != [None] and "wr" not in values["algorithm"]:
        raise ValueError("rewind_time is for 'wr', which is not among the algorithms; add 'wr' to them")
    if "sign-in" not in values["parameterization"]:
        Parameterization("plain", values["beta_a"][0], values["beta_w"][0], reset_every)
        if len(values["beta_a"]) * len(values["beta_w"]) > 1:
            raise ValueError(
                "beta_a and beta_w are for 'sign-in', which is not among the parameterizations; add 'sign-in'"
            )
    if values["n"] == [None] and any(values["noise"]):
        raise ValueError("noise needs samples; give their number n as well, or leave noise out")
    index = {group: i for i, group in enumerate(found)}
    grid.where = [(index[group], found[group].index(algorithm)) for group, algorithm in places]
    grid.groups = [replace(group, algorithms=tuple(known)) for group, known in found.items()]
    return grid


def check_study_size(groups: Sequence[Group], runs: int, at_most: bool) -> None:
    """Raise a one-line ValueError if a study would not fit in memory or would take too long.

    If `at_most` is True, the study may stop before `runs` runs, so its time cannot be estimated from `runs`.
    """
    if not at_most:
        check_runs(runs * len(groups))
    for group in groups:
        if group.n is not None:
            check_memory(f"a sample with n = {group.n}, d = {group.d}", 8 * group.n * group.d)
        if not group.reduced:
            check_memory(f"a block of starts with d = {group.d}", 3 * 8 * group.block * group.d)
    chunks = sum(-(-runs // group.chunk) for group in groups)
    check_memory(f"a list of {chunks:.3g} chunks of runs", 150 * chunks)
