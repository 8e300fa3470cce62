"""Every public name has a docstring with examples, and the examples hold."""

import doctest
import inspect
import sys

import pytest

import singleneuron as sn


@pytest.mark.parametrize("name", sn.__all__)
def test_a_public_name_has_examples_that_hold(name: str) -> None:
    public = getattr(sn, name)
    assert inspect.getdoc(public), f"{name} has no docstring"
    tests = doctest.DocTestFinder().find(public, name, module=sys.modules[public.__module__])
    assert any(test.examples for test in tests), f"the docstring of {name} has no doctest example"
    runner, report = doctest.DocTestRunner(), []
    failed = sum(runner.run(test, out=report.append).failed for test in tests)
    assert failed == 0, "".join(report)
