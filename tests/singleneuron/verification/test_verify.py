"""Verdicts: what is true is verified, what is planted is refuted, by a start, doubts are told."""

import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

import singleneuron as sn
from signflow.verdicts import Count, Derivation, Evidence, Law, Verdict
from signflow.workers import Here
from singleneuron.cli import main
from singleneuron.problem.line import Line
from singleneuron.problem.status import Status
from singleneuron.verification import (
    conditions,
    law_starts,
    laws,
    reference_solver,
    shipped,
    time_laws,
    verify,
)
from singleneuron.verification.runs import batches, boundaries, plan, repeat, sampled
from singleneuron.verification.runs import sweeps as trials
from singleneuron.verification.statements import Claim, Experiment, Setting, Statement


def state(setting, *claims, nested=False, **more):
    return Statement("test", "a test", (), (), (Experiment(setting, claims, nested),), **more)


def verdict_on(setting, *claims, runs=2000, **more):
    (result,) = verify.verify([state(setting, *claims, **more)], runs=runs, seed=1)
    assert result.evidence.symbolic == []
    assert verify.Verdict.model_validate_json(result.model_dump_json(exclude_unset=True)) == result
    return result


SMALL = Setting(d=10)
TRUE_ONES = [
    (Setting(d=1), Claim(algorithm="lrr", success="a0 > 0 and w1 > 0", rate=0.25)),
    (Setting(d=1, init="independent"), Claim(algorithm="imp", success="w1 > 0 and a0 > -w1", rate=0.375)),
    (SMALL, Claim(algorithm="imp", success="a0 > 0 and w1 > 0", rate=0.25)),
    (SMALL, Claim(algorithm="lrr", success="a0 > 0", rate=0.5)),
    (SMALL, Claim(algorithm="wr", rewind_time=0.5, success="a0 > 0 and theta < flip_angle(0.5)")),
    (Setting(d=10**6), Claim(algorithm="lrr", success="a0 > 0", rate=0.5)),
    (Setting(d=3, targets=2), Claim(algorithm="imp", success="a0 > 0", rate=0.5)),
    (Setting(d=1, init="independent", n=3, noise=2.0, given="s_pos > 0.1"),
     Claim(algorithm="lrr", success="a0 > -w1 and (w1 > 0 or (w1 < 0 and s_neg > 0))")),
    (Setting(d=4, n=200, noise=0.3),
     Claim(algorithm="imp", imp="rebalance", success="a0 > 0 and w1 > 0", rate=0.25)),
    (Setting(d=10, given="theta < 1"), Claim(algorithm="imp", success="a0 > 0", rate=0.5)),
]  # fmt: skip


@pytest.mark.parametrize(("setting", "claim"), TRUE_ONES)
def test_true_statements_are_not_refuted_and_verified_only_where_they_are_derived(setting, claim):
    runs = 60 if setting.sampled else 2000
    result = verdict_on(setting, claim, runs=max(runs, 100))
    assert result.verdict.startswith("NOT REFUTED (no derivation; ")
    assert result.counterexample is None
    (count,) = result.evidence.monte_carlo
    assert count.starts >= runs
    if claim.success is not None:
        assert count.counterexamples == 0
        assert count.interval[0] == 0
        assert count.near_boundary > 0


def test_a_derivation_and_runs_verify():
    claim = Claim(algorithm="lrr", success="a0 > 0 and w1 > 0", rate=0.25)
    statement = Statement("test", "", ("Riccati equations",), (), (Experiment(Setting(d=1), (claim,)),))
    (result,) = verify.verify([statement], runs=2000)
    assert result.verdict == "VERIFIED"


def test_what_would_have_been_revealed_stands_beside_a_statement_that_is_not_refuted():
    claim = Claim(algorithm="imp", success="w1 > 0 and a0 > -w1", rate=0.375)
    result = verdict_on(Setting(d=1, init="independent"), claim, runs=20_000)
    (count,) = result.evidence.monte_carlo
    assert count.shift < 1e-5
    low, high = count.rate.interval
    assert result.verdict == (
        f"NOT REFUTED (no derivation; {count.starts:,} starts would have revealed a region off by a "
        f"probability of {count.interval[1]:.1e} and a boundary off by {count.shift:.1e}, "
        f"with the rate in [{low:.5f}, {high:.5f}])"
    )


