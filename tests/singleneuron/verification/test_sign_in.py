"""Sign-In in verification: statements, the independent solver, and planted falsehoods that are refuted."""

import numpy as np
import pytest

import singleneuron as sn
from signflow.workers import Here
from singleneuron.formulas.sign_in import weight_at
from singleneuron.parameterization import Parameterization
from singleneuron.problem.line import Line
from singleneuron.problem.status import success
from singleneuron.verification import (
    conditions,
    shipped,
    sign_in_laws,
    sign_in_solver,
    sign_in_statements,
    statements,
    verify,
)
from singleneuron.verification.runs import batches, places, plan, repeat, sampled
from singleneuron.verification.statements import Claim, Experiment, Setting, Statement


def sign_in(d, beta_a=1.0, beta_w=1.0, **more):
    return Setting(d=d, parameterization="sign-in", beta_a=beta_a, beta_w=beta_w, **more)


def product(beta_a=1.0, beta_w=1.0):
    return Parameterization("sign-in", beta_a=beta_a, beta_w=beta_w)


def verdict_on(setting, claim, runs=300):
    statement = Statement("test", "a test", (), (), (Experiment(setting, (claim,)),))
    return verify.verify([statement], runs=runs, seed=1)[0]


FILE = 'algorithm = "lrr"\nsuccess = "a0 >= 0 or g_a < g_w"\nd = 3\nparameterization = "sign-in"\n'


def test_a_file_names_a_parameterization(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FILE + "beta_a = 0.5\n")
    statement = statements.read(path)
    (experiment,) = statement.experiments
    assert experiment.setting.weights == product(0.5)
    assert experiment.setting.label == "balanced d = 3 sign-in beta_a = 0.5 beta_w = 1"
    assert statement.comparisons == (sign_in_laws.balances,)
    assert not experiment.setting.reduced


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace("sign-in", "signin"), "parameterization must be 'plain' or 'sign-in'"),
        (FILE + "beta_a = 0\n", "beta_a must be greater than 0"),
        (FILE + "beta_w = -1.0\n", "beta_w must be greater than 0"),
        (FILE + "beta_w = inf\n", "beta_w must be a finite number"),
        (FILE.replace("sign-in", "plain") + "beta_a = 2.0\n", "only apply to the parameterization 'sign-in'"),
        (FILE.replace("d = 3", "d = 2000"), "d must be <= 1000"),
        (FILE.replace("g_w", "g_u"), "did you mean"),
    ],
)
def test_bad_files_are_refused_in_one_line(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as refusal:
        statements.read(path)
    assert "\n" not in str(refusal.value)


SETTINGS = [
    sign_in(1, 2.0), sign_in(4, 0.5, init="independent"), sign_in(4, 0.5, targets=2),
    sign_in(3, n=20, noise=0.5), sign_in(1, 0.5, n=20, noise=0.5, init="independent"),
    Setting(d=4, targets=2), Setting(d=3),
]  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.label)
def test_the_distances_of_a_start_are_the_same_however_it_is_given(setting):
    rng = np.random.default_rng(3)
    there = places.anywhere(setting, 40, rng)
    batch = places.batch_at(setting, there, rng)
    found, stated = batches.values_of(setting, batch), there.values(setting)
    for name in ("g_a", "g_w", "g_kept", "c"):
        np.testing.assert_allclose(np.broadcast_to(stated[name], 40), found[name], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found["c"], setting.weights.balance(batch.starts), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found["g_a"] - found["g_w"], found["c"], rtol=1e-9, atol=1e-12)
    if setting.targets in (1, setting.d):
        inner = setting.weights.balance(sn.State(np.zeros(40), found["w1"][:, None]))
        np.testing.assert_allclose(found["g_kept"], -inner, rtol=1e-12)


def test_the_solver_keeps_beta_and_agrees_with_the_kernels():
    betas, times = product(0.5, 2.0), (0.5, 2.0, 8.0)
    starts = sn.independent_starts(d=3, size=4, seed=5)
    problem = sn.Population(3, 2)
    path = sn.integrate(problem, starts, t_eval=np.array(times), parameterization=betas).state
    for i in range(4):
        y = sign_in_solver.factors(np.append(starts.a[i], starts.w[i]), betas)
        np.testing.assert_allclose(y[:4] ** 2 - y[4:] ** 2, [0.5, 2, 2, 2], rtol=1e-14)
        for k, t in enumerate(times):
            a, w = sign_in_solver.solve_products(problem, starts.a[i], starts.w[i], t, betas)
            np.testing.assert_allclose([a, *w], [path.a[k, i], *path.w[k, i]], atol=1e-6)


