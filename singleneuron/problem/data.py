"""Read your own samples from a file, and describe the data of a problem in the configuration of a result."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from signflow.files import read_text
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Population, Problem, Sample
from singleneuron.problem.target import target_vector

FORMATS = (".npz", ".csv")
"""The file name extensions that `read_sample` accepts."""


def read_sample(path: str | Path) -> Sample:
    r"""Read samples from a file.

    Parameters
    ----------
    path : str or Path
        An .npz file that holds the arrays x (n, d) and y (n,), or a .csv file whose first line is x1,...,xd,y
        and whose other lines are the samples.

    Returns
    -------
    Sample
        The samples. Their `provenance` holds the SHA-256 digest of the file, `file_sha256`.

    Raises
    ------
    ValueError
        If the file cannot be read, or does not hold such samples; the one-line message names the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import singleneuron as sn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "samples.csv")
    ...     _ = file.write_text("x1,x2,y\n1.0,0.0,1.0\n0.5,2.0,0.5\n-1.0,1.0,0.0\n")
    ...     data = sn.read_sample(file)
    >>> data.x.tolist(), data.y.tolist()
    ([[1.0, 0.0], [0.5, 2.0], [-1.0, 1.0]], [1.0, 0.5, 0.0])
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"a file of samples must end in {' or '.join(FORMATS)}, got '{path}'")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"'{path}' must be a readable file of samples, but is not ({error.strerror}); choose another"
        ) from None
    x, y = _from_arrays(path, content) if path.suffix == ".npz" else _from_table(path)
    try:
        return Sample(x, y, provenance={"file_sha256": hashlib.sha256(content).hexdigest()})
    except ValueError as error:
        raise ValueError(f"'{path}' does not hold samples: {error}") from None


def _from_arrays(path: Path, content: bytes) -> tuple[Any, Any]:
    """Return the arrays x and y of an .npz file with the given `content`."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if missing := {"x", "y"} - set(arrays.files):
                raise ValueError(
                    f"it must hold the arrays x and y, but has no {' and no '.join(sorted(missing))}"
                )
            return arrays["x"], arrays["y"]
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"cannot read samples from '{path}' ({error}); write it with numpy.savez(file, x=x, y=y)"
        ) from None


def _from_table(path: Path) -> tuple[Array, Array]:
    """Return the inputs and the labels of a .csv file."""
    header, *rows = read_text(path).splitlines() or [""]
    names = [name.strip() for name in header.split(",")]
    wanted = [*(f"x{i}" for i in range(1, len(names))), "y"]
    if names != wanted or len(names) < 2:
        raise ValueError(f"the first line of '{path}' must be x1,...,xd,y, but is '{header[:60]}'")
    table = []
    for line, row in enumerate(rows, start=2):
        if not row.strip():
            continue
        try:
            values = [float(field) for field in row.split(",")]
        except ValueError:
            values = []
        if len(values) != len(names):
            raise ValueError(f"line {line} of '{path}' must hold {len(names)} numbers, but is '{row[:60]}'")
        table.append(values)
    if not table:
        raise ValueError(f"'{path}' must hold at least one sample below its first line, but holds none")
    found = np.array(table)
    return found[:, :-1], found[:, -1]


def identity(problem: Problem) -> dict[str, Any]:
    """Describe a problem for the configuration of a result; different data give different descriptions.

    Parameters
    ----------
    problem : Population or Sample
        The problem.

    Returns
    -------
    dict
        The kind of problem, its sizes, and v if it is not the default. For samples, also `arrays_sha256`,
        the digest of x and y. If they were read from a file, also `file_sha256`, the digest of the file.
    """
    found: dict[str, Any] = {"kind": type(problem).__name__, "d": problem.d, "targets": problem.targets}
    if isinstance(problem, Population):
        return found | ({} if problem.entries is None else {"v": list(problem.entries)})
    if not np.array_equal(problem.v, target_vector(problem.d, problem.targets)):
        found["v"] = problem.v.tolist()
    digest = hashlib.sha256(problem.x.tobytes() + problem.y.tobytes()).hexdigest()
    file = problem.provenance.get("file_sha256")
    found |= {"n": problem.n, "arrays_sha256": digest}
    return found if file is None else found | {"file_sha256": file}