PLANE = Setting(d=2, init="independent")
WEDGE = Setting(d=1, init="independent", n=100, noise=0.5)
PLANTED = [
    (SMALL, Claim(algorithm="lrr", success="a0 > 0 and not theta > 2.9")),
    (PLANE, Claim(algorithm="imp", success="w1 > 0 and a0 > -w1 and not w1 > 5")),
    (PLANE, Claim(algorithm="lrr", success="a0 > -rho + 1e-3")),
    (PLANE, Claim(algorithm="lrr", success="a0 > -rho + 1e-5")),
    (PLANE, Claim(algorithm="lrr", success="a0 > -rho - 1e-5")),
    (PLANE, Claim(algorithm="imp", success="w1 > 0 and a0 > -w1 - 1e-5")),
    (SMALL, Claim(algorithm="lrr", success="a0 > 1e-5")),
    (SMALL, Claim(algorithm="imp", success="a0 > 0 and w1 > 1e-5")),
    (SMALL, Claim(algorithm="wr", rewind_time=0.5, success="a0 > 0 and theta < flip_angle(0.5) + 1e-5")),
    (Setting(d=1, init="independent"), Claim(algorithm="lrr", success="w1 > 0 and a0 > -w1 + 1e-5")),
    (Setting(d=1), Claim(algorithm="lrr", success="a0 > 0 and w1 > 0 and not abs(w1 - 0.5) < 1e-5")),
    (Setting(d=1), Claim(algorithm="lrr", success="a0 > 0 and w1 > 0 and w1 != 0.5")),
    (Setting(d=4, targets=2, init="independent"), Claim(algorithm="imp", success="a0 > -kept + 1e-5")),
    (WEDGE, Claim(algorithm="lrr", success="a0 > -w1 and (w1 > 0 or w1 < 0 and s_neg > 1e-5)")),
]


@pytest.mark.parametrize(("setting", "claim"), PLANTED, ids=lambda value: getattr(value, "success", ""))
def test_a_falsehood_where_the_law_hardly_goes_is_refuted(setting, claim):
    assert verdict_on(setting, claim, runs=4000).verdict == "REFUTED"


def test_a_rate_slightly_wrong_is_never_verified_and_its_interval_is_told():
    for claim in (Claim(algorithm="lrr", rate=0.503), Claim(algorithm="imp", rate=0.2515)):
        assert "with the rate in [0." in verdict_on(SMALL, claim).verdict


def test_samples_train_their_dense_level_and_its_mask():
    everywhere = Claim(algorithm="imp", success="a0 > 0 and (w1 > 0 or w1 < 0 and s_neg > 0)")
    found = verdict_on(Setting(d=10, n=40, noise=2.0), everywhere, runs=100).counterexample
    assert found.start["found"] == 0
    assert found.start["data_seed"] >= 0


@pytest.mark.slow
def test_three_eighths_under_noise_of_20_is_refuted():
    noisy = Claim(algorithm="imp", rate=0.375)
    result = verdict_on(Setting(d=10, n=1000, noise=20.0), noisy, runs=150)
    assert result.verdict == "REFUTED"
    assert result.counterexample.agree >= 15


def test_runs_on_samples_are_those_of_prune():
    setting = Setting(d=3, n=30, noise=0.5)
    batch = batches.draw(setting, 5, np.random.default_rng(0))
    for algorithm, more in (("imp", {}), ("lrr", {}), ("wr", {"rewind_time": 1.0})):
        claim = Claim(algorithm=algorithm, rate=0.5, **more)
        (status,), found = sampled.train(setting, (claim,), batch, 1e-8, Here())
        for i, seed in enumerate(batch.seeds):
            problem = sn.Sample.draw(3, 30, 0.5, int(seed))
            run = sn.prune(problem, batch.starts[i : i + 1], algorithm=algorithm, **more)
            assert (status[i], found[i]) == (run.status[0], run.mask[0, 0])
            assert batch.data.s_neg[i] == problem.statistics.s_neg[0]
            again, has_target = repeat.repeat(setting, claim, batches.part(batch, slice(i, i + 1)))
            assert np.isnan(again) or (again, has_target) == (run.success[0], run.mask[0, 0])


def test_starts_where_the_region_is_undefined_are_counted_and_speak_for_nothing():
    claim = Claim(algorithm="lrr", success="w1 > 0 and log(a0) > -1000")
    result = verdict_on(Setting(d=1), claim)
    (count,) = result.evidence.monte_carlo
    assert count.counterexamples == 0
    assert count.undefined > 400  # where w1 > 0 > a0


