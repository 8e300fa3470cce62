"""The import rules: data flows one way, and heavy libraries stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A folder may import, within its package, only what stands above it.
ORDER = {
    "signflow": "messages machine waiting provenance interrupt files locks formats workers verdicts "
    "results sections command_line",
    "singleneuron": "kernels problem algorithms parameterization theory formulas flows pruning experiments "
    "verification presets tutorial benchmark cli __main__",
    "deepexp": "config storage distributed models networks pruning data training runs predictions recipes "
    "analysis stored_run benchmark doctor schedule gpu_check cli __main__",
    "figures": "style panels neuron deep kinds plotting report cli __main__",
}
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
    order = ORDER[package].split()
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
def test_no_module_imports_itself_by_way_of_others(package):
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sources(package)}
    needs = {name: {other for other in imports(path) if other in files} for name, path in files.items()}
    while done := {name for name, others in needs.items() if not others & needs.keys()}:
        needs = {name: others for name, others in needs.items() if name not in done}
    assert not needs


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_do_not_reach_into_each_other(package):
    for path in sources(package):
        for name in imports(path):
            top = name.split(".")[0]
            if top in ORDER and top != package:
                assert top == "signflow", f"{path} imports {name}: only signflow is shared"
                assert package != "signflow", f"{path} imports {name}, which is built on signflow"


@pytest.mark.parametrize("package", PACKAGES)
def test_heavy_libraries_stay_in_their_homes(package):
    for path in sources(package):
        place = path.relative_to(ROOT).as_posix()
        for name in imports(path):
            home = HOMES.get(name.split(".")[0])
            assert home is None or place.startswith(home), f"{place} imports {name}, which belongs in {home}"


@pytest.mark.parametrize("command", [name for name in ("singleneuron", "deepexp") if name in PACKAGES])
def test_help_loads_no_heavy_library(command):
    code = (
        f"import sys\nfrom {command}.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*{n.split('.')[0] for n in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = set(done.stderr.split())
    assert "argparse" in loaded
    assert not loaded & {"numba", "sympy", "matplotlib", "scipy", "torch", "xarray"}


def test_a_class_has_one_home():
    homes: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sources(package):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_files_and_folders_stay_small():
    for package in PACKAGES:
        for path in sources(package):
            assert path.read_text(encoding="utf-8").count("\n") <= 300, path
        for folder in {path.parent for path in sources(package)}:
            assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 12, folder
