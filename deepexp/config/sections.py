"""The sections of a run's settings, each validated by itself. The only home of their defaults."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from deepexp.config.algorithms import Section

DatasetName = Literal["digits", "cifar10", "cifar100", "tinyimagenet", "imagenet"]
Fraction01 = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
SCORE_SETTINGS = {"snip": "snip_batches", "synflow": "synflow_steps"}  # fields of one score alone


class Data(Section):
    """Which images, and how they are augmented."""

    dataset: DatasetName = "digits"
    validation: int = Field(0, ge=0)  # training images held out, chosen by the seed
    limit: int | None = Field(None, ge=1)  # train on at most this many images, chosen by the seed
    classes: int | None = Field(None, ge=2)  # of tinyimagenet and imagenet, the first so many by name
    # The images' height and width, where they are resized; None: 224 of imagenet, of the others their own.
    size: int | None = Field(None, ge=8)
    resized_crop: bool = False  # train on a random 8 to 100 % of an image, resized
    # Resize a test image to this side and test the centre of `size` pixels; None: all of it, at `size`.
    test_size: int | None = Field(None, ge=8)
    crop_padding: int = Field(0, ge=0)
    padding_mode: Literal["zero", "reflect"] = "zero"
    flip: Literal["none", "random", "alternating"] = "none"
    accept_unknown: bool = False  # train on a copy of the data that matches no known variant

    @property
    def depends_on_seed(self) -> bool:
        """Whether runs of other seeds have other training images."""
        return self.validation > 0 or self.limit is not None

    @model_validator(mode="after")
    def _parts_apply(self) -> Self:
        if self.classes is not None and self.dataset not in ("tinyimagenet", "imagenet"):
            raise ValueError(
                f"classes belongs to tinyimagenet and imagenet; leave it out for {self.dataset}, got "
                f"{self.classes}"
            )
        if self.crop_padding and (self.resized_crop or self.dataset == "imagenet"):
            reason = "resized_crop = true" if self.resized_crop else "imagenet's images of many sizes"
            raise ValueError(f"crop_padding must be 0 with {reason}, got {self.crop_padding}")
        if self.size is not None and not self.resized_crop and self.dataset != "imagenet":
            raise ValueError(
                f"size, got {self.size}, needs resized_crop = true: {self.dataset} is used as it is otherwise"
            )
        if self.test_size is not None:
            if self.dataset == "imagenet":
                raise ValueError(f"test_size must be left out for imagenet, got {self.test_size}")
            if self.size is None or self.test_size < self.size:
                raise ValueError(f"test_size must be at least size = {self.size}, got {self.test_size}")
        return self


class Model(Section):
    """The network; `width` multiplies every channel count."""

    name: Literal["resnet8", "resnet20", "resnet56", "resnet18", "resnet34", "resnet50", "vgg16"] = "resnet8"
    stem: Literal["cifar", "imagenet"] = "cifar"
    width: Positive = 1.0
    norm_scale: Literal["one", "uniform"] = "one"  # of batch normalisation at the start: 1, or U(0, 1)


class Train(Section):
    """One level's training: SGD and its learning-rate schedule."""

    epochs: int = Field(60, ge=1, le=1_000_000)
    batch_size: int = Field(64, ge=1)
    drop_last: bool = True  # leave out an epoch's last, smaller batch
    lr: Positive = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0)
    decay_norm: bool = True  # weight decay on BN parameters and biases too
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    schedule: Literal["cosine", "step", "triangular", "constant"] = "cosine"
    schedule_per: Literal["epoch", "step"] = "epoch"
    milestones: tuple[float, ...] = Field((), strict=False)  # epochs at which `step` multiplies by `decay`
    milestones_after_warmup: bool = False  # count them from the end of the warm-up
    decay: Positive = 0.1
    lr_min: float = Field(0.0, ge=0)  # where a cosine ends
    peak: Fraction01 = 0.2  # the share of a triangular schedule that rises
    # The share of `lr` at which a warm-up or a triangular schedule starts to rise; None: a warm-up of W steps
    # (or epochs) at 1 / W, a triangle at 0.
    rise_from: float | None = Field(None, ge=0, lt=1)
    # A linear ramp at the start of level 0's epochs, or of every level's; before: of level 0, on top of them.
    warmup: Literal["none", "first", "every", "before"] = "none"
    warmup_epochs: float = Field(0.0, ge=0, le=1_000_000)
    evaluate: Literal["level", "epoch"] = (
        "level"  # when the test set is looked at: after a level, or an epoch
    )
    signs: Literal["level", "epoch"] = "level"  # when the signs are recorded

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)) or not all(
            0 < m < self.epochs for m in self.milestones
        ):
            raise ValueError(
                f"milestones must rise within (0, epochs = {self.epochs}), got {list(self.milestones)}"
            )
        if self.schedule == "step" and not self.milestones:
            raise ValueError("the schedule 'step' needs train.milestones, got none")
        if self.warmup != "before" and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs must be below epochs = {self.epochs}, got {self.warmup_epochs:g}"
            )
        if (self.warmup == "none") != (self.warmup_epochs == 0):
            raise ValueError(
                f"warmup = '{self.warmup}' and warmup_epochs = {self.warmup_epochs:g} contradict each other; "
                "set both or neither"
            )
        if self.warmup == "before" and self.warmup_epochs % 1:
            raise ValueError(f"warmup = 'before' takes whole warmup_epochs, got {self.warmup_epochs:g}")
        if self.lr_min >= self.lr:
            raise ValueError(f"lr_min must be below lr = {self.lr:g}, got {self.lr_min:g}")
        return self