REGIONS = [
    (Setting(d=2, init="independent"), Claim(algorithm="lrr", success="a0 > 0")),
    (Setting(d=1), Claim(algorithm="lrr", success="w1 > 0")),
    (Setting(d=1, init="independent"), Claim(algorithm="lrr", success="w1 > 0 and a0 > -1.01*w1")),
    (SMALL, Claim(algorithm="imp", success="a0 > 0")),
    (SMALL, Claim(algorithm="lrr", success="a0 > 0 and w1 > 0")),
    (SMALL, Claim(algorithm="wr", rewind_time=0.5, success="a0 > 0 and theta < flip_angle(0.55)")),
    (Setting(d=4, targets=2), Claim(algorithm="imp", success="a0 > 0 and w1 > 0")),
    (
        Setting(d=1, init="independent", n=50, noise=0.5),
        Claim(algorithm="lrr", success="w1 > 0 and a0 > -w1"),
    ),
]


@pytest.mark.parametrize(("setting", "claim"), REGIONS)
def test_wrong_regions_are_refuted_by_a_start(setting, claim):
    result = verdict_on(setting, claim)
    assert result.verdict == "REFUTED"
    found = result.counterexample
    start = {name: np.array([value]) for name, value in found.start.items() if name != "w"}
    stated = bool(conditions.parse(claim.success)(start)[0])
    assert found.stated == ("succeeds" if stated else "fails")
    assert found.independent == ("fails" if stated else "succeeds")


@pytest.mark.parametrize(
    "region",
    [
        # Each wrong with probability 1e-3: inside the region, in its complement, along its boundary.
        f"a0 > 0 and w1 > 0 and not (0.5 < w1 < {0.5 + 2e-3 / stats.norm.pdf(0.5)})",
        f"(a0 > 0 and w1 > 0) or (a0 > 0 and -{0.5 + 2e-3 / stats.norm.pdf(0.5)} < w1 < -0.5)",
        f"a0 > 0 and w1 > -{2e-3 / stats.norm.pdf(0)}",
        f"a0 > 0 and w1 > {2e-3 / stats.norm.pdf(0)}",
    ],
)
def test_a_sliver_of_measure_a_thousandth_is_found(region):
    result = verdict_on(Setting(d=1), Claim(algorithm="lrr", success=region), runs=20_000)
    assert result.verdict == "REFUTED"
    assert result.evidence.monte_carlo[0].counterexamples < 3000


@pytest.mark.parametrize(
    ("setting", "claim"),
    [
        (SMALL, Claim(algorithm="imp", rate=0.5)),
        (Setting(d=1, init="independent"), Claim(algorithm="lrr", rate=0.25)),
    ],
)
def test_wrong_rates_are_refuted_with_counts_interval_and_repeated_runs(setting, claim):
    found = verdict_on(setting, claim).counterexample
    assert found.rate == claim.rate
    low, high = found.interval
    beta = stats.beta.ppf(
        [0.00005, 0.99995],
        [found.successes, found.successes + 1],
        [found.decided - found.successes + 1, found.decided - found.successes],
    )
    np.testing.assert_allclose([low, high], beta, rtol=1e-9)
    assert not low <= claim.rate <= high
    assert found.repeated == 20
    assert found.agree >= 18  # the others are still open for the independent solver


def test_what_the_independent_solver_denies_is_no_refutation(monkeypatch):
    monkeypatch.setattr(reference_solver, "line_outcome", lambda *_, **__: 0.5)
    for claim in (Claim(algorithm="lrr", success="w1 > 0"), Claim(algorithm="lrr", rate=0.5)):
        result = verdict_on(Setting(d=1), claim)
        assert result.verdict.startswith("UNDECIDED (")
        assert result.counterexample is None


BROKEN = Law(
    law="law", starts=10, error=500.0, unit="tolerances", limit=100.0, beyond=3, worst={"a0": 1.0},
    confirmed=True,
)  # fmt: skip


