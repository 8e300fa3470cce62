"""Statements: the shipped ones cite what exists; a user's file states one claim or is refused in one line."""

import pytest
from pydantic import ValidationError

from singleneuron import algorithms, presets
from singleneuron.theory import derivations
from singleneuron.verification import shipped as verification_shipped
from singleneuron.verification import statements
from singleneuron.verification.statements import Claim, Conjecture, Setting

GOOD = 'algorithm = "imp"\nrate = 0.25\n'


def test_shipped_statements_cite_what_exists():
    shipped = verification_shipped.shipped()
    assert len({statement.id for statement in shipped}) == len(shipped)
    known, figures = derivations(), presets.names()
    for statement in shipped:
        assert statement.derivations
        assert set(statement.derivations) <= known.keys()
        assert statement.comparisons
        assert statement.figure is None or statement.figure in figures


def test_shipped_statements_cover_every_theorem_and_algorithm():
    shipped = verification_shipped.shipped()
    assert {"theorem-2.1", "lemma-2.2", "theorem-2.3", "theorem-A.1"} <= {s.id for s in shipped}
    claims = [claim for s in shipped for e in s.experiments for claim in e.claims]
    assert {claim.algorithm for claim in claims} == set(algorithms.ALGORITHMS)
    assert {claim.imp for claim in claims} == set(algorithms.IMP_VARIANTS)
    assert all(claim.success for claim in claims)


def test_a_file_states_one_claim(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'statement = "mine"\nalgorithm = "wr"\nrewind_time = 1\nd = 7\nsuccess = "a0 > 0"\ngiven = "w1 > 0"\n'
    )
    statement = statements.read(path)
    (experiment,) = statement.experiments
    assert (statement.id, statement.text) == ("mine", "mine")
    assert experiment.setting == Setting(d=7, given="w1 > 0")
    assert experiment.claims == (Claim(algorithm="wr", rewind_time=1.0, success="a0 > 0"),)


@pytest.mark.parametrize("change", [lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b"\n", b"\r\n")])
def test_a_file_of_another_editor_is_read(change, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(change(GOOD.encode()))
    assert statements.read(path).experiments[0].claims == (Claim(algorithm="imp", rate=0.25),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "algorithm"),
        ('algorithm = "imp"\n', "success"),
        ('algorithm = "snip"\nrate = 0.5\n', "algorithm"),
        ('algorithm = "wr"\nrate = 0.5\n', "rewind_time"),
        (GOOD + "colour = 1\n", "colour"),
        (GOOD + "inti = 'balanced'\n", r"unknown key 'inti'; did you mean 'init'\?$"),
        (GOOD + "sucess = 'a0 > 0'\n", r"did you mean 'success'\?"),
        (GOOD + "given = 'a0 > 1/0'\n", "given: '1 / 0' must be a finite number"),
        (GOOD.encode("utf-16"), "mine.toml': .*; save it as UTF-8$"),
        (GOOD + "d = 0\n", "d:"),
        (GOOD + "d = true\n", "d:"),
        (GOOD + 'd = "2"\n', "d:"),
        (GOOD + "d = 3\ntargets = 4\n", "targets"),
        (GOOD + "d = 2000\ntargets = 2\n", "targets"),
        (GOOD + "noise = 0.1\n", "noise"),
        (GOOD + "n = 50\ntargets = 2\n", "targets must be 1 if n is set"),
        (GOOD + "n = 10000000\n", "n d must be"),
        (GOOD + 'n = 50\ngiven = "found > 0"\n', "found"),
        (GOOD + 'success = "found > 0"\n', "found"),
        (GOOD + "rewind_time = 3\n", "rewind_time"),
        ('algorithm = "lrr"\nrate = 0.5\nrewind_time = 3\n', "rewind_time"),
        ('algorithm = "lrr"\nrate = 0.5\nimp = "rebalance"\n', "imp"),
        ('algorithm = "lrr"\nrate = 0.5\nimp = "keep"\n', "imp"),
        (GOOD + "scale = nan\n", "scale"),
        (GOOD + 'given = "a0"\n', "given"),
        (GOOD + "success = \"__import__('os')\"\n", "success"),
        ('algorithm = "imp"\nrate = 1.5\n', "rate"),
        ('algorithm = "imp"\nrate = nan\n', "rate"),
        ("algorithm = \n", "line 1"),
        ("a = " + "[" * 5000, "cannot read"),
        (GOOD + "#" * 70_000, "bytes"),
        (GOOD.encode() + b"\xff", "cannot read"),
        (None, "not a file"),
    ],
)
def test_bad_files_are_refused_in_one_line(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as refusal:
        statements.read(path)
    assert "\n" not in str(refusal.value)


def test_statements_are_frozen():
    conjecture = Conjecture(algorithm="imp", rate=0.25)
    with pytest.raises(ValidationError):
        conjecture.rate = 0.5