class Pruning(Section):
    """How many weights each level keeps, which ones, and where its mask comes from.

    Level l keeps floor(initial_density keep^l N + 1/2) of the N prunable weights.
    """

    levels: int = Field(20, ge=0, le=10_000)  # prunings; 0 is the first training alone
    keep: Fraction01 = 0.8
    initial_density: Fraction01 = 1.0  # below 1, level 0 starts on a mask already
    score: Literal["magnitude", "random", "snip", "synflow"] = "magnitude"
    snip_batches: int = Field(10, ge=1)  # training batches whose gradients SNIP adds up
    synflow_steps: int = Field(
        100, ge=1, le=100_000
    )  # prunings, each with new scores, that SynFlow takes to a density
    scope: Literal["global", "layer"] = "global"  # compare scores across layers, or within each
    # own: score the weights; run: the mask sequence of another run; shuffled: own (or the run's) with every
    # layer's mask shuffled; random: random weights within a budget per layer; fixed: one level's mask of a
    # run.
    source: Literal["own", "run", "shuffled", "random", "fixed"] = "own"
    run: str | None = None  # the run_id that `run`, `shuffled` and `fixed` take their masks from
    run_level: int | None = Field(None, ge=0)  # of `fixed`
    budget: Literal["uniform", "balanced", "erk"] = "uniform"  # of `layer` and `random`

    @model_validator(mode="after")
    def _source_is_complete(self) -> Self:
        if self.source in ("run", "fixed") and self.run is None:
            raise ValueError(f"source = '{self.source}' needs pruning.run, the run_id that has the masks")
        if self.source in ("own", "random") and self.run is not None:
            raise ValueError(f"source = '{self.source}' takes no masks from a run, got run = '{self.run}'")
        if (self.source == "fixed") != (self.run_level is not None):
            raise ValueError("run_level belongs to source = 'fixed', and that source needs it")
        for name in self._idle():
            if getattr(self, name) != Pruning.model_fields[name].default:
                other = "score" if name in SCORE_SETTINGS.values() else "scope"
                rest = f"run = '{self.run}'" if self.run else f"{other} = '{getattr(self, other)}'"
                raise ValueError(
                    f"{name} has no effect with source = '{self.source}' and {rest}; leave it out, got "
                    f"{getattr(self, name)!r}"
                )
        if self.source in ("own", "shuffled") and self.initial_density < 1 and self.score == "magnitude":
            raise ValueError(
                "initial_density below 1 needs source = 'random' or score = 'random', 'snip' or 'synflow': "
                "magnitudes at initialisation say nothing yet"
            )
        return self

    def _idle(self) -> tuple[str, ...]:
        """The fields that the masks do not depend on."""
        settings = tuple(name for score, name in SCORE_SETTINGS.items() if score != self.score)
        if self.run is not None:
            return ("keep", "initial_density", "score", "scope", "budget", *settings)
        if self.source == "random":
            return ("score", "scope", *settings)
        return settings if self.scope == "layer" else ("budget", *settings)

    def kept(self, level: int, total: int) -> int:
        """The number of weights that `level` keeps of `total`, in exact arithmetic on the decimals given."""
        if self.source == "fixed":
            raise ValueError("a fixed mask brings its own count")
        exact = Fraction(repr(self.initial_density)) * Fraction(repr(self.keep)) ** level * total
        return int(exact + Fraction(1, 2))


class Perturbation(Section):
    """Flip the signs of a seeded fraction of the surviving weights once, at the start of `level`."""

    fraction: float = Field(0.0, ge=0, le=1)
    level: int = Field(0, ge=0)
    scope: Literal["global", "layer"] = "global"  # the fraction of all of them, or of each layer's
    layers: tuple[str, ...] = Field((), strict=False)  # in these layers alone; () is all


class Machine(Section):
    """What the run computes on; threads change the order of sums, so all of this is part of its identity."""

    device: Literal["cpu", "cuda"] = "cpu"
    # The seeds whose runs train together, as one stacked network; () is this run alone.
    stack: tuple[int, ...] = Field((), strict=False)
    processes: int = Field(1, ge=1)  # each trains on its part of every batch, which BN normalises by itself
    # Of each process; more than any machine's cores would end it as it starts them.
    threads: int = Field(1, ge=1, le=1024)
    channels_last: bool = True
    compile: bool = False  # on 'cuda' into CUDA graphs
    # float32: that of every product, on 'cuda' too; tf32: there, with factors rounded to 10 bits; bf16:
    # training under autocast. Weights, momentum, scores and masks are float32 in any case.
    precision: Literal["float32", "tf32", "bf16"] = "float32"

    @model_validator(mode="after")
    def _stack_is_one_process(self) -> Self:
        if self.stack and (len(set(self.stack)) < 2 or len(set(self.stack)) < len(self.stack)):
            raise ValueError(f"stack must have two seeds or more, each once, got {list(self.stack)}")
        if self.stack and self.processes > 1:
            raise ValueError(
                f"several seeds train in one process, got machine.processes = {self.processes}; train each "
                "by itself"
            )
        return self

    @model_validator(mode="after")
    def _device_has_precision(self) -> Self:
        if self.precision == "tf32" and self.device != "cuda":
            raise ValueError(
                f"precision = 'tf32' needs device = 'cuda', got '{self.device}'; use 'float32' or 'bf16'"
            )
        return self