@pytest.mark.parametrize("s_neg", [-0.3, 0.3])
@pytest.mark.parametrize("betas", [product(), product(0.3, 2.0), product(3.0, 0.5)])
def test_the_solver_crosses_and_sticks_as_the_region_says(betas, s_neg):
    x, y = np.array([[1.0], [1.0], [-1.0], [-1.0]]), np.array([1.0, 1.0, -s_neg, -s_neg])
    problem = sn.Sample(x=x, y=y)
    data = Line(*(float(value[0]) for value in problem.statistics))
    starts = sn.State([1.0, -1.0, -1.0, -0.4, 0.4, 0.7, -0.7, 1.0], [[v] for v in
                      (-0.5, -0.5, 0.5, 1.0, -1.0, -0.7, 0.7, 0.0)])  # fmt: skip
    predicted = sn.predicted(problem, starts, "lrr", parameterization=betas)
    pairs = zip(starts.a, starts.w[:, 0], strict=True)
    found = [sign_in_solver.product_line_outcome(a, w, data, betas) for a, w in pairs]
    np.testing.assert_array_equal(found, predicted)


@pytest.mark.parametrize(("d", "targets"), [(2, 1), (3, 1), (3, 2)])
def test_the_regions_are_those_of_the_independent_solver(d, targets):
    """Neither the kernels nor the conserved law decide here: the sign of a at t = 200 does."""
    problem, betas = sn.Population(d, targets), product(0.5)
    starts = sn.independent_starts(d=d, size=60, seed=7)
    starts = sn.State(-np.abs(starts.a), starts.w)
    c = betas.balance(starts)
    chosen = np.append(np.flatnonzero(c < -0.5)[:4], np.flatnonzero(c > 0.2)[:4])  # others need longer
    predicted = sn.predicted(problem, starts[chosen], "lrr", parameterization=betas)
    assert 0 < predicted.mean() < 1
    for i, wins in zip(chosen, predicted, strict=True):
        a, _ = sign_in_solver.solve_products(problem, starts.a[i], starts.w[i], 200.0, betas)
        assert (a > 0) == wins


def test_outcomes_that_no_integration_reaches_are_theorys():
    """The balance is -2e-6 or 2e-6: `a` reaches 0 at about t = 1e7, or never."""
    betas, w = product(), np.array([1.0, 1e-3])
    for lead, wins in ((-2e-6, 1.0), (2e-6, 0.0)):
        g = float(-betas.balance(sn.State([0.0], [w]))[0]) + lead
        a = -float(weight_at(g, 1.0))
        assert sign_in_solver.products_outcome(sn.Population(2), a, w, betas) == wins


@pytest.mark.parametrize(
    "setting", [sign_in(3, 0.5, init="independent"), sign_in(3, 3.0), sign_in(1, n=20, noise=1.0)]
)
@pytest.mark.parametrize(
    "claim",
    [
        Claim(algorithm="imp", rate=0.5), Claim(algorithm="imp", imp="rebalance", rate=0.5),
        Claim(algorithm="wr", rewind_time=0.7, rate=0.5), Claim(algorithm="lrr", rate=0.5),
    ],
    ids=lambda claim: claim.label,
)  # fmt: skip
def test_repeated_runs_end_as_those_of_prune(setting, claim):
    batch = batches.draw(setting, 4, np.random.default_rng(2))
    for i in range(4):
        one = batches.part(batch, slice(i, i + 1))
        problem = sn.Population(setting.d) if one.seeds is None else batches.sample_of(setting, one.seeds[0])
        run = sn.prune(problem, one.starts, algorithm=claim.rule, parameterization=setting.weights)
        again, has_target = repeat.repeat(setting, claim, one)
        assert has_target
        assert np.isnan(again) or again == success(run.status)[0]


def test_repeated_runs_on_samples_end_as_those_of_prune():
    setting, claim = sign_in(2, 2.0, n=20, noise=0.5), Claim(algorithm="imp", rate=0.5)
    batch = batches.draw(setting, 2, np.random.default_rng(4))
    (status,), found = sampled.train(setting, (claim,), batch, 1e-8, Here())
    for i in range(2):
        again, has_target = repeat.repeat(setting, claim, batches.part(batch, slice(i, i + 1)))
        assert np.isnan(again) or (again, has_target) == (success(status)[i], found[i])


@pytest.mark.parametrize("law", [sign_in_laws.balances, sign_in_laws.line_limits, sign_in_laws.plane_limits])
def test_laws_hold(law):
    found = law(24, 7)
    assert 0 < found.error <= found.limit
    assert found.beyond == 0
    assert law(24, 7) == found


@pytest.mark.parametrize("law", [sign_in_laws.line_limits, sign_in_laws.plane_limits])
def test_a_wrong_limit_is_found_and_confirmed(law, monkeypatch):
    right = sign_in_laws.sign_in.sign_in_limit
    monkeypatch.setattr(sign_in_laws.sign_in, "sign_in_limit", lambda *given: 1.0001 * right(*given))
    found = law(6, 7)
    assert found.beyond > 0
    assert found.confirmed


