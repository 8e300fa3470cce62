"""Define the statements to verify, and read a user's own statement from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from signflow.messages import invalid
from singleneuron import parameterization as parameterizations
from singleneuron.algorithms import Algorithm, Name, Variant
from singleneuron.parameterization import Parameterization
from singleneuron.verification import conditions, laws, sign_in_laws
from singleneuron.verification.laws import Comparing

MAX_BYTES = 65_536
"""Maximum size of a user's file, in bytes."""
MOST_NUMBERS = 10**7
"""Maximum value of n d for samples in d > 1, since each run draws about n d numbers."""


class Setting(BaseModel):
    """The problem and the distribution of the starts, which define the runs that a claim is about.

    If `n` is set, each run draws its own n samples and trains on them at every level.

    Attributes
    ----------
    d : int
        Number of coordinates.
    targets : int
        Number of coordinates that the target uses.
    init : {'balanced', 'independent'}
        Distribution of the starts, drawn by `balanced_starts` or `independent_starts`.
    scale : float
        Factor applied to all weights of a start, > 0.
    n : int | None
        Number of samples; None for the population.
    noise : float
        Standard deviation of the label noise.
    given : str
        Condition on the starts. Starts that do not satisfy it are excluded.
    parameterization : {'plain', 'sign-in'}
        How the weights are parameterized. With either parameterization, a balanced start has |a| = |w|.
    beta_a : float
        The value of m^2 - u^2 for a = m u under Sign-In, > 0.
    beta_w : float
        The value of m^2 - u^2 for each w_i = m u under Sign-In, > 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    d: int = Field(default=10, ge=1, le=10**9)
    targets: int = Field(default=1, ge=1)
    init: Literal["balanced", "independent"] = "balanced"
    scale: float = Field(default=1.0, gt=0)
    n: int | None = Field(default=None, ge=1, le=10**12)
    noise: float = Field(default=0.0, ge=0)
    given: str = "True"
    parameterization: parameterizations.Name = "plain"
    beta_a: float = Field(default=1.0, gt=0)
    beta_w: float = Field(default=1.0, gt=0)

    @field_validator("given", "success", check_fields=False)
    @classmethod
    def _is_condition(cls, text: str | None) -> str | None:
        if text is not None:
            conditions.parse(text)
        return text

    @model_validator(mode="after")
    def _possible(self) -> Self:
        full = self.targets > 1 or not self.weights.plain
        if self.targets > self.d or (full and self.d > 1000):
            raise ValueError(
                "targets must be <= d, and d must be <= 1000 if targets > 1 or for 'sign-in', "
                f"got targets = {self.targets} and d = {self.d}"
            )
        if self.n is None and self.noise:
            raise ValueError("noise needs samples: set their number n as well, or omit noise")
        if self.n is not None and self.targets > 1:
            raise ValueError(f"targets must be 1 if n is set, got {self.targets}")
        if self.n is not None and self.d > 1 and self.n * self.d > MOST_NUMBERS:
            raise ValueError(f"n d must be <= {MOST_NUMBERS:,} if d > 1, got {self.n * self.d:,}")
        if "found" in conditions.parse(self.given).names:
            raise ValueError(
                "given must not use 'found', which is known only after the dense level, since given is a "
                "condition on the start"
            )
        return self

    @property
    def weights(self) -> Parameterization:
        """The parameterization of the weights."""
        return Parameterization(self.parameterization, self.beta_a, self.beta_w)

    @property
    def sampled(self) -> bool:
        """Whether each run draws its own samples and trains on them.

        For plain weights in one coordinate, drawing the statistics of the samples is enough.
        """
        return self.n is not None and (self.d > 1 or not self.weights.plain)

    @property
    def reduced(self) -> bool:
        """Whether each start is drawn as (a, p, q) instead of (a, w)."""
        return self.targets == 1 and not self.sampled and self.weights.plain

    @property
    def label(self) -> str:
        """A short description of the setting."""
        samples = "" if self.n is None else f" n = {self.n:,} noise = {self.noise:g}"
        targets = "" if self.targets == 1 else f" k = {self.targets}"
        betas = "" if self.weights.plain else f" sign-in beta_a = {self.beta_a:g} beta_w = {self.beta_w:g}"
        return f"{self.init} d = {self.d:,}{targets}{samples}{betas}"


class Claim(BaseModel):
    """A claim about an algorithm, which states the region where it succeeds, its success rate, or both.

    Attributes
    ----------
    algorithm : {'imp', 'wr', 'lrr'}
        The algorithm.
    imp : {'keep', 'rebalance'}
        What IMP and WR do with the outer weight a after pruning.
    rewind_time : float | None
        The time to which WR rewinds.
    success : str | None
        Condition on the start that holds iff the algorithm succeeds from there.
    rate : float | None
        Probability of success.
    """

    model_config = Setting.model_config

    algorithm: Name
    imp: Variant = "keep"
    rewind_time: float | None = Field(default=None, ge=0)
    success: str | None = None
    rate: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        assert self.rule
        if self.algorithm == "lrr" and "imp" in self.model_fields_set:
            raise ValueError(
                "imp sets what IMP and WR do with the outer weight after pruning: omit it for 'lrr'"
            )
        if self.success is None and self.rate is None:
            raise ValueError("set `success`, a condition on the start, or `rate`, a probability")
        return self

    @property
    def rule(self) -> Algorithm:
        """The algorithm, which determines what each level starts from."""
        return Algorithm(self.algorithm, self.rewind_time, self.imp)

    @property
    def label(self) -> str:
        """The name of the algorithm, with its options."""
        time = "" if self.rewind_time is None else f" t_k = {self.rewind_time:g}"
        return f"{self.algorithm}{time}{'' if self.imp == 'keep' else ' rebalanced'}"


class Conjecture(Setting, Claim):
    """A user's own statement: one claim in one setting, and the `statement` in words."""

    statement: str = Field(default="", max_length=1000)

    @model_validator(mode="after")
    def _known_data(self) -> Self:
        if not self.statement.isprintable():
            raise ValueError("a statement must be one line of printable characters")
        pruned = self.n is not None and self.d > 1
        if self.success is not None and "found" in conditions.parse(self.success).names and not pruned:
            raise ValueError("'found' needs d > 1 and n samples, since otherwise no mask can miss the target")
        return self


