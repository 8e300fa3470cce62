"""The data of the explorer in the report: maps and paths, quantised to keep the page small."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from figures import style

if TYPE_CHECKING:
    import xarray as xr


NO_VALUE = 65535
"""The code for a missing value."""


FAINTEST = 1e-16
"""The smallest loss to show. Smaller losses are only rounding errors, and are replaced by this value."""


def embedded(tables: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Prepare the explorer's data for the page.

    Parameters
    ----------
    tables : Mapping[str, xr.Dataset]
        The result of the preset `explorer`, with the table `grid`.

    Returns
    -------
    dict[str, Any]
        Entries for JSON. Outcomes are stored as bytes in base64; paths and log10 losses are stored in the
        form that `quantised` returns.
    """
    import numpy as np

    explorer = tables["grid"]
    codes = dict(item.split(" ", 1) for item in explorer.attrs["status_codes"].split(", "))
    wins = explorer.success.fillna(2).astype("uint8").values
    return {
        "d": int(explorer.attrs["d"]),
        "rewind_time": float(explorer.attrs["rewind_time"]),
        "parameterizations": explorer.parameterization.values.tolist(),
        "algorithms": explorer.algorithm.values.tolist(),
        "labels": [style.LABEL[name] for name in explorer.algorithm.values.tolist()],
        "a0": explorer.a0.values.tolist(),
        "w0": explorer.w0.values.tolist(),
        "kept": explorer.kept.values.tolist(),
        "points": explorer.sizes["point"],
        "codes": [codes[str(code)] for code in range(len(codes))],
        "success": _base64(wins),
        "status": _base64(explorer.status.values.astype("uint8")),
        "a": quantised(explorer.a.values),
        "w": quantised(explorer.w.values),
        "loss": quantised(np.log10(np.maximum(explorer.loss.values, FAINTEST))),
    }


def quantised(values: Any) -> dict[str, Any]:
    """Quantise values to 16-bit little-endian codes in base64.

    A value equals low + step * code, with an error of at most step / 2.
    """
    import numpy as np

    finite = np.isfinite(values)
    low, high = (float(edge) for edge in (values[finite].min(), values[finite].max()))
    step = (high - low) / (NO_VALUE - 1) or 1.0
    codes = np.full(values.shape, NO_VALUE)
    codes[finite] = np.rint((values[finite] - low) / step)
    return {"low": low, "step": step, "codes": _base64(codes.astype("<u2"))}


def _base64(array: Any) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