def test_a_wrong_balance_is_found_and_confirmed(monkeypatch):
    def two_norm(self, starts):
        norm = np.linalg.norm(starts.w, axis=-1)
        return np.hypot(self.beta_a, 2 * starts.a) - np.hypot(self.beta_w, 2 * norm)

    monkeypatch.setattr(Parameterization, "balance", two_norm)
    found = sign_in_laws.balances(6, 7)
    assert found.beyond > 0
    assert found.confirmed


ALONE, KEPT = "w1 > 0 and (a0 >= 0 or c < 0)", "a0 >= 0 or g_a < g_kept"
TRUE_ONES = [
    (sign_in(1, 0.5, 2.0, init="independent"), Claim(algorithm="lrr", success=ALONE)),
    (sign_in(1, 2.0), Claim(algorithm="lrr", success="w1 > 0", rate=0.5)),
    (sign_in(3, 0.5), Claim(algorithm="lrr", success="a0 >= 0 or g_a < g_w")),
    (sign_in(3, 0.5, init="independent"), Claim(algorithm="imp", success=f"w1 > 0 and ({KEPT})")),
    (sign_in(3, 0.5, targets=2), Claim(algorithm="imp", success=KEPT)),
    (
        sign_in(1, 0.5, init="independent", n=20, noise=1.0, given="s_pos > 0"),
        Claim(algorithm="lrr", success=f"{ALONE} or w1 < 0 and s_neg > 0 and a0 > 0 and c > 0"),
    ),
]


@pytest.mark.parametrize(("setting", "claim"), TRUE_ONES, ids=lambda value: getattr(value, "label", ""))
def test_true_statements_are_not_refuted(setting, claim):
    result = verdict_on(setting, claim, runs=100 if setting.sampled else 300)
    assert result.verdict.startswith("NOT REFUTED")
    assert result.evidence.monte_carlo[0].near_boundary > 0


PLANTED = {
    "the 2-norm takes the place of the law": (
        sign_in(3, 0.5, init="independent"),
        Claim(algorithm="lrr", success="a0 >= 0 or g_a < sqrt(1 + 4*rho**2) - 1"),
    ),
    "the balance of plain weights decides": (
        sign_in(3, 0.5, init="independent"),
        Claim(algorithm="lrr", success="a0 >= 0 or abs(a0) < rho"),
    ),
    "beta_a > beta_w is needed in d > 1": (sign_in(3), Claim(algorithm="lrr", success="a0 > 0")),
    "equal betas suffice in d = 1": (sign_in(1), Claim(algorithm="lrr", success="w1 > 0")),
    "a small beta_a helps in d = 1": (sign_in(1, 0.5), Claim(algorithm="lrr", success="w1 > 0", rate=0.5)),
    "Sign-In learns from w < 0": (sign_in(1, 3.0), Claim(algorithm="lrr", success="a0 > 0 or w1 > 0")),
    "company fixes the sign of a for IMP": (sign_in(3), Claim(algorithm="imp", success="w1 > 0", rate=0.5)),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_falsehood_is_refuted(name):
    setting, claim = PLANTED[name]
    result = verdict_on(setting, claim)
    assert result.verdict == "REFUTED"
    assert result.counterexample.setting["parameterization"] == "sign-in"
    assert {"g_a", "g_w"} <= result.counterexample.start.keys()


def test_shipped_statements_are_derived_and_take_few_runs():
    own = sign_in_statements.sign_in_statements()
    assert own == shipped.shipped()[-len(own) :]
    sweeps = plan.plan(shipped.shipped(), None)
    betas = [setting for setting in sweeps if not setting.weights.plain]
    assert len(betas) >= 10
    assert {sweeps[setting].runs for setting in betas} == {plan.SIGN_IN_RUNS}
    assert sum(sweeps[setting].runs for setting in betas) < 0.05 * sum(
        sweep.runs for sweep in sweeps.values()
    )
    mine = Statement("mine", "", experiments=(Experiment(betas[0], (Claim(algorithm="lrr", rate=0.5),)),))
    assert plan.plan([mine], None)[betas[0]].runs == plan.SIGN_IN_RUNS
    assert plan.plan([mine], 50_000)[betas[0]].runs == 50_000


@pytest.mark.parametrize("statement", sign_in_statements.sign_in_statements(), ids=lambda s: s.id)
def test_shipped_statements_have_no_counterexample(statement):
    (result,) = verify.verify([statement], runs=150)
    assert result.counterexample is None
    for count in result.evidence.monte_carlo:
        assert count.counterexamples == 0
        assert count.decided > 0.9 * count.starts


def test_conditions_on_the_plain_distances_are_the_plain_balance():
    setting = Setting(d=3, init="independent")
    batch = batches.draw(setting, 50, np.random.default_rng(1))
    values = batches.values_of(setting, batch)
    law = conditions.parse("g_a < g_w")(values)
    np.testing.assert_array_equal(law, conditions.parse("abs(a0) < rho")(values))
