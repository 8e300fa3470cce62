"""The settings for a run's masks and sign flips. Each section is validated on its own."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, Self

from pydantic import Field, model_validator

from deepexp.config import import_paths
from deepexp.config.algorithms import Fraction01, Section

SCORES = ("magnitude", "random", "snip", "synflow")
SCORE_SETTINGS = {"snip": "snip_batches", "synflow": "synflow_steps"}  # each field is used by one score only


class Pruning(Section):
    """How many weights each level keeps, and how they are chosen.

    Level l keeps floor(initial_density * keep^l * N + 1/2) of the N prunable weights.

    Attributes
    ----------
    levels : int
        How many times the network is pruned; with 0, it is only trained once.
    keep : float
        The fraction of the living weights that each level keeps, in (0, 1].
    initial_density : float
        The density of level 0, in (0, 1]; below 1, level 0 already trains under a mask.
    score : str
        The score by which the weights are ranked; the lowest are pruned: 'magnitude', 'random', 'snip',
        'synflow', or an import path such as 'mypkg.mymodule:function' (see `deepexp.pruning.scores.own`).
    code : str, optional
        The digest of the source of an import path; computed, not set.
    snip_batches : int
        The number of training batches over which SNIP sums the gradients.
    synflow_steps : int
        The number of steps in which SynFlow prunes to a level's density. Every step computes new scores.
    scope : {'global', 'layer'}
        Whether scores are compared across all layers or within each layer.
    source : {'own', 'run', 'shuffled', 'random', 'fixed'}
        Where the masks come from. 'own': this run's scores; 'run': the masks of another run, level by level;
        'shuffled': as 'own', or as 'run' if `run` is given, and then shuffled within each layer; 'random':
        weights chosen at random, with the number in each layer set by `budget`; 'fixed': in every level, the
        mask of one level of another run.
    run : str, optional
        The run_id of the other run, for the sources 'run', 'shuffled' and 'fixed'.
    run_level : int, optional
        The level of the other run whose mask is used, for the source 'fixed'.
    budget : {'uniform', 'balanced', 'erk'}
        How the kept weights are divided among the layers if the scope is 'layer' or the source is 'random'.
    """

    levels: int = Field(20, ge=0, le=10_000)
    keep: Fraction01 = 0.8
    initial_density: Fraction01 = 1.0
    score: str = "magnitude"
    code: str | None = None
    snip_batches: int = Field(10, ge=1)
    synflow_steps: int = Field(100, ge=1, le=100_000)
    scope: Literal["global", "layer"] = "global"
    source: Literal["own", "run", "shuffled", "random", "fixed"] = "own"
    run: str | None = None
    run_level: int | None = Field(None, ge=0)
    budget: Literal["uniform", "balanced", "erk"] = "uniform"

    @model_validator(mode="after")
    def _score_exists(self) -> Self:
        import_paths.check("score", self.score, SCORES, self.code)
        return self

    @model_validator(mode="after")
    def _source_is_complete(self) -> Self:
        if self.source in ("run", "fixed") and self.run is None:
            raise ValueError(
                f"source = '{self.source}' needs pruning.run, the run_id of the run with the masks"
            )
        if self.source in ("own", "random") and self.run is not None:
            raise ValueError(f"run must be left out with source = '{self.source}', got '{self.run}'")
        if (self.source == "fixed") != (self.run_level is not None):
            raise ValueError(
                f"run_level must be given if and only if source = 'fixed', got {self.run_level} with "
                f"source = '{self.source}'; set both or neither"
            )
        for name in self._idle():
            if getattr(self, name) != Pruning.model_fields[name].default:
                other = "score" if name in SCORE_SETTINGS.values() else "scope"
                rest = f"run = '{self.run}'" if self.run else f"{other} = '{getattr(self, other)}'"
                raise ValueError(
                    f"{name} has no effect with source = '{self.source}' and {rest}, got "
                    f"{getattr(self, name)!r}; leave it out"
                )
        if self.source in ("own", "shuffled") and self.initial_density < 1 and self.score == "magnitude":
            raise ValueError(
                "initial_density below 1 needs source = 'random', or score = 'random', 'snip' or 'synflow', "
                "because magnitudes at initialisation carry no information yet"
            )
        return self

    def _idle(self) -> tuple[str, ...]:
        """Return the fields that have no effect on the masks."""
        settings = tuple(name for score, name in SCORE_SETTINGS.items() if score != self.score)
        if self.run is not None:
            return ("keep", "initial_density", "score", "scope", "budget", *settings)
        if self.source == "random":
            return ("score", "scope", *settings)
        return settings if self.scope == "layer" else ("budget", *settings)

    def kept(self, level: int, total: int) -> int:
        """Return how many of `total` weights are kept at `level`, computed in exact decimal arithmetic."""
        if self.source == "fixed":
            raise ValueError(
                "source must not be 'fixed', because the mask of the other run sets how many weights are kept"
            )
        exact = Fraction(repr(self.initial_density)) * Fraction(repr(self.keep)) ** level * total
        return int(exact + Fraction(1, 2))


class Perturbation(Section):
    """A random flip of the signs of some living weights, at the start of one level.

    Attributes
    ----------
    fraction : float
        The fraction of the living weights whose signs flip, in [0, 1]; the seed chooses the weights.
    level : int
        The signs flip at the start of this level.
    scope : {'global', 'layer'}
        Whether the fraction applies to all weights together or to each layer separately.
    layers : tuple of str
        The layers whose signs may flip; () means all layers.
    """

    fraction: float = Field(0.0, ge=0, le=1)
    level: int = Field(0, ge=0)
    scope: Literal["global", "layer"] = "global"
    layers: tuple[str, ...] = Field((), strict=False)
