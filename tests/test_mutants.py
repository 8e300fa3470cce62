"""The mutations of `make mutants` apply to the code and name tests that exist; survivors are told."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _mutants():
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "tests" / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module
    spec.loader.exec_module(module)
    return module


MUTANTS = _mutants()
TEST = "pruning/test_masks.py::test_a_mask_is_boolean"
ALL = [(trap, mutant) for trap, (_, some) in MUTANTS.TRAPS.items() for mutant in some]


def test_every_trap_has_a_mutation():
    assert list(MUTANTS.TRAPS) == list(range(1, 18))
    assert all(some for _, some in MUTANTS.TRAPS.values())
    assert len({(m.file, m.old, m.new) for _, m in ALL}) == len(ALL)


@pytest.mark.parametrize(("trap", "mutant"), ALL, ids=lambda x: x.what if hasattr(x, "what") else str(x))
def test_every_mutation_applies_once_and_names_tests_that_exist(trap, mutant):
    text = (ROOT / "deepexp" / mutant.file).read_text()
    assert text.count(mutant.old) == 1, f"trap {trap}: {mutant.old!r} must stand once in {mutant.file}"
    compile(text.replace(mutant.old, mutant.new), mutant.file, "exec")
    for test in mutant.tests.split():
        file, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / "tests" / "deepexp" / file).read_text(), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ('"""Masks: which', '"""Masks, which', "SURVIVES"),
        ("what is nowhere", "", "DOES NOT APPLY: its text stands 0 times in deepexp/pruning/masks.py"),
        ("from __future__", "from __past__", "NO VERDICT"),
    ],
)
def test_what_no_test_notices_fails_the_target(old, new, verdict):
    code = (
        "import sys; sys.path.insert(0, 'tests'); import mutants\n"
        f"given = mutants.Mutant('nothing', 'pruning/masks.py', {old!r}, {new!r}, {TEST!r})\n"
        "mutants.TRAPS = {1: ('nothing', (given,))}\n"
        "sys.argv[1:] = ['--workers', '1']; sys.exit(mutants.main())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stderr
    assert verdict in done.stdout
    assert "0 of 1 mutations fail a test" in done.stdout