@dataclass(frozen=True)
class Experiment:
    """Claims that are tested with the same runs.

    Attributes
    ----------
    setting : Setting
        The setting of the runs.
    claims : tuple[Claim, ...]
        The claims.
    nested : bool
        Whether each claim's algorithm must succeed wherever the previous claim's algorithm succeeds.
    weight : int
        A statement's runs are split among its experiments in proportion to their weights.
    """

    setting: Setting
    claims: tuple[Claim, ...]
    nested: bool = False
    weight: int = 1


@dataclass(frozen=True)
class Statement:
    """A statement to verify, and the evidence to gather.

    Attributes
    ----------
    id : str
        The name of the statement.
    text : str
        The statement in words, with formulas between backticks.
    derivations : tuple[str, ...]
        Titles of the symbolic derivations on which the statement rests.
    comparisons : tuple[Comparing, ...]
        Functions that compare the statement's laws with integration.
    experiments : tuple[Experiment, ...]
        Runs to count, and the claims that they test.
    figure : str | None
        The preset whose figure shows the statement.
    """

    id: str
    text: str
    derivations: tuple[str, ...] = ()
    comparisons: tuple[Comparing, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    figure: str | None = None


def read(path: Path) -> Statement:
    """Read a user's own statement from a file.

    Parameters
    ----------
    path : Path
        A TOML file with the keys of `Conjecture`.

    Returns
    -------
    Statement
        The statement, named after the file. It has one claim, one law to compare, and no derivation.

    Raises
    ------
    ValueError
        If the file cannot be read or contains no valid claim. The message is one line.
    """
    try:
        if not path.is_file():
            raise ValueError("it is not a file")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it must have at most {MAX_BYTES:,} bytes")
        conjecture = Conjecture.model_validate(tomllib.loads(path.read_text("utf-8-sig")))
    except ValidationError as error:
        wrong = invalid(error, Conjecture)
        raise ValueError(f"the statement in '{path}' is not valid: {wrong}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read a statement from '{path}': {error}; save it as UTF-8") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read a statement from '{path}': {str(error)[:300]}") from None
    setting = Setting(**{name: getattr(conjecture, name) for name in Setting.model_fields})
    claim = Claim(
        **{
            name: getattr(conjecture, name)
            for name in Claim.model_fields
            if name in conjecture.model_fields_set
        }
    )
    comparison = laws.limit_states
    if not setting.weights.plain:
        comparison = sign_in_laws.balances
    elif setting.d == 1 or setting.n is not None:  # the last level trains only one coordinate
        comparison = laws.line_flows
    elif setting.init == "balanced":
        comparison = laws.balanced_flows
    text = conjecture.statement or claim.success or f"P({claim.label}) = {claim.rate}"
    return Statement(path.stem, text, (), (comparison,), (Experiment(setting, (claim,)),))
