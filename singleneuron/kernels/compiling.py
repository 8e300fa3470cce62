"""Compiled kernels: numba functions, cached on disk under a digest of every source they depend on.

numba's own cache watches only the file that contains an entry point, so editing a callee in another file
would leave stale machine code behind. Here, the name of the cache folder contains a digest of the sources. So
an edit to a kernel's module, or to any module of this package that it imports, triggers recompilation.
"""

import ast
import contextlib
import functools
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numba
import numba.core.config
from numba.core.caching import FunctionCache
from numba.core.registry import CPUDispatcher

from signflow import waiting

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


COMPILING = "compiling kernels, once, about 40 s"
"""The message of a command while it waits for kernels that are not in the cache."""


def kernel_digest(module: Path) -> str:
    """Compute a digest of a module and all modules of its package that it imports, directly or indirectly."""
    top = _top_level_package(module)
    sources: dict[Path, bytes] = {}
    pending = [module]
    while pending:
        path = pending.pop()
        if path not in sources:
            sources[path] = path.read_bytes()
            pending += _imported(path, top)
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.relative_to(top).as_posix().encode() + b"\0" + sources[path])
    return digest.hexdigest()[:16]


def _top_level_package(module: Path) -> Path:
    folder = module.parent
    while (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _imported(path: Path, top: Path) -> Iterator[Path]:
    """Yield the files of the package `top` that a module imports, at the top level or within functions.

    A package's `__init__.py` is included only if a name is imported from it. Otherwise, every kernel would
    depend on every module, because `singleneuron/__init__.py` imports everything public.
    """
    package = path.relative_to(top.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_bytes())):
        names: list[tuple[str, ...]] = []
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            for alias in node.names:
                names.append((*base, alias.name) if _file(top, (*base, alias.name)) else base)
        for name in names:
            found = _file(top, name)
            if found is not None:
                yield found


def _file(top: Path, name: Sequence[str]) -> Path | None:
    """Return the file of the module with this dotted name, if it is in the package `top`."""
    if not name or name[0] != top.name:
        return None
    stem = top.joinpath(*name[1:])
    files = (stem.with_name(f"{stem.name}.py"), stem / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@functools.cache
def cache_directory(module: Path) -> Path:
    """Return the cache folder of a module: in NUMBA_CACHE_DIR, in `__pycache__`, or in a temporary folder."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    root = Path(given) / "signflow" if given else module.parent / "__pycache__"
    try:
        root.mkdir(parents=True, exist_ok=True)
        writable = os.access(root, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        root = _private_directory()
    current = root / f"{module.stem}-{kernel_digest(module)}"
    # Delete outdated folders, but not in NUMBA_CACHE_DIR, which other checkouts may share.
    for stale in () if given else root.glob(f"{module.stem}-{'[0-9a-f]' * 16}"):
        if stale != current:
            shutil.rmtree(stale, ignore_errors=True)
    return current


def _private_directory() -> Path:
    """Return a temporary folder that no other user can write to, because numba runs the code in its cache."""
    root = Path(tempfile.gettempdir()) / f"signflow-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = root.stat()
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022):
        return Path(tempfile.mkdtemp(prefix="signflow-"))
    return root


def routine(function: Callable[..., Any]) -> Any:
    """Compile a function that kernels call; it is cached as part of each kernel.

    Parameters
    ----------
    function : callable
        A function that numba can compile.

    Returns
    -------
    numba dispatcher
        The compiled function, which only kernels and routines can call. Division by 0 gives inf or NaN, as
        in numpy.
    """
    return _for_kernels(function)


def template(function: Callable[..., Any]) -> Any:
    """Compile a routine that takes functions as arguments.

    The routine is inlined into its callers, because numba cannot cache code that contains addresses of
    functions.
    """
    return _for_kernels(function, forceinline=True)


class _Routine(CPUDispatcher):
    """A compiled function without a wrapper for Python, so that calling it from Python would crash."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Raise TypeError."""
        name = self.py_func.__name__
        raise TypeError(f"only kernels can call {name}; from Python, call {name}.py_func instead")


def _for_kernels(function: Callable[..., Any], **options: bool) -> Any:
    """Compile a function that only compiled code calls, without its wrappers, to save compile time."""
    _name_closure(function)
    njit: Any = numba.njit  # its type stubs lack two of these options
    made = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)(function)
    made.__class__ = _Routine
    return made


def _name_closure(function: Callable[..., Any]) -> None:
    """Append to the name of a closure a digest of what it captures, such as the routines of one flow.

    numba names compiled code after the function, with a number that counts from 1 in each process. If a
    process loads two functions with the same name from the cache, it uses the first for both. Without the
    digest, two flows would therefore share the `settle` of one of them.
    """
    captured = [cell.cell_contents for cell in function.__closure__ or ()]
    if captured:
        names = [
            f"{value.py_func.__module__}.{value.py_func.__qualname__}"
            if isinstance(value, CPUDispatcher)
            else repr(value)
            for value in captured
        ]
        digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]
        function.__qualname__ = f"{function.__qualname__}_{digest}"


class _Cache(FunctionCache):
    """A robust form of numba's cache: it recompiles damaged entries, and a full disk stops no computation."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load compiled code; warn and return None if it cannot be read."""
        found = self._load(sig, target_context)
        if found is None:  # numba compiles now, and then calls `save_overload`
            waiting.begin(COMPILING)
        return found

    def _load(self, sig: Any, target_context: Any) -> Any:
        try:
            with self._alone():
                return super().load_overload(sig, target_context)
        except Exception as error:  # a damaged pickle may raise any exception
            self._warn("read from", error, "recompiling them")
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save compiled code; warn if it cannot be written."""
        waiting.end(COMPILING)
        try:
            with self._alone():
                super().save_overload(sig, data)
        except Exception as error:
            self._warn("stored in", error, "the next process will recompile them")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock out other processes: if two saved at once, numba would write the code of both to one file."""
        with contextlib.ExitStack() as stack:
            if fcntl is not None:
                os.makedirs(self.cache_path, exist_ok=True)
                file = stack.enter_context(open(os.path.join(self.cache_path, "lock"), "a"))
                with contextlib.suppress(OSError):  # the file system may lack locks
                    fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _warn(self, what: str, error: Exception, outcome: str) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        logging.getLogger(__name__).warning(
            "compiled kernels cannot be %s '%s' (%s); %s", what, self.cache_path, reason, outcome
        )


def kernel(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles an entry point and caches it on disk.

    Parameters
    ----------
    parallel : bool
        Whether to run the loops over `numba.prange` on all threads.

    Returns
    -------
    callable
        A decorator that turns a function into a numba dispatcher, which releases the GIL.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        _name_closure(function)
        # numba reads the cache folder from its configuration once, when the function is decorated.
        config: Any = numba.core.config
        before, config.CACHE_DIR = config.CACHE_DIR, str(cache_directory(Path(function.__code__.co_filename)))
        try:
            dispatcher: Any = numba.njit(error_model="numpy", nogil=True, parallel=parallel)(function)
            dispatcher._cache = _Cache(function)  # `cache=True` would select numba's own cache instead
            return dispatcher
        finally:
            config.CACHE_DIR = before

    return decorate