def test_broken_nesting_unproved_and_unconfirmed_laws_and_open_runs_are_told(monkeypatch):
    imp, lrr = (
        Claim(algorithm=name, success=s) for name, s in (("imp", "a0 > 0 and w1 > 0"), ("lrr", "a0 > 0"))
    )
    assert verdict_on(SMALL, imp, lrr, nested=True).verdict.startswith("NOT REFUTED (")
    assert "under one algorithm" in verdict_on(SMALL, lrr, imp, nested=True).verdict

    law = BROKEN.model_copy(update={"confirmed": False})
    doubtful = Statement("test", "a test", (), (lambda runs, seed: law,))
    assert "not confirmed" in verify.verify([doubtful], runs=100)[0].verdict
    law = BROKEN.model_copy(update={"confirmed": True})
    (result,) = verify.verify([Statement("test", "a test", (), (lambda runs, seed: law,))], runs=100)
    assert result.verdict == "REFUTED"
    assert result.counterexample.start == {"a0": 1.0}

    right = trials._run

    def lose(*arguments):
        (status,) = right(*arguments)
        status[::500] = Status.UNDECIDED
        status[1::500] = Status.FAILED
        return [status]

    monkeypatch.setattr(trials, "_run", lose)
    statement = Statement("test", "", ("Riccati equations",), (), (Experiment(SMALL, (lrr,)),))
    (result,) = verify.verify([statement], runs=2000)
    assert result.verdict == "UNDECIDED (8 runs of lrr are undecided)"
    (count,) = result.evidence.monte_carlo
    assert [start["status"] for start in count.undecided_starts].count("failed") >= 4
    # Undecided runs widen the interval of a rate: they may all fail, or all succeed.
    rate = verdict_on(SMALL, Claim(algorithm="lrr", rate=0.5)).evidence.monte_carlo[0].rate
    low, high = stats.beta.ppf([5e-5, 1 - 5e-5], [rate.successes, rate.successes + 9],
                               [2001 - rate.successes, 1992 - rate.successes])  # fmt: skip
    assert rate.undecided == 8
    np.testing.assert_allclose(rate.interval, [low, high], rtol=1e-9)
    monkeypatch.setattr(
        trials, "_run", lambda *arguments: [np.full_like(s, Status.FAILED) for s in right(*arguments)]
    )
    assert verdict_on(SMALL, lrr).verdict.startswith(("UNDECIDED", "NOT RUN"))
    nothing = verify.verify([Statement("test", "", ("Riccati equations",))])[0].verdict
    assert nothing == "NOT RUN (there is nothing to run)"


def test_symbolic_evidence_is_the_derivations_own():
    statement = Statement("test", "a test", ("Riccati equations", "The line w = 0"))
    (result,) = verify.verify([statement], runs=100)
    evidence = result.evidence.symbolic
    assert [item.derivation for item in evidence] == list(statement.derivations)
    assert all(item.proved and item.residuals for item in evidence)
    assert evidence[0].residuals == ["0", "0"]


def test_the_same_seed_gives_the_same_verdict_and_another_other_starts():
    one, two, other = (
        verify.verify([state(SMALL, Claim(algorithm="lrr", success="w1 > 0"))], runs=500, seed=seed)[0]
        for seed in (3, 3, 4)
    )
    assert one == two
    assert one.counterexample.start != other.counterexample.start


@pytest.mark.parametrize(
    "setting",
    [
        Setting(d=5), Setting(d=5, targets=2), Setting(d=3, targets=3), Setting(d=5, init="independent"),
        Setting(d=1), Setting(d=5, n=20, noise=0.5), Setting(d=1, n=20, noise=0.5, init="independent"),
    ],
    ids=lambda setting: setting.label,
)  # fmt: skip
def test_starts_near_a_boundary_lie_on_both_sides_of_it_at_every_distance(setting):
    region, given = conditions.parse("a0 > 0 and w1 > 0.2"), conditions.parse("True")
    parts = list(boundaries.near(setting, given, region, 900, [0]))
    for near in parts:
        values = batches.values_of(setting, near.batch)
        if setting.init == "balanced":
            np.testing.assert_allclose(np.abs(values["a0"]), values["rho"], rtol=1e-14)
            assert np.all(values["c"] == 0)
    faces, distances, inside = (np.concatenate(found) for found in zip(
        *((near.face, near.distance, region(batches.values_of(setting, near.batch))) for near in parts),
        strict=True,
    ))  # fmt: skip
    for face in (2, 3):  # below and above the second comparison
        here = faces == face
        assert here.sum() > 50
        assert distances[here].min() < 1e-5
        assert distances[here].max() > 1e-2
    assert 0.1 < inside[(faces == 2) | (faces == 3)].mean() < 0.9
    assert np.any(faces == boundaries.ELSEWHERE)


