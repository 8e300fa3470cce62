"""A user's own functions, named by import paths such as 'mypkg.nets:build', and the digests of their sources.

The digest is part of a run's identity, so a run with edited code is a different run. It covers the named
module and all modules that this module imports, directly or indirectly, from the same folder on Python's
path. It does not cover installed libraries.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from signflow.messages import nearest, unknown

OR_OWN = ", or an import path such as 'mypkg.mymodule:function'"
_PATTERN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_INSTALLED = {"site-packages", "dist-packages"}
# For each module that this process has imported, the digest that its source had at the time.
_imported: dict[str, str] = {}


def is_own(name: object) -> bool:
    """Return whether a setting is meant as an import path: a string with a colon."""
    return isinstance(name, str) and ":" in name


def check(field: str, name: str, known: Iterable[str], code: str | None) -> None:
    """Check that a setting is a known name without a digest, or an import path with a digest.

    Parameters
    ----------
    field : str
        The key of the setting, for the message.
    name : str
        The value of the setting.
    known : Iterable[str]
        The known names.
    code : str or None
        The digest of the source that an import path names.

    Raises
    ------
    ValueError
        `name` is neither a known name nor an import path, or `code` is missing or not needed.
    """
    if not is_own(name) and name not in known:
        unknown(f"{field} must be", name, known, OR_OWN)
    if is_own(name) != (code is not None):
        raise ValueError(
            f"code must be given if and only if {field} is an import path, got {code!r} with {field} = "
            f"'{name}'; leave it out, since it is computed from the source"
        )


def source_digest(key: str, name: str) -> str:
    """Return the digest of the source that an import path names, without importing it.

    Parameters
    ----------
    key : str
        The dotted key of the setting, for the message.
    name : str
        The import path.

    Returns
    -------
    str
        The first 16 hexadecimal digits of the SHA-256 of the names and contents of all files covered.

    Raises
    ------
    ValueError
        `name` is not an import path, there is no such module, or one of the files is not valid Python.
    """
    if not _PATTERN.fullmatch(name):
        raise ValueError(
            f"{key} must be an import path such as 'mypkg.mymodule:function' if it has a colon, got '{name}'"
        )
    module = name.partition(":")[0]
    home = _home(key, name)
    found, waiting = set[Path](), set(_files(home, module))
    if not waiting:
        raise ValueError(_missing(key, name, f"there is no module '{module}' in '{home}'"))
    # In a folder of installed libraries, only the named package itself is the user's own.
    ours = module.partition(".")[0] if _INSTALLED & set(home.parts) else None
    while waiting:
        path = waiting.pop()
        found.add(path)
        names = _imports(key, name, path, home)
        mine = {one for one in names if ours is None or one.partition(".")[0] == ours}
        waiting |= {file for one in mine for file in _files(home, one)} - found
    digest = hashlib.sha256()
    for path in sorted(found):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(home).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def load(key: str, name: str, code: str | None) -> Callable[..., Any]:
    """Import the function that an import path names.

    Parameters
    ----------
    key : str
        The dotted key of the setting, for the message.
    name : str
        The import path.
    code : str
        The digest that the source must have.

    Returns
    -------
    Callable

    Raises
    ------
    ValueError
        The source has a different digest, importing it fails, or it has no such function.
    """
    module, _, function = name.partition(":")
    # A process keeps the source that it has imported, even if the file changes.
    found = _imported.get(module) or source_digest(key, name)
    if found != code:
        raise ValueError(
            f"the source of {key} = '{name}' must have the digest {code}, as when the run was configured, "
            f"but {'this process imported it with' if module in _imported else 'now it has'} the digest "
            f"{found}; restore the source and start a new process, or configure a new run"
        )
    try:
        home = importlib.import_module(module)
    except Exception as error:  # whatever the user's code raises
        raise ValueError(_missing(key, name, f"{type(error).__name__}: {_line(error)}")) from error
    _imported[module] = found
    made = getattr(home, function, None)
    if not callable(made):
        near = nearest(function, (one for one in vars(home) if callable(getattr(home, one))))
        raise ValueError(_missing(key, name, f"'{module}' has no function '{function}'{near}"))
    return made


def call(key: str, name: str, code: str | None, *given: Any, **named: Any) -> Any:
    """Call the function that an import path names; raise ValueError with one line if the call fails."""
    function = load(key, name, code)
    try:
        return function(*given, **named)
    except Exception as error:  # whatever the user's code raises
        raise ValueError(
            f"{key} = '{name}' must not fail when it is called, but it raised {type(error).__name__}: "
            f"{_line(error)}"
        ) from error


def _home(key: str, name: str) -> Path:
    """Return the folder on Python's path that holds the module of an import path.

    Python does not search the current folder when it runs an installed command, so the folder is appended to
    the path. It comes last, so that no file in it hides a library.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()
    top = name.partition(":")[0].partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    places = list(spec.submodule_search_locations or ()) if spec else []
    if spec is None or not (places or spec.has_location):
        raise ValueError(_missing(key, name, f"there is no module '{top}' in '{here}' or on Python's path"))
    return Path(places[0] if places else str(spec.origin)).resolve().parent


def _files(home: Path, module: str) -> list[Path]:
    """Return the file of a module below `home` and the __init__.py files of its packages; [] if missing."""
    *packages, last = module.split(".")
    folder = home.joinpath(*packages)
    own = [path for path in (folder / f"{last}.py", folder / last / "__init__.py") if path.is_file()]
    above = [home.joinpath(*packages[:depth], "__init__.py") for depth in range(1, len(packages) + 1)]
    return [*own, *(path for path in above if path.is_file())] if own else []


def _imports(key: str, name: str, path: Path, home: Path) -> Iterator[str]:
    """Yield the name of every module that a file may import, by any form of import, even in functions."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ValueError(_missing(key, name, f"'{path}' is not valid Python ({_line(error)})")) from None
    package = path.relative_to(home).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from filter(None, [base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)])


def _missing(key: str, name: str, why: str) -> str:
    return f"{key} must name a function that can be imported, got '{name}', but {why}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
