"""Build configurations from dotted settings and TOML, check them, and write them back to TOML."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from deepexp.config import import_paths
from deepexp.config.algorithms import POLICIES, policy
from deepexp.config.protocols import PROFILES, PROTOCOLS
from deepexp.config.sections import SIDES
from deepexp.config.settings import Config
from deepexp.config.training import Train
from signflow.messages import invalid, unknown

# For each section, the setting that can be an import path. The section's `code` is then the digest of the
# source.
_NAMED = {"data": "dataset", "model": "name", "pruning": "score"}


def build(settings: Mapping[str, Any], *, protocol: str = "signflow", profile: str = "full") -> Config:
    """Build a configuration from a protocol, a profile, and settings that override both.

    Values come from the defaults, the protocol, the profile and `settings`. Each source overrides the sources
    before it. If the profile or `settings` changes `train.epochs`, the protocol's milestones, warm-up and
    rewind epoch are rescaled in proportion and rounded to whole epochs (at least one), unless `settings`
    sets them. In the same way, `data.side` rescales the protocol's padding.

    Parameters
    ----------
    settings : Mapping[str, Any]
        Values by dotted key: 'train.lr', 'algorithm', ...
    protocol : str
        A key of `PROTOCOLS`.
    profile : str
        A key of `PROFILES`, which determines how much of the protocol is run.

    Returns
    -------
    Config

    Raises
    ------
    ValueError
        A setting is invalid. The one-line message names the key, what must hold, and what was given.
    """
    dataset = settings.get("data.dataset", "folder" if "data.folder" in settings else "digits")
    if protocol not in PROTOCOLS:
        unknown("the protocol must be", protocol, PROTOCOLS)
    if profile not in PROFILES:
        unknown("the profile must be", profile, PROFILES)
    own = import_paths.is_own(dataset) or dataset == "folder"
    if not own and dataset not in SIDES:
        unknown("the dataset must be", dataset, (*SIDES, "folder"), import_paths.OR_OWN)
    if not own and dataset not in PROTOCOLS[protocol].settings:
        known = ", ".join(PROTOCOLS[protocol].settings)
        raise ValueError(
            f"the protocol '{protocol}' is not defined for '{dataset}', only for {known}; choose another "
            "data set or protocol"
        )
    algorithm = settings.get("algorithm", "lrr")
    flat = {"protocol": protocol, "algorithm": algorithm, "data.dataset": dataset, "model.name": "resnet8"}
    flat |= {f"policy.{key}": value for key, value in policy(protocol, algorithm).model_dump().items()}
    flat |= PROTOCOLS[protocol].common | PROTOCOLS[protocol].settings.get(dataset, {})
    # A profile never lengthens a run: if the protocol's own value is smaller, it stays.
    most = PROFILES[profile]["own" if own else dataset]
    limits = {key: min(value, flat.get(key, value)) for key, value in most.items()}
    shorter = {**limits, **settings}
    if "train.epochs" in shorter:
        flat |= _rescale(flat, shorter["train.epochs"])
    if "data.folder" in settings and "data.size" in settings:
        flat["data.crop_padding"] = 0  # the images are cropped as for ImageNet
    if flat.get("data.crop_padding"):
        flat["data.crop_padding"] = _padding(flat, shorter.get("data.side"))
    without = flat.get("train.warmup") == "before" and shorter.get("train.warmup") == "none"
    if without and algorithm in POLICIES[protocol]:
        flat["policy.rewind_epoch"] = 0  # the rewind point was the end of the warm-up, which is left out
    flat |= _codes({**flat, **shorter})
    _check_sections(settings)
    return parse(_nest({**flat, **shorter}))


def changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return a copy of a configuration in which some settings are changed.

    Unlike `build`, this adapts no other settings to the new ones, except for the digests of import paths.

    Parameters
    ----------
    config : Config
        The configuration.
    settings : Mapping[str, Any]
        Values by dotted key.

    Returns
    -------
    Config

    Raises
    ------
    ValueError
        A setting is invalid, or is 'protocol' or 'algorithm', from which other settings follow.
    """
    for key in {"protocol", "algorithm"} & settings.keys():
        raise ValueError(
            f"{key} must stay {getattr(config, key)!r} in this configuration, got {settings[key]!r}; other "
            "settings follow from it, so build a new configuration"
        )
    flat: dict[str, Any] = {}
    for key, value in config.model_dump().items():
        section = isinstance(value, dict)
        flat |= {f"{key}.{name}": each for name, each in value.items()} if section else {key: value}
    flat |= settings
    flat |= _codes({key: value for key, value in flat.items() if key in settings})
    _check_sections(settings)
    return parse(_nest(flat))


