"""Plan how many starts each experiment gets."""

from collections.abc import Sequence

from singleneuron.verification.runs.tally import Sweep, Tally
from singleneuron.verification.statements import Setting, Statement

RUNS, SAMPLED_RUNS, SIGN_IN_RUNS = 1_000_000, 4_000, 10_000
"""Numbers of starts to draw.

`RUNS`: in general.
`SAMPLED_RUNS`: for training on samples, which takes about 40 ms per run.
`SIGN_IN_RUNS`: for other runs under Sign-In, which take about 0.2 ms each.
"""


def plan(statements: Sequence[Statement], runs: int | None) -> dict[Setting, Sweep]:
    """Plan a sweep for each setting. Claims about the same setting share its runs.

    Parameters
    ----------
    statements : Sequence[Statement]
        The statements to verify.
    runs : int or None
        Number of starts to draw per statement. If None, RUNS, except that each experiment on samples gets
        SAMPLED_RUNS and each other experiment under Sign-In gets SIGN_IN_RUNS.

    Returns
    -------
    dict[Setting, Sweep]
        A sweep for each setting, with all its counts at 0.
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
                # Only a user's own statement gets more. All shipped statements share one value of `runs`, and
                # a large value is meant for statements whose runs are fast.
                wanted = min(runs or RUNS, SAMPLED_RUNS if setting.sampled else SIGN_IN_RUNS)
            else:
                wanted = runs
            sweep.runs = max(sweep.runs, wanted)
            for claim in experiment.claims:
                sweep.tallies.setdefault(claim, Tally(claim))
            if experiment.nested:
                sweep.chains.append(experiment.claims)
    return sweeps