def test_statistics_have_the_law_of_real_samples():
    n, noise, size = 7, 0.5, 4000
    drawn = batches._statistics(n, noise, size, np.random.default_rng(1))
    samples = [sn.Sample.draw(d=1, n=n, noise=noise, seed=seed).statistics for seed in range(size)]
    for name in Line._fields:
        real = np.array([getattr(line, name)[0] for line in samples])
        assert stats.ks_2samp(getattr(drawn, name), real).pvalue > 1e-4, name


def test_given_that_never_holds_is_refused():
    with pytest.raises(ValueError, match="given"):
        verify.verify([state(Setting(d=2, given="a0 > 100"), Claim(algorithm="lrr", rate=0.5))], runs=100)


@pytest.mark.parametrize("runs", [0, -5, 99, True])
def test_too_few_runs_are_refused(runs):
    with pytest.raises(ValueError, match="runs must be"):
        verify.verify([], runs=runs)


def test_command_writes_verdicts_and_says_by_its_code(tmp_path, capsys):
    for name, text, code in (
        ("right", 'algorithm = "imp"\nd = 4\nsuccess = "a0 > 0 and w1 > 0"\nrate = 0.25\n', 0),
        ("wrong", 'algorithm = "imp"\nd = 4\nrate = 0.5\n', 1),
    ):
        path, out = tmp_path / f"{name}.toml", tmp_path / f"{name}.json"
        path.write_text(text)
        command = ["verify", "--statement", str(path), "--runs", "1000", "--seed", "2", "--out", str(out)]
        assert main.main(command) == code
        streams = capsys.readouterr()
        assert streams.err == ""
        (result,) = json.loads(out.read_text())
        assert set(result) == {"id", "statement", "verdict", "evidence", "counterexample", "provenance"}
        assert result["provenance"]["seed"] == 2
        assert json.loads(result["provenance"]["config"])["runs"] == 1000
        assert set(result["evidence"]) == {"symbolic", "exact_vs_ode", "monte_carlo", "figure"}
        assert result["verdict"].startswith(("NOT REFUTED (", "REFUTED")[code])
        assert result["verdict"][:7].strip() in streams.out
        said, *_, where, hint = streams.out.splitlines()
        word = "REFUTED" if code else "NOT REFUTED"
        assert re.fullmatch(rf"{name} {word} {'1.0' if code else '1.2'} k starts, \d+ s", said)
        assert f"1 statement: 1 {word}" in streams.out
        assert (where, hint) == (str(out), f"read it as a page: figures report --verdicts {out}")
        assert "┃" not in streams.out  # no table of the evidence


def test_a_verdict_is_told_as_soon_as_it_is_decided():
    claims = [Claim(algorithm=name, rate=rate) for name, rate in (("imp", 0.25), ("lrr", 0.5))]
    statements = [
        Statement(claim.algorithm, "", experiments=(Experiment(Setting(d=d), (claim,)),))
        for d, claim in enumerate(claims, 3)
    ]
    seen = []
    told = verify.verdicts(statements, runs=1000, progress=lambda done, _: seen.append(done))
    assert next(told).id == "imp"
    assert max(seen) == 1000  # the runs of the other statement have not begun
    assert [verdict.id for verdict in told] == ["lrr"]
    assert max(seen) == 2000


@pytest.mark.parametrize(
    ("starts", "text"), [(100, "100"), (1250, "1.2 k"), (20_000, "20 k"), (3_340_000, "3.3 M")]
)
def test_a_line_sums_up_a_verdict(starts, text):
    count = Count(starts=starts, decided=starts, undecided=0)
    proof = Derivation(derivation="one", shows="", proved=True, residuals=["0", "0"])
    evidence = Evidence(symbolic=[proof], exact_vs_ode=[], monte_carlo=[count], figure=None)
    verdict = Verdict(id="mine", statement="", verdict="VERIFIED", evidence=evidence, counterexample=None)
    assert verify.brief(verdict, 12.3) == f"mine VERIFIED 2 claims, {text} starts, 12 s"


