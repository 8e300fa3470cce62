"""Messages: one line that names the key, what must hold there, and what may have been meant."""

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from signflow.messages import invalid, unknown


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    resolution: int = 1


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    parts: dict[str, Part] = {}
    first: Part | None = None

    @model_validator(mode="after")
    def _together(self):
        if self.name == "alone" and self.first is not None:
            raise ValueError("name must not be 'alone' beside first")
        return self


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "name must be given, but it is not"),
        ({"name": 3}, "name must be a string, got 3"),
        ({"nmae": "", "name": ""}, "unknown key 'nmae'; did you mean 'name'?"),
        ({"name": "", "x": 0}, "unknown key 'x'; the keys there are name, parts, first"),
        (
            {"name": "", "parts": {"map": {"resolutoin": 1}}},
            "unknown key 'parts.map.resolutoin'; did you mean 'parts.map.resolution'?",
        ),
        (
            {"name": "", "first": {"resolutoin": 1}},
            "unknown key 'first.resolutoin'; did you mean 'first.resolution'?",
        ),
        (
            {"name": "", "parts": {"map": {"resolution": "x" * 99}}},
            f"must be an integer, got '{'x' * 56}...",
        ),
        ({"name": "alone", "first": {}}, "name must not be 'alone' beside first"),
        ({"name": "", **dict.fromkeys("abcde", 0)}, "parts, first; and 2 more"),
    ],
)
def test_what_pydantic_finds_is_one_line(given, message):
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(given)
    assert message in invalid(caught.value, Whole)
    assert not invalid(caught.value, Whole).startswith("it:")
    assert "\n" not in invalid(caught.value)


def test_the_nearest_name_is_asked_for():
    with pytest.raises(
        ValueError, match=r"^a preset must be one of fig1a, rate_d, got 'fig1'; did you mean 'fig1a'"
    ):
        unknown("a preset must be", "fig1", ["fig1a", "rate_d"])
    with pytest.raises(ValueError, match=r"got ''$"):
        unknown("a preset must be", "", ["fig1a"])
