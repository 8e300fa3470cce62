"""The grid of factors that a study runs over."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from singleneuron.algorithms import check_algorithm, level_counts, own_options
from singleneuron.experiments.runs import Group, Way
from singleneuron.problem.arguments import integer, number
from singleneuron.problem.problem import Population
from singleneuron.problem.starts import INITS

if TYPE_CHECKING:
    pass


FACTORS = (
    "d", "n", "noise", "init", "scale", "learning_rate", "level_time", "targets", "algorithm", "rewind_time",
)  # fmt: skip


def _values(name: str, value: Any) -> list[Any]:
    """The values of a factor, checked; one that is not a sequence is its only value."""
    listed = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
    values = list(value) if listed else [value]
    values = [item.item() if isinstance(item, np.generic) else item for item in values]
    check: Mapping[str, Callable[[Any], Any]] = {
        "d": lambda v: integer("d", v, 1),
        "n": _samples,
        "noise": lambda v: number("noise", v, least=0.0),
        "scale": lambda v: number("scale", v, least=0.0, open_end=True),
        "learning_rate": lambda v: v if v is None else number("learning_rate", v, least=0.0, open_end=True),
        "level_time": lambda v: number("level_time", v, least=0.0, finite=False, open_end=True),
        "targets": lambda v: integer("targets", v, 1),
        "rewind_time": lambda v: v if v is None else number("rewind_time", v, least=0.0),
    }
    values = [check.get(name, lambda v: v)(item) for item in values]
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{name} must have distinct values, at least one, but has {values}")
    return values


def _samples(value: Any) -> int | None:
    """A number of samples; None for infinitely many."""
    if value is None or (isinstance(value, float) and value == np.inf):
        return None
    return integer("n", int(value) if isinstance(value, float) and value.is_integer() else value, 1)


@dataclass
class _Grid:
    """The factors and their values, and where in the groups each point is counted."""

    values: dict[str, list[Any]]
    dims: list[str]
    groups: list[Group] = field(default_factory=list)
    where: list[tuple[int, int]] = field(default_factory=list)  # (group, way) of every point in C order

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(self.values[name]) for name in FACTORS)

    def points(self) -> Iterator[dict[str, Any]]:
        for point in itertools.product(*(self.values[name] for name in FACTORS)):
            yield dict(zip(FACTORS, point, strict=True))


def _grid(factors: Mapping[str, Any], common: Mapping[str, Any]) -> _Grid:
    """Points that differ in nothing that a run sees are counted once: noise without samples, say."""
    values = {name: _values(name, factors[name]) for name in FACTORS}
    grid = _Grid(values, [name for name in FACTORS if len(np.shape(factors[name])) == 1])
    ways: dict[Group, list[Way]] = {}
    places = []
    for point in grid.points():
        if point["init"] not in INITS:
            raise ValueError(f"init must be one of {', '.join(INITS)}, but is {point['init']!r}")
        Population(point["d"], point["targets"])
        level_counts(point["d"], point["targets"], common["levels"])
        way = Way(point.pop("algorithm"), point.pop("rewind_time"))
        own = own_options(way.algorithm, imp=common["imp"], rewind_time=way.rewind_time)
        check_algorithm(
            way.algorithm, level_time=point["level_time"], learning_rate=point["learning_rate"], **own
        )
        way = way._replace(rewind_time=own["rewind_time"])
        group = Group(**point | ({"noise": 0.0} if point["n"] is None else {}), **common)
        known = ways.setdefault(group, [])
        if way not in known:
            known.append(way)
        places.append((group, way))
    if values["rewind_time"] != [None] and "wr" not in values["algorithm"]:
        raise ValueError("a rewind_time is for the algorithm 'wr', which is not among the algorithms; add it")
    if values["n"] == [None] and any(values["noise"]):
        raise ValueError("noise is on the labels of samples: give n, the number of samples, too")
    index = {group: i for i, group in enumerate(ways)}
    grid.where = [(index[group], ways[group].index(way)) for group, way in places]
    grid.groups = [replace(group, ways=tuple(found)) for group, found in ways.items()]
    return grid
