"""Evidence for statements: derivations, laws compared with integration, counts, and counterexamples."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Values = dict[str, int | float | str | list[float] | None]
"""Values by name: a start or a setting."""
Interval = tuple[float, float]


class Part(BaseModel):
    """A part of a verdict file; unset fields are not written, and unknown ones are ignored when read."""

    model_config = ConfigDict(frozen=True)


class Derivation(Part):
    """A symbolic derivation.

    Attributes
    ----------
    derivation, shows : str
        The name of the derivation, and a sentence that says what it shows.
    proved : bool
        Whether all claims of the derivation are proved.
    residuals : list of str
        For each claim the derived minus the claimed expression, simplified (0 if they agree); for an
        implication the condition that a counterexample must satisfy (false if there is none).
    """

    derivation: str
    shows: str
    proved: bool
    residuals: list[str]


class Law(Part):
    """A law, compared with integration from a number of starts.

    Attributes
    ----------
    error, limit : float
        The largest value of |stated - integrated| found, and the largest allowed, in multiples of `unit`.
    beyond : int
        The number of starts whose error exceeds the limit.
    worst : dict of str to float
        The start with the largest error.
    confirmed : bool or None
        Whether the independent solver also finds the law broken at that start; None if `beyond` is 0.
    """

    law: str
    starts: int
    error: float
    unit: str
    limit: float
    beyond: int
    worst: dict[str, float] = {}
    confirmed: bool | None = None


class Stated(Part):
    """A claim about an algorithm: the region of starts from which it succeeds, its rate, or both.

    Attributes
    ----------
    imp : {'keep', 'rebalance'}
        What IMP and WR do with the outer weight a after pruning.
    rewind_time : float or None
        The time that WR rewinds to.
    success : str or None
        The condition on the start that defines the region, in the syntax of statement files.
    rate : float or None
        The probability of success.
    """

    algorithm: str
    imp: str = "keep"
    rewind_time: float | None = None
    success: str | None = None
    rate: float | None = None


class CountedRate(Part):
    """A stated rate, and the runs counted to test it.

    Attributes
    ----------
    interval : tuple of float
        Confidence interval for the rate, whose lower end counts undecided runs as failures, and whose upper
        end counts them as successes.
    """

    stated: float
    successes: int
    decided: int
    undecided: int = 0
    interval: Interval


class Count(Part):
    """Runs that test a claim, or starts that test a law.

    Attributes
    ----------
    starts, near_boundary : int
        Number of all starts, and number of those that were placed near a boundary of the region instead of
        being drawn.
    decided, undecided, trapped : int
        Numbers of runs. Trapped runs succeed in the limit, but have not converged; they count as decided.
    label, law : str
        The claim and its setting, or the law, in words.
    claim : Stated or None
        The claim.
    setting : dict
        The setting of the runs, as values by name.
    counterexamples, in_limit : int
        Runs that contradict the region, and those among them that do so only in the limit, by theory.
    undefined : int
        Starts at which the condition of the region is neither true nor false.
    second_looks : int
        Runs that contradicted the claim and were repeated with a smaller tolerance.
    shift : float or None
        The largest error in a boundary of the region that could go unnoticed.
    interval : tuple of float
        Confidence interval for the probability of a counterexample; the upper end counts undecided runs as
        counterexamples.
    undecided_starts : list of dict
        The first few starts whose runs are undecided.
    against : list of dict
        The first few starts whose runs contradict the region.
    rate : CountedRate or None
        The counted rate.
    """

    starts: int
    decided: int
    undecided: int
    label: str = ""
    law: str = ""
    claim: Stated | None = None
    setting: Values = {}
    near_boundary: int = 0
    trapped: int = 0
    undecided_starts: list[Values] = []
    counterexamples: int | None = None
    in_limit: int = 0
    undefined: int = 0
    second_looks: int = 0
    shift: float | None = None
    interval: Interval = (0.0, 1.0)
    against: list[Values] = []
    rate: CountedRate | None = None


class BrokenLaw(Part):
    """A law that the independent solver also finds broken.

    Attributes
    ----------
    start, error : dict, float
        A start, and |stated - integrated| there, in multiples of `unit`.
    """

    law: str
    start: dict[str, float]
    error: float
    unit: str


class WrongRate(Part):
    """A stated `rate` outside the `interval` obtained by counting.

    Attributes
    ----------
    repeated, agree : int
        Number of runs repeated with the independent solver, and number of those with the same outcome.
    """

    claim: Stated
    setting: Values
    rate: float
    successes: int
    decided: int
    interval: Interval
    repeated: int
    agree: int


class WrongOutcome(Part):
    """A start whose run does not end as stated, which the independent solver confirms.

    Attributes
    ----------
    stated, integrated, independent : str
        The outcome according to the claim, the integration and the independent solver.
    """

    claim: Stated
    setting: Values
    start: Values
    stated: str
    integrated: str
    independent: str


class Evidence(Part):
    """Four kinds of evidence for or against a statement.

    Attributes
    ----------
    symbolic, exact_vs_ode, monte_carlo : list
        Derivations, laws compared with integration, and counts of runs.
    figure : str or None
        Name of the figure that shows the statement.
    """

    symbolic: list[Derivation]
    exact_vs_ode: list[Law]
    monte_carlo: list[Count]
    figure: str | None
