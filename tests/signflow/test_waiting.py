"""A command that is silent for long says what it waits for."""

import time

import pytest

from signflow import waiting


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setenv("SIGNFLOW_PATIENCE", "0.05")


def _until(capsys, enough):
    """What is printed on stderr until `enough` holds of it."""
    said, began = "", time.monotonic()
    while not enough(said):
        assert time.monotonic() - began < 20
        time.sleep(0.01)
        said += capsys.readouterr().err
    return said.splitlines()


def test_a_silence_is_explained_by_its_reason(capsys):
    with waiting.watch("map"):
        waiting.begin("compiling kernels")
        assert waiting.reason() == "compiling kernels"
        assert _until(capsys, lambda said: said)[0] == "map: compiling kernels"
        waiting.end("compiling kernels")
        assert waiting.reason() == ""
        waiting.end("compiling kernels")  # a second end does no harm


def test_a_silence_without_a_reason_is_explained_by_how_far_it_is(capsys):
    with waiting.watch("map") as watch:
        assert _until(capsys, lambda said: said)[0] == "map: working, 0 s so far"
        watch.report("40% done")
        assert "map: 40% done, 0 s so far" in _until(capsys, lambda said: "40%" in said)


def test_lines_become_rarer(capsys):
    with waiting.watch("map"):
        began = time.monotonic()
        _until(capsys, lambda said: said.count("\n") == 4)
        assert time.monotonic() - began >= 0.05 * (1 + 1 + 2 + 4)


@pytest.mark.parametrize("how", ["quiet", "patient", "heard"])
def test_nothing_is_said_without_need(how, capsys, monkeypatch):
    if how == "patient":
        monkeypatch.setenv("SIGNFLOW_PATIENCE", "60")
    if how == "heard":
        monkeypatch.setenv("SIGNFLOW_PATIENCE", "2")
    with waiting.watch("map", quiet=how == "quiet"):
        for _ in range(20):
            time.sleep(0.01)
            if how == "heard":
                waiting.heard()
    assert capsys.readouterr().err == ""
