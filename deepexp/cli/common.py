"""Options that several commands share: the folder of the runs, `--set` and `--device`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RUNS = Path("runs")


def settings_of(texts: Sequence[str], option: str, example: str) -> dict[str, Any]:
    """Parse the KEY=VALUE strings in `texts` as settings; a value that is not valid TOML stays a string."""
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ValueError(
                f"{option} must be KEY=VALUE, such as {example}, got '{text}'; `deepexp train --set` lists "
                "all keys"
            )
        try:
            settings[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            settings[key] = value
    return settings


def device_of(name: str) -> str:
    """Return the device `name`; for 'auto', return 'cuda' if torch finds a GPU, else 'cpu'."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
