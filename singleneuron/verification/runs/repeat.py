"""Repeat single runs of an experiment with the independent solver."""

import numpy as np

from singleneuron.problem.line import Line
from singleneuron.problem.problem import Population
from singleneuron.problem.reduction import reduce, unit_overlap
from singleneuron.problem.state import Reduced, State, start_balance
from singleneuron.verification import reference_solver, sign_in_solver
from singleneuron.verification.runs.batches import Batch, sample_of
from singleneuron.verification.statements import Claim, Setting


def repeat(setting: Setting, claim: Claim, batch: Batch) -> tuple[float, bool]:
    """Repeat one run with the independent solver.

    Parameters
    ----------
    setting : Setting
        The setting of the run.
    claim : Claim
        The claim whose algorithm the run follows.
    batch : Batch
        A batch of one start.

    Returns
    -------
    outcome : float
        1 if the run succeeds, 0 if it fails, NaN if the solver cannot decide.
    has_target : bool
        Whether the mask keeps the target.
    """
    if setting.sampled:
        return _repeat_on_samples(setting, claim, batch)
    if not setting.weights.plain:
        return _repeat_under_sign_in(setting, claim, batch), True
    problem, starts = Population(setting.d, setting.targets), batch.starts
    data = Line() if batch.data is None else Line(*(float(value[0]) for value in batch.data))
    share = 1.0  # the fraction of |w_perp| that the mask keeps
    reduced = starts
    if isinstance(starts, State):
        reduced = reduce(problem, starts)
        mask = np.broadcast_to(unit_overlap(problem)[1], starts.w.shape)
        share = float(reduce(problem, starts, mask).q[0] / reduced.q[0]) if reduced.q[0] else 0.0
    assert isinstance(reduced, Reduced)
    a, p, q = float(reduced.a[0]), float(reduced.p[0]), float(reduced.q[0])
    balanced, c = setting.init == "balanced", float(start_balance(reduced)[0])
    rule = claim.rule
    if rule.rewinds_to is not None and setting.d > setting.targets:
        if rule.rewinds_to > 0:
            a, p, q = reference_solver.solve_plane(a, p, q, rule.rewinds_to)
        balanced = rule.rebalances
        q *= share if setting.targets > 1 else 0.0
        a = float(np.sign(a) * np.hypot(p, q)) if balanced else a
        c = 0.0 if balanced else (abs(a) - np.hypot(p, q)) * (abs(a) + np.hypot(p, q))
    if q == 0:
        return reference_solver.line_outcome(a, p, data, balanced=balanced), True
    return reference_solver.plane_outcome(a, p, q, c), True


def _repeat_under_sign_in(setting: Setting, claim: Claim, batch: Batch) -> float:
    """Repeat a run on the population under Sign-In by LSODA on the factors m and u."""
    assert isinstance(batch.starts, State)
    problem, product = Population(setting.d, setting.targets), setting.weights
    a, w, rule = float(batch.starts.a[0]), batch.starts.w[0], claim.rule
    if rule.rewinds_to is not None and setting.d > setting.targets:
        a, w = sign_in_solver.solve_products(problem, a, w, rule.rewinds_to, product)
        w, problem = w[: setting.targets], Population(setting.targets, setting.targets)
        # In one coordinate |w_1| is exact, unlike the root of its square. At equal betas c must be exactly 0.
        norm = float(np.abs(w[0]) if w.size == 1 else np.linalg.norm(w))
        a = float(np.sign(a)) * norm if rule.rebalances else a
    if setting.targets == 1 and not w[1:].any():
        return sign_in_solver.product_line_outcome(a, float(w[0]), Line(), product)
    return sign_in_solver.products_outcome(problem, a, w, product)


def _repeat_on_samples(setting: Setting, claim: Claim, batch: Batch) -> tuple[float, bool]:
    """Repeat a run on samples by gradient descent until pruning, and by LSODA in one coordinate after it."""
    assert isinstance(batch.starts, State)
    assert batch.seeds is not None
    problem, weights = sample_of(setting, batch.seeds[0]), setting.weights
    a, w = float(batch.starts.a[0]), batch.starts.w[0]
    rule, balanced = claim.rule, setting.init == "balanced"
    if setting.d > 1:
        start = a, w
        end_a, end_w = reference_solver.train_dense(problem, *start, weights)
        largest = int(np.argmax(np.abs(end_w)))
        if np.isnan(end_a) or largest >= setting.targets:
            return (np.nan if np.isnan(end_a) else 0.0), False
        if rule.rewinds_to:
            start = reference_solver.descend(problem, *start, rule.rewinds_to, weights=weights)
        a, w = rule.source(start, (end_a, end_w))
        balanced = rule.rebalances
        a = float(np.sign(a) * abs(w[0])) if balanced else a
    data = Line(*(float(value[0]) for value in problem.statistics))
    if not weights.plain:
        return sign_in_solver.product_line_outcome(a, float(w[0]), data, weights), True
    return reference_solver.line_outcome(a, float(w[0]), data, balanced=balanced), True
