"""Plan how many starts each experiment gets."""

from collections.abc import Sequence

from singleneuron.verification.runs.tally import Sweep, Tally
from singleneuron.verification.statements import Setting, Statement

RUNS, SAMPLED_RUNS, SIGN_IN_RUNS = 1_000_000, 4_000, 10_000
"""Starts drawn: in general, for training on samples (about 40 ms per run), and for Sign-In (about 0.2 ms)."""


def plan(statements: Sequence[Statement], runs: int | None) -> dict[Setting, Sweep]:
    """Plan the sweeps that give each statement its starts; claims about the same setting share runs.

    Parameters
    ----------
    statements : Sequence[Statement]
        The statements to verify.
    runs : int or None
        Starts per statement; None: RUNS, or per experiment at most SAMPLED_RUNS for training on samples, and
        SIGN_IN_RUNS for other runs of Sign-In.

    Returns
    -------
    dict[Setting, Sweep]
        A sweep for each setting, with nothing counted yet.
    """
    sweeps: dict[Setting, Sweep] = {}
    for statement in statements:
        weights = sum(experiment.weight for experiment in statement.experiments)
        for experiment in statement.experiments:
            setting = experiment.setting
            sweep = sweeps.setdefault(setting, Sweep(setting))
            slow = setting.sampled or not setting.weights.plain
            if not slow:
                wanted = -(-(runs or RUNS) * experiment.weight // weights)
            elif runs is None or statement.derivations:
                # Only a user's own statement gets more: all shipped statements share one value of `runs`, and
                # a large value is meant for the fast ones.
                wanted = min(runs or RUNS, SAMPLED_RUNS if setting.sampled else SIGN_IN_RUNS)
            else:
                wanted = runs
            sweep.runs = max(sweep.runs, wanted)
            for claim in experiment.claims:
                sweep.tallies.setdefault(claim, Tally(claim))
            if experiment.nested:
                sweep.chains.append(experiment.claims)
    return sweeps