def test_details_are_printed_on_request(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text('algorithm = "imp"\nd = 4\nrate = 0.25\n')
    line = ["verify", "--statement", str(path), "--runs", "100", "--out", str(tmp_path / "v.json")]
    assert main.main([*line, "--verbose"]) == 0
    assert "┃ symbolic ┃" in capsys.readouterr().out
    assert main.main(line) == 0  # --verbose is no part of the configuration


def test_a_statement_has_verdicts_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine.toml"
    mine.write_text('statement = "für alle α"\nalgorithm = "imp"\nd = 4\nrate = 0.25\n', "utf-8")
    folder = tmp_path / "build/results"
    folder.mkdir(parents=True)
    (folder / "verdicts.json").write_text("[]")
    line = ["verify", "--statement", "mine.toml", "--runs", "1000", "--seed", "2"]
    assert main.main(line) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["verdicts-mine.json", "verdicts.json"]
    assert (folder / "verdicts.json").read_text() == "[]"
    capsys.readouterr()
    assert main.main(line) == 0  # the same again
    capsys.readouterr()
    monkeypatch.setattr(verify, "verdicts", lambda *_, **__: pytest.fail("worked in vain"))
    (tmp_path / "other").mkdir()
    edited = tmp_path / "other/mine.toml"
    edited.write_text(mine.read_text("utf-8").replace("0.25", "0.3"), "utf-8")
    assert main.main([*line, "--statement", str(edited)]) == 2
    assert "another configuration (different: statement.rate)" in capsys.readouterr().err
    for more, message in (
        (["--seed", "3"], "another configuration (different: seed)"),
        (["--out", "build/results/verdicts.json"], "cannot read the result file"),
    ):
        assert main.main([*line, *more]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert "--overwrite" in err
        assert err.count("\n") == 1


def test_a_terminal_that_lacks_characters_loses_no_verdict(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('statement = "für alle α"\nalgorithm = "imp"\nd = 4\nrate = 0.25\n', "utf-8")
    line = [
        "verify",
        "--statement",
        str(mine),
        "--runs",
        "100",
        "--out",
        str(tmp_path / "v.json"),
        "--verbose",
    ]
    code = "import sys; from singleneuron.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *line],
        capture_output=True,
        check=False,
        timeout=100,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"f\xfcr" in done.stdout
    assert str(tmp_path / "v.json").encode() in done.stdout


def test_bad_statements_and_outputs_are_one_line_and_code_2(tmp_path, capsys):
    evil = tmp_path / "evil.toml"
    evil.write_text("""algorithm = "lrr"\nsuccess = "__import__('os').system('touch owned') > 0"\n""")
    out = str(tmp_path / "v.json")
    for arguments in (
        ["--statement", str(evil), "--out", out],
        ["--statement", str(tmp_path), "--out", out],
        ["--runs", "0", "--out", out],
        ["--seed", "-1", "--out", out],
        ["--out", str(tmp_path / "v.nc")],
    ):
        assert main.main(["verify", *arguments]) == 2
        streams = capsys.readouterr()
        assert streams.out == ""
        assert streams.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["evil.toml"]


@pytest.mark.slow
def test_shipped_statements_are_verified(tmp_path):
    out = tmp_path / "verdicts.json"
    command = [sys.executable, "-m", "singleneuron", "verify", "--runs", "30000", "--out", str(out)]
    code = f"import sys; from singleneuron.cli.main import main; sys.exit(main({command[3:]!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=3600, capture_output=True)
    verdicts = json.loads(out.read_text())
    assert [item["id"] for item in verdicts] == [statement.id for statement in shipped.shipped()]
    for item in verdicts:
        assert item["verdict"] == "VERIFIED", item["id"]
        for count in item["evidence"]["monte_carlo"]:
            assert count["counterexamples"] == 0
            assert not math.isnan(count["interval"][1])


def test_claims_about_one_setting_share_its_runs():
    imp, lrr = Claim(algorithm="imp", rate=0.25), Claim(algorithm="lrr", rate=0.5)
    one = Statement(
        "one", "", experiments=(Experiment(SMALL, (lrr,)), Experiment(Setting(d=3), (imp,), weight=3))
    )
    two = Statement("two", "", experiments=(Experiment(SMALL, (imp, lrr), nested=True),))
    sweeps = plan.plan([one, two], 1000)
    assert {setting.d: sweep.runs for setting, sweep in sweeps.items()} == {10: 1000, 3: 750}
    assert list(sweeps[SMALL].tallies) == [lrr, imp]
    assert sweeps[SMALL].chains == [(imp, lrr)]
    seen = []
    first, second = verify.verify(
        [one, two], runs=1000, progress=lambda done, total: seen.append((done, total))
    )
    assert first.evidence.monte_carlo[0] == second.evidence.monte_carlo[1]
    assert seen[-1] == (1750, 1750)


def test_laws_take_a_share_of_the_runs():
    assert law_starts.starts(time_laws.escape_times, 1_000_000) == 100
    assert law_starts.starts(time_laws.escape_times, 10_000_000) == 1000
    assert law_starts.starts(laws.angle_curve, 5000) == 5000