def parse(tree: Mapping[str, Any]) -> Config:
    """Make a configuration from a nested mapping; raise ValueError with one line if it is invalid."""
    try:
        return Config.model_validate(_defaults(tree))
    except ValidationError as error:
        raise ValueError(invalid(error, Config)) from None


def read(text: str) -> Config:
    """Read a configuration from TOML.

    Parameters
    ----------
    text : str
        TOML as `to_toml` writes it.

    Returns
    -------
    Config

    Raises
    ------
    ValueError
        The text is not valid TOML, or not a valid configuration.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the configuration must be valid TOML: {error}") from None
    return parse(tree)


def to_toml(config: Config) -> str:
    """Write every field of a configuration as TOML.

    Parameters
    ----------
    config : Config
        The configuration.

    Returns
    -------
    str
        The text. Fields that are None are left out, since TOML has no null.
    """
    tree = config.model_dump()
    sections = {key: value for key, value in tree.items() if isinstance(value, dict)}
    lines = _pairs({key: value for key, value in tree.items() if key not in sections})
    for name, section in sections.items():
        lines += ["", f"[{name}]", *_pairs(section)]
    return "\n".join(lines) + "\n"


def _check_sections(settings: Mapping[str, Any]) -> None:
    """Raise ValueError if the section of a key is missing or wrong; `parse` finds all other unknown keys."""
    tree = {name: field.annotation for name, field in Config.model_fields.items()}
    sections = {name: getattr(kind, "model_fields", {}) for name, kind in tree.items()}
    for key in settings:
        section, _, name = key.rpartition(".")
        homes = [home for home, fields in sections.items() if name in fields]
        if homes and section not in homes and key not in tree:
            raise ValueError(f"unknown key '{key}'; did you mean '{homes[0]}.{name}'?")


def _codes(flat: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of the source of each import path in `flat`, by the dotted key of the digest."""
    return {
        f"{section}.code": import_paths.source_digest(f"{section}.{key}", flat[f"{section}.{key}"])
        for section, key in _NAMED.items()
        if import_paths.is_own(flat.get(f"{section}.{key}"))
    }


def _defaults(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Add each section that `tree` lacks as an empty section, so that the defaults of its fields apply."""
    return {"data": {}, "model": {}, "train": {}, "pruning": {}} | dict(tree)


def _rescale(flat: Mapping[str, Any], epochs: Any) -> dict[str, Any]:
    """Return the protocol's settings that count epochs, rescaled to levels of `epochs` epochs."""
    old = flat.get("train.epochs", Train.model_fields["epochs"].default)
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1 or epochs == old:
        return {}
    ratio = Fraction(epochs, old)

    def scaled(time: float) -> int:
        return max(1, round(ratio * Fraction(time)))

    times: dict[str, Any] = {}
    on_top = flat.get("train.warmup") == "before"
    if flat.get("policy.rewind_epoch"):
        rewound = scaled(flat["policy.rewind_epoch"])
        times["policy.rewind_epoch"] = rewound if on_top else min(rewound, epochs - 1)
    if flat.get("train.milestones"):
        inside = {float(m) for m in map(scaled, flat["train.milestones"]) if m < epochs}
        times["train.milestones"] = sorted(inside) or [epochs / 2]
    if flat.get("train.warmup_epochs"):
        ramp = float(scaled(flat["train.warmup_epochs"]))
        times["train.warmup_epochs"] = ramp if on_top else min(ramp, epochs / 2)
    return times


def _padding(flat: Mapping[str, Any], side: Any) -> int:
    """Return the protocol's padding in pixels, rescaled in proportion to images of `side` x `side` pixels."""
    padding, own = flat["data.crop_padding"], flat.get("data.side") or SIDES.get(flat["data.dataset"])
    valid = own is not None and isinstance(side, int) and not isinstance(side, bool) and side >= 1
    return max(1, round(Fraction(padding * side, own))) if valid else padding


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    sections = {key.rpartition(".")[0] for key in flat} - {""}
    for key in sections & flat.keys():
        raise ValueError(
            f"'{key}' is a section and must not be set to a value, got {flat[key]!r}; set one of its keys"
        )
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return tree


def _pairs(section: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {toml(value)}" for key, value in section.items() if value is not None]


def toml(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)  # JSON and TOML write strings, numbers and booleans in the same way
