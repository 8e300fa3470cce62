"""Result files: labelled arrays with the provenance of the run that made them.

The one format in which results are handed over: NetCDF (one Dataset, or one group per named Dataset), or
CSV for one Dataset, as a long-form table. A file appears under its name only when it is complete.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signflow.files import SUFFIXES, atomic, check_output
from signflow.provenance import canonical, provenance, source_digest

if TYPE_CHECKING:
    import xarray as xr

# What a result shows, in words; the numbers in it do not depend on them.
_WORDS = ("title", "shows", "figure")


def write(
    data: xr.Dataset | Mapping[str, xr.Dataset],
    path: str | Path,
    *,
    config: Mapping[str, Any],
    seed: int | None = None,
) -> Path:
    """Write `data` with its provenance to `path` (.nc or .csv), all or nothing, and return the path.

    A mapping becomes one NetCDF group per name. CSV holds one Dataset: its provenance as '# key: value'
    lines, then one row per point of the product of its dimensions.
    """
    import xarray as xr

    from signflow import formats

    path = check_output(path)
    if not isinstance(data, xr.Dataset):
        if path.suffix != ".nc":
            raise ValueError(
                f"a .csv holds one table, but the result has {len(data)}; write '{path.stem}.nc'"
            )
        if not data:
            raise ValueError("a result must hold at least one dataset, got none")
        content = formats.netcdf(data, provenance(config, seed))
    elif path.suffix == ".nc":
        content = formats.netcdf(data, provenance(config, seed))
    else:
        content = formats.csv(data.assign_attrs(provenance(config, seed)))
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return path


def read(path: str | Path) -> xr.Dataset | dict[str, xr.Dataset]:
    """Read a result: its Dataset, or its named Datasets, each with the provenance in its attributes.

    Every variable of a CSV comes back over all of the table's dimensions. Raises ValueError when the file
    is missing, in use or no result file.
    """
    from signflow import formats

    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a result file must end in .nc or .csv, got '{path}'")
    if not path.is_file():
        raise ValueError(f"there must be a result file at '{path}', but there is none; make it first")
    _config_of(path)
    with _named(path):
        return formats.read_csv(path) if path.suffix == ".csv" else formats.read_netcdf(path)


def is_current(path: str | Path, *, config: Mapping[str, Any]) -> bool:
    """Whether the result at `path` was made by this configuration and by these sources."""
    path = Path(path)
    try:
        stored = _attributes(path) if path.is_file() else {}
    except ValueError:
        return False
    return (stored.get("config"), stored.get("source_digest")) == (canonical(config), source_digest())


def claim(
    path: str | Path,
    *,
    config: Mapping[str, Any],
    overwrite: bool = False,
    suffixes: tuple[str, ...] = SUFFIXES,
) -> Path:
    """Return `path`, having made sure that a result of this configuration may be written there.

    Raises ValueError as `check_output` does, and where anything but an earlier result of this configuration
    would be lost, unless `overwrite` says that it may be.
    """
    path = check_output(path, suffixes)
    if overwrite or not path.exists():
        return path
    remedy = "write to another file, or replace it with --overwrite"
    ours = _flat({key: value for key, value in json.loads(canonical(config)).items() if key not in _WORDS})
    theirs = _flat({key: value for key, value in _config_of(path, remedy).items() if key not in _WORDS})
    differ = sorted(key for key in ours | theirs if ours.get(key, "") != theirs.get(key, ""))
    if differ:
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise ValueError(
            f"'{path}' holds a result of another configuration (different: {', '.join(differ[:3])}{more}); "
            f"{remedy}"
        )
    return path


def _flat(config: Any, name: str = "") -> dict[str, Any]:
    """The entries of a nested mapping by dotted names."""
    if not isinstance(config, Mapping):
        return {name: config}
    inner = ((f"{name}.{key}" if name else str(key), value) for key, value in config.items())
    return {key: value for prefix, item in inner for key, value in _flat(item, prefix).items()}


_AGAIN = "delete it and make it again"


def _config_of(path: Path, remedy: str = _AGAIN) -> dict[str, Any]:
    """The configuration that a result file states; ValueError where it states none."""
    stored = _attributes(path, remedy)
    with _named(path, remedy):
        if "config" not in stored:
            raise ValueError("it has no provenance")
        config = json.loads(stored["config"])
        if not isinstance(config, dict):
            raise ValueError("its configuration is none")
        return config


def _attributes(path: Path, remedy: str = _AGAIN) -> dict[str, Any]:
    """What a result file states of itself, before any of its data is read."""
    from signflow import formats

    with _named(path, remedy):
        if path.suffix == ".nc":
            return formats.netcdf_attributes(path)
        if path.suffix == ".csv":
            return dict(formats.csv_attributes(path))
        (verdict, *_) = json.loads(path.read_text("utf-8-sig"))
        return dict(verdict["provenance"])


@contextlib.contextmanager
def _named(path: Path, remedy: str = _AGAIN) -> Iterator[None]:
    """Turn what goes wrong with reading a result file into one line that names it and says what to do."""
    try:
        yield
    except BlockingIOError:
        raise ValueError(
            f"the result file '{path}' is in use: another program holds it open for writing; close it there"
        ) from None
    except PermissionError as error:
        raise ValueError(
            f"the result file '{path}' must be readable, but is not ({error.strerror}); "
            "change its permissions, or name another"
        ) from None
    except Exception as error:  # h5py, h5netcdf, xarray and pandas each raise their own on a damaged file
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot read the result file '{path}' ({reason}); {remedy}") from None
