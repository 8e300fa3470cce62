"""Error messages: one line each, whichever library found the mistake."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

MISTAKES_SHOWN = 3
"""Maximum number of mistakes that one message lists."""
# Patterns for phrases in pydantic's messages, and the text that replaces them in ours.
_WORDING = (
    (r"^\w+ should (?=be|have|match)", "must "),
    ("be a valid (?=[aeiou])", "be an "),
    ("be a valid", "be a"),
    (", unable to parse.*", ""),
)


class Failure(RuntimeError):
    """A run failed although its input was valid; the message says why, what was kept, and what to do."""


def unknown(must: str, given: object, known: Iterable[str], more: str = "") -> NoReturn:
    """Raise ValueError for an unknown name, and suggest the most similar known one.

    Parameters
    ----------
    must : str
        Start of the message, such as 'the model must be'.
    given : object
        The unknown name.
    known : Iterable[str]
        All known names.
    more : str
        Text to insert after the list of names.

    Returns
    -------
    NoReturn
        Never.

    Raises
    ------
    ValueError
        Always.
    """
    names = list(known)
    raise ValueError(f"{must} one of {', '.join(names)}{more}, got '{given}'{nearest(given, names)}")


def nearest(given: object, known: Iterable[str]) -> str:
    """Return '; did you mean ...?' with the most similar known name, or '' if none is similar."""
    close = difflib.get_close_matches(str(given), list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def invalid(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Summarize in one line what pydantic found wrong.

    Parameters
    ----------
    error : ValidationError
        The error that lists the mistakes.
    model : type[BaseModel] | None
        The model that was validated. Its keys are suggested in place of unknown keys.

    Returns
    -------
    str
        The first MISTAKES_SHOWN mistakes, and the number of further mistakes.
    """
    found = [_mistake(dict(item), model) for item in error.errors()]
    return "; ".join(found[:MISTAKES_SHOWN]) + (
        f"; and {len(found) - MISTAKES_SHOWN} more" if len(found) > MISTAKES_SHOWN else ""
    )


def _mistake(item: dict[str, Any], model: type[BaseModel] | None) -> str:
    """Describe one mistake: the key, what must hold, and what was given."""
    *section, last = item["loc"] or ("it",)
    key, message = ".".join(map(str, (*section, last))), item["msg"].removeprefix("Value error, ")
    match item["type"]:
        case "missing":
            return f"{key} must be given, but it is not"
        case "extra_forbidden":
            known = _keys(model, section)
            close = difflib.get_close_matches(str(last), known, n=1, cutoff=0.65)
            near = f"did you mean '{'.'.join([*map(str, section), *close])}'?"
            return f"unknown key '{key}'; " + (
                near if close else f"the keys there are {', '.join(known)}" if known else "remove it"
            )
        case "json_invalid":
            return f"it is not JSON ({message.removeprefix('Invalid JSON: ')})"
        case "value_error":
            return (
                f"{key}: {message}" if item["loc"] else message
            )  # a mistake in the model as a whole has no key
        case "union_tag_invalid":
            told = item["ctx"]
            place, tags = told["discriminator"].strip("'"), told["expected_tags"].replace("'", "")
            return f"{key}.{place} must be one of {tags}, got '{told['tag']}'"
    for old, new in _WORDING:
        message = re.sub(old, new, message)
    return f"{key} {message[0].lower() + message[1:]}, got {_short(item['input'])}"


def _short(value: object) -> str:
    """Return the value as text of at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _keys(model: Any, section: Iterable[int | str]) -> list[str]:
    """Return the keys of one section of `model`.

    Each step of `section` is a field name, a key of a mapping, or the tag of a union member.
    """
    for name in section:
        members = _members(model)
        if tagged := [member for member in members if name in _tags(member)]:
            model = tagged[0]
        elif len(members) == 1 and name in members[0].model_fields:
            model = members[0].model_fields[name].annotation
        else:
            model = get_args(model)[-1] if get_args(model) else None
    members = _members(model)
    return list(members[0].model_fields) if len(members) == 1 else []


def _members(model: Any) -> list[Any]:
    """Return the models in a type: a model, or a (possibly annotated) union of models and None."""
    if hasattr(model, "model_fields"):
        return [model]
    if get_origin(model) not in (Union, UnionType, Annotated):
        return []
    return [member for part in get_args(model) for member in _members(part)]


def _tags(model: Any) -> set[Any]:
    """Return the tags that identify a model in its union: the values of fields that allow only one value."""
    kinds = (field.annotation for field in model.model_fields.values())
    return {get_args(kind)[0] for kind in kinds if get_origin(kind) is Literal and len(get_args(kind)) == 1}
