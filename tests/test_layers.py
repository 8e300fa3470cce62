"""The import rules: data flows one way, and heavy libraries stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A module may import, within its package, only what stands above it.
ORDER = {
    "singleneuron": (
        *("kernel", "executors", "model", "outcome", "exact", "regions", "solver", "lanes", "line"),
        *("population", "drift"),
        *("vectors", "bernstein", "cells", "sliding", "watch", "events", "apex", "limits", "samples"),
        *("descent", "flow", "pruning", "maps", "intervals", "rates", "chunks", "runs"),
        *("montecarlo", "theory", "conditions", "independent", "comparisons", "statements", "draws"),
        *("boundaries", "sampled"),
        *("trials", "verify", "presets", "tutorial", "peers", "bench", "cli", "__main__"),
    ),
    "deepexp": (
        *("protocols", "config", "processes", "sources", "decode", "imagefolder", "augment", "data"),
        *(
            "models",
            "tensors",
            "masks",
            "scores",
            "signs",
            "policy",
            "checkpoint",
            "train",
            "locks",
            "folder",
        ),
        *(
            "prepare",
            "stack",
            "levels",
            "export",
            "intervals",
            "published",
            "predictions",
            "plan",
            "analysis",
        ),
        *("recipes", "bench", "costs", "gpu_check", "jobs", "doctor", "cli", "__main__"),
    ),
    "figures": (
        *(
            "machine",
            "formats",
            "messages",
            "results",
            "lock",
            "interrupt",
            "command",
            "style",
            "panels",
            "toy",
            "samples",
            "studies",
            "curves",
            "deep",
            "formulas",
            "report",
            "cli",
            "__main__",
        ),
    ),
}
SHARED = (
    "figures.results",
    "figures.interrupt",
    "figures.messages",
    "figures.command",
    "figures.machine",
    "figures.lock",
)  # with the packages that compute
PACKAGES = tuple(name for name in ORDER if any((ROOT / name).glob("*.py")))
HOMES = {"sympy": "singleneuron/theory/", "matplotlib": "figures/", "torch": "deepexp/"}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> list[str]:
    """Dotted names of everything `path` imports, anywhere in it; `from a import b` counts as a and a.b."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} line {node.lineno}: a relative import"
            names += [node.module or ""] + [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def module_of(path: Path, package: str) -> str:
    return path.relative_to(ROOT / package).parts[0].removesuffix(".py")


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_import_only_what_stands_above_them(package):
    order = ORDER[package]
    for path in sources(package):
        here = module_of(path, package)
        if here == "__init__":
            continue
        assert here in order, f"{path} has no place in the order of {package}"
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == package and len(parts) > 1 and parts[1] in order and parts[1] != here:
                assert order.index(parts[1]) < order.index(here), (
                    f"{path} imports {name}, which stands below it"
                )


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_do_not_reach_into_each_other(package):
    for path in sources(package):
        for name in imports(path):
            top = name.split(".")[0]
            if top in ORDER and top != package:
                assert name == "figures" or name.startswith(SHARED), f"{path} imports {name}: not shared"
                assert package != "figures", f"{path} imports {name}: figures reads files only"


@pytest.mark.parametrize("package", PACKAGES)
def test_heavy_libraries_stay_in_their_homes(package):
    for path in sources(package):
        place = path.relative_to(ROOT).as_posix()
        for name in imports(path):
            home = HOMES.get(name.split(".")[0])
            assert home is None or place.startswith(home), f"{place} imports {name}, which belongs in {home}"
            assert not (name.startswith("matplotlib") and place == "figures/results.py")


@pytest.mark.parametrize("command", [name for name in ("singleneuron", "deepexp") if name in PACKAGES])
def test_help_loads_no_heavy_library(command):
    code = (
        f"import sys\nfrom {command}.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*{n.split('.')[0] for n in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = set(done.stderr.split())
    assert "argparse" in loaded
    assert not loaded & {"numba", "sympy", "matplotlib", "scipy", "torch", "xarray"}
