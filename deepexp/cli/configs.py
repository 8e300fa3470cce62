"""The configurations that the options of `deepexp train` ask for, one for each seed."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepexp.cli.common import device_of, settings_of

if TYPE_CHECKING:
    from deepexp.config.settings import Config

_OF_PROTOCOLS = ("dataset", "model", "algorithm", "protocol", "profile", "epochs")
"""Options that choose settings from protocols. With --config, the file has already made these choices."""


def configs(options: argparse.Namespace) -> list[Config]:
    """Return the configuration for each seed."""
    given = _given(options)
    return _from_protocol(options, given) if options.config is None else _from_file(options, given)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that --set and --levels give; both options work with and without --config."""
    given = settings_of(options.set or [], "--set", "train.lr=0.05")
    if "machine.stack" in given:
        raise ValueError(
            f"machine.stack must not be set by --set, got {given['machine.stack']}; pass the seeds "
            "that train together as --seed 0 1 2"
        )
    if options.seed is not None and "seed" in given:
        raise ValueError(
            f"the seed must be given only once, got both --seed and --set seed={given['seed']}; leave one "
            "of them out"
        )
    return ({} if options.levels is None else {"pruning.levels": options.levels}) | given


def _from_protocol(options: argparse.Namespace, given: dict[str, Any]) -> list[Config]:
    from deepexp.config.build import build

    settings: dict[str, Any] = {
        "machine.device": device_of(options.device or "auto"),
        "machine.processes": int(os.environ.get("WORLD_SIZE", 1)),  # set by torchrun
    }
    chosen = {"data.dataset": "dataset", "model.name": "model", "algorithm": "algorithm"}
    chosen["train.epochs"] = "epochs"
    settings |= {
        key: getattr(options, name) for key, name in chosen.items() if getattr(options, name) is not None
    }
    seeds = sorted(options.seed or [0])
    if len(seeds) > 1:
        settings["machine.stack"] = seeds
    protocol, profile = options.protocol or "signflow", options.profile or "full"
    return [build({"seed": seed, **settings, **given}, protocol=protocol, profile=profile) for seed in seeds]


def _from_file(options: argparse.Namespace, given: dict[str, Any]) -> list[Config]:
    from deepexp.config.build import changed

    if named := [f"--{name}" for name in _OF_PROTOCOLS if getattr(options, name) is not None]:
        raise ValueError(
            f"{named[0]} must be left out with --config, whose file has every setting; change a setting with "
            "--set, for example --set train.lr=0.05"
        )
    made = _read(options.config)
    if options.device is not None:
        given["machine.device"] = device_of(options.device)
    if "WORLD_SIZE" in os.environ:
        given["machine.processes"] = int(os.environ["WORLD_SIZE"])
    seeds = sorted(options.seed or made.machine.stack or [given.get("seed", made.seed)])
    given["machine.stack"] = seeds if len(seeds) > 1 else []
    return [changed(made, {**given, "seed": seed}) for seed in seeds]


def _read(path: Path) -> Config:
    from deepexp.config.build import read

    try:
        return read(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        why = str(error.strerror)
    except ValueError as error:
        why = str(error)
    raise ValueError(
        f"'{path}' must be a configuration as a run writes it, but it is not ({why}); use --print-config"
    )
