"""Evidence for statements: derivations, laws compared with integration, counts, and counterexamples."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Values = dict[str, int | float | str | list[float] | None]
"""The values of a start or of a setting, by name."""
Interval = tuple[float, float]


class Part(BaseModel):
    """A part of a verdict file.

    Fields that are not set are not written. Unknown fields are ignored when a file is read.
    """

    model_config = ConfigDict(frozen=True)


class Derivation(Part):
    """A symbolic derivation.

    Attributes
    ----------
    derivation : str
        The name of the derivation.
    shows : str
        A sentence that says what the derivation shows.
    proved : bool
        Whether all claims of the derivation are proved.
    residuals : list of str
        The residual of each claim. The residual of an equation or inequality is the derived minus the claimed
        expression, simplified; it is 0 if they agree. The residual of an implication is the condition that a
        counterexample must satisfy; it is false if there is no counterexample.
    """

    derivation: str
    shows: str
    proved: bool
    residuals: list[str]


class Law(Part):
    """A law, compared with integration from a number of starts.

    Attributes
    ----------
    error : float
        The largest |stated - integrated| over the starts, in multiples of `unit`.
    limit : float
        The largest error that is allowed, in multiples of `unit`.
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
        The time to which WR rewinds.
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
        Confidence interval for the rate. Its lower end counts undecided runs as failures, and its upper end
        counts them as successes.
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
    starts : int
        The number of starts.
    near_boundary : int
        The number of starts that were placed near a boundary of the region. All other starts were drawn at
        random.
    decided, undecided : int
        The numbers of decided and of undecided runs.
    trapped : int
        The number of runs that succeed in the limit, but have not converged. They count as decided.
    label : str
        The claim and its setting, in words.
    law : str
        The law, in words.
    claim : Stated or None
        The claim.
    setting : dict
        The setting of the runs, as values by name.
    counterexamples : int or None
        The number of runs that contradict the region, or of starts that contradict the law.
    in_limit : int
        The number of undecided runs among the counterexamples. Theory gives their limit, which contradicts
        the region.
    undefined : int
        The number of starts at which the condition of the region is neither true nor false.
    second_looks : int
        The number of runs that contradicted the region and were repeated with a smaller tolerance.
    shift : float or None
        The largest error in a boundary of the region that could go unnoticed.
    interval : tuple of float
        Confidence interval for the probability of a counterexample. Its upper end counts undecided runs as
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
    start : dict of str to float
        A start at which the law is broken.
    error : float
        The error |stated - integrated| at this start, in multiples of `unit`.
    """

    law: str
    start: dict[str, float]
    error: float
    unit: str


class WrongRate(Part):
    """A stated rate that lies outside the confidence interval from counted runs.

    Attributes
    ----------
    rate : float
        The stated rate.
    interval : tuple of float
        The confidence interval.
    repeated : int
        The number of runs that the independent solver repeated.
    agree : int
        The number of repeated runs that had the same outcome again.
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
    """A start whose run does not end as stated, as the independent solver confirms.

    Attributes
    ----------
    stated : str
        The outcome according to the claim.
    integrated : str
        The outcome of the integration.
    independent : str
        The outcome of the independent solver.
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
    symbolic : list of Derivation
        Symbolic derivations.
    exact_vs_ode : list of Law
        Laws compared with integration.
    monte_carlo : list of Count
        Counts of runs.
    figure : str or None
        Name of the figure that shows the statement.
    """

    symbolic: list[Derivation]
    exact_vs_ode: list[Law]
    monte_carlo: list[Count]
    figure: str | None
