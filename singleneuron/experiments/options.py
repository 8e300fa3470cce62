"""Define the fields of a settings record so that the command line can offer them as options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, field, fields
from typing import Any, TypeVar

from signflow.messages import unknown

Record = TypeVar("Record")
TRAINING = ("rtol", "atol", "tolerance", "label_noise")
"""Arguments of `integrate` that a record holds in its field `training`."""


def option(default: Any = MISSING, *, text: str, kind: type = float, **how: Any) -> Any:
    """Return a field that the command line offers as an option, with the help `text`.

    `kind` is the type of a value on the command line. `how` may hold:

    - `name`: the name of the option, if it differs from the name of the field;
    - `metavar` and `choices`, as in argparse;
    - `several`: whether the option takes a list of values;
    - `factor`: whether it takes a list of values that spans a dimension;
    - `infinite`: whether it takes inf as well as integers;
    - `exclusive`: a word; at most one of the options with the same word may be given;
    - `rules`: whether its values may also be `Algorithm` objects.
    """
    return field(default=default, metadata={"text": text, "kind": kind, **how})


def training_option() -> Any:
    """Return the field for further arguments of `integrate`, a mapping that is stored as sorted pairs."""
    return field(default=())


def options_of(record: type) -> list[Field[Any]]:
    """Return the fields of a record that the command line offers.

    Parameters
    ----------
    record : type
        `MapSettings` or `StudySettings`.

    Returns
    -------
    list of Field
        The fields in their order, each with the arguments of its `option` as metadata.
    """
    return [item for item in fields(record) if "text" in item.metadata]


def configuration_of(record: Any) -> dict[str, Any]:
    """Return the configuration that a result stores, under the names used on the command line.

    Parameters
    ----------
    record : MapSettings or StudySettings
        The settings.

    Returns
    -------
    dict
        Every option with its value, the entries of `training`, and other fields that differ from their
        defaults. A problem is described by its `identity`.
    """
    from singleneuron.algorithms import Algorithm
    from singleneuron.problem.data import identity

    found: dict[str, Any] = {}
    for item in fields(record):
        value = getattr(record, item.name)
        if item.name == "training":
            found |= dict(value)
        elif item.name == "problem":
            found |= {} if value is None else {"problem": identity(value)}
        elif item.name == "algorithms":
            listed = value if isinstance(value, tuple) else (value,)
            plain = tuple(asdict(each) if isinstance(each, Algorithm) else each for each in listed)
            found["algorithm"] = plain if isinstance(value, tuple) else plain[0]
        elif "text" in item.metadata or value != item.default:
            found[item.metadata.get("name", item.name)] = value
    return found


def made(record: Callable[..., Record], arguments: Mapping[str, Any]) -> Record:
    """Make a settings record from arguments.

    Parameters
    ----------
    record : type
        `MapSettings` or `StudySettings`.
    arguments : Mapping
        Values by field name. Arguments named in `TRAINING` go into the field `training`.

    Returns
    -------
    Record
        The record.

    Raises
    ------
    ValueError
        If an argument is unknown, if a field without a default is missing, or if a value is invalid.
    """
    known = {item.name: item for item in fields(record) if item.name != "training"}  # type: ignore[arg-type]
    for name in arguments:
        if name not in known and name not in TRAINING:
            unknown("a setting must be", name, [*known, *TRAINING])
    for name, item in known.items():
        if item.default is MISSING and name not in arguments:
            raise ValueError(f"{name} must be given, but is missing")
    own = {name: value for name, value in arguments.items() if name in known}
    return record(**own, training={name: arguments[name] for name in arguments.keys() - own.keys()})


def check_variant(imp: str, algorithms: Any) -> None:
    """Check that at least one algorithm takes the variant `imp`, unless it is the default 'keep'.

    Parameters
    ----------
    imp : str
        What IMP and WR do with the outer weight after pruning.
    algorithms : str or Algorithm, or tuple of them
        The algorithms.

    Raises
    ------
    ValueError
        If `imp` is not 'keep' and no algorithm given by name is IMP or WR.
    """
    listed = algorithms if isinstance(algorithms, tuple) else (algorithms,)
    names = [given for given in listed if isinstance(given, str)]
    if imp == "keep" or not listed:
        return
    if not names:
        raise ValueError(f"imp = {imp!r} must be set in each Algorithm, not separately; leave it out")
    if all(name == "lrr" for name in names):
        raise ValueError(f"imp = {imp!r} is for 'imp' and 'wr', but is given with 'lrr' only; leave it out")


def settle(record: Any) -> None:
    """Convert the fields of a record to plain immutable values, and check their types.

    Lists and arrays become tuples, numpy numbers become Python numbers, and `training` becomes sorted pairs.
    If the record has a problem, `d`, `n` and `targets` are taken from it.

    Parameters
    ----------
    record : MapSettings or StudySettings
        The record under construction.

    Raises
    ------
    ValueError
        If a field does not have the type of its option, if there is neither d nor a problem, or if a field
        contradicts the problem.
    """
    for item in fields(record):
        value = getattr(record, item.name)
        plain = tuple(sorted(dict(value).items())) if item.name == "training" else _plain(value)
        object.__setattr__(record, item.name, plain)
        if "text" in item.metadata:
            _check_type(item, plain)
    _settle_problem(record)


def _settle_problem(record: Any) -> None:
    """Set `d`, `n` and `targets` of a record from its problem, or `targets` from its target `v`."""
    from singleneuron.problem.problem import Population, Sample

    problem, d = record.problem, record.d
    if problem is None:
        if d is None:
            raise ValueError("d must be given, but is missing; give d, or a problem, which has its own d")
        if record.v is not None:
            if isinstance(d, tuple) and len(d) != 1:
                raise ValueError(f"v has d entries, so d must be one number, but is {d}")
            chosen = Population(d[0] if isinstance(d, tuple) else d, record.targets, record.v)
            object.__setattr__(record, "v", chosen.entries)
            object.__setattr__(record, "targets", chosen.targets)
        return
    if not isinstance(problem, Population | Sample):
        raise ValueError(f"problem must be a Population or a Sample, but is {problem!r}")
    own = {"d": problem.d, "n": getattr(problem, "n", None), "targets": problem.targets}
    own |= {"noise": 0.0, "v": None}
    for item in fields(record):
        given = getattr(record, item.name)
        if item.name not in own or given in (own[item.name], (own[item.name],)):
            continue
        if given != item.default:
            raise ValueError(f"{item.name} belongs to the problem; leave out {item.name} = {given}")
        object.__setattr__(record, item.name, own[item.name])


def _plain(value: Any) -> Any:
    """Return the value with lists and arrays turned into tuples, and numpy numbers into Python numbers."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _check_type(item: Field[Any], value: Any) -> None:
    """Raise ValueError if the value has the wrong type. If a list is allowed, check each of its values."""
    how = item.metadata
    many = how.get("several") or how.get("factor")
    optional = item.default is None
    for entry in value if many and isinstance(value, tuple) else (value,):
        if not (optional and entry is None) and not _has_type(entry, how):
            kind = "a name, an Algorithm," if how.get("rules") else _KINDS[how["kind"]]
            raise ValueError(
                f"{item.name} must be {kind}{' or a list of them' if many else ''}, got {value!r}"
            )


_KINDS = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}


def _has_type(value: object, how: Mapping[str, Any]) -> bool:
    from singleneuron.algorithms import Algorithm

    if how.get("rules") and isinstance(value, Algorithm):
        return True
    if how["kind"] in (str, bool):
        return isinstance(value, how["kind"])
    whole = how["kind"] is int and not how.get("infinite")
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool)
