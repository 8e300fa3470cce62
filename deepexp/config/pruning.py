"""The settings for a run's masks and sign flips. Each section is validated on its own."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, Self

from pydantic import Field, model_validator

from deepexp.config import import_paths
from deepexp.config.algorithms import Fraction01, Section

SCORES = ("magnitude", "random", "snip", "synflow")
# For some scores, the field that applies only to this score.
SCORE_SETTINGS = {"snip": "snip_batches", "synflow": "synflow_steps"}


class Pruning(Section):
    """How many weights each level keeps, and how they are chosen.

    Level l keeps floor(initial_density * keep^l * N + 1/2) of the N prunable weights.

    Attributes
    ----------
    levels : int
        How many times the network is pruned. With 0, the network is trained once and never pruned.
    keep : float
        The fraction of the living weights that each pruning keeps, in (0, 1].
    initial_density : float
        The density of level 0, in (0, 1]. If it is below 1, even level 0 trains under a mask.
    score : str
        The score by which the weights are ranked: 'magnitude', 'random', 'snip', 'synflow', or an import path
        such as 'mypkg.mymodule:function' (see `deepexp.pruning.scores.own`). The weights with the lowest
        scores are pruned.
    code : str, optional
        The digest of the source that an import path names. `build` computes it; do not set it.
    snip_batches : int
        The number of training batches over which SNIP sums the gradients.
    synflow_steps : int
        The number of steps in which SynFlow prunes to a level's density. Every step computes new scores.
    scope : {'global', 'layer'}
        Whether scores are compared across all layers or within each layer.
    source : {'own', 'run', 'shuffled', 'random', 'fixed'}
        Where the masks come from. With 'own', this run's scores choose them. With 'run', each level uses the
        mask that the run `run` has at the same level. With 'shuffled', masks are made as with 'run' if `run`
        is given, else as with 'own', and are then shuffled within each layer. With 'random', weights are
        chosen at random, and `budget` sets how many in each layer. With 'fixed', every level uses the mask
        that the run `run` has at the level `run_level`.
    run : str, optional
        The run_id of the run that provides masks for the sources 'run', 'shuffled' and 'fixed'.
    run_level : int, optional
        For the source 'fixed', the level of the run `run` whose mask is used.
    budget : {'uniform', 'balanced', 'erk'}
        How the kept weights are shared among the layers if `scope` is 'layer' or `source` is 'random'.
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
        """Return the names of the fields that have no effect on the masks."""
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
                "source must not be 'fixed', because the mask of another run then sets the number of weights"
            )
        exact = Fraction(repr(self.initial_density)) * Fraction(repr(self.keep)) ** level * total
        return int(exact + Fraction(1, 2))


class Perturbation(Section):
    """A flip of the signs of randomly chosen living weights, at the start of one level.

    Attributes
    ----------
    fraction : float
        The fraction of the living weights whose signs flip, in [0, 1]. The seed chooses the weights.
    level : int
        The level at whose start the signs flip.
    scope : {'global', 'layer'}
        Whether the fraction applies to all weights together or to each layer separately.
    layers : tuple of str
        The layers whose signs may flip. The default () means all layers.
    """

    fraction: float = Field(0.0, ge=0, le=1)
    level: int = Field(0, ge=0)
    scope: Literal["global", "layer"] = "global"
    layers: tuple[str, ...] = Field((), strict=False)
