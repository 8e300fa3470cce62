"""The settings for the training of a level. The section is validated on its own."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from deepexp.config.algorithms import Fraction01, Positive, Section


class Train(Section):
    """How one level is trained: SGD and its learning-rate schedule.

    Attributes
    ----------
    epochs : int
        The number of epochs in a level, or in one cycle if a level has several cycles.
    cycles : {'one', 'cumulative'}
        How many times a level runs through its schedule. With 'cumulative', level l trains for l + 1 cycles,
        which is how many cycles LRR has trained for by the end of level l.
    parameterization : {'plain', 'sign-in'}
        How the weights theta of convolutions and linear layers are trained. 'plain' trains theta itself.
        'sign-in' trains the factors of theta = m u (see `deepexp.training.sign_in`).
    beta : float
        With 'sign-in', the value of m^2 - u^2 at the start of every level and after every reset. It must
        lie between 1e-6 and 1e6.
    reset_epochs : int
        With 'sign-in', the number of epochs from one reset to the next, which must not exceed the length of
        the longest level. With 0, the factors are reset only at the start of each level.
    batch_size : int
        The number of images in a batch, over all processes together.
    drop_last : bool
        Whether to leave out an epoch's last batch if it is smaller than the others.
    lr : float
        The peak learning rate.
    momentum, nesterov
        As in torch.optim.SGD.
    weight_decay : float
        The weight decay of convolutions and linear layers.
    decay_norm : bool
        Whether weight decay also applies to biases and to the parameters of batch normalisation.
    label_smoothing : float
        As in torch.nn.functional.cross_entropy.
    schedule : {'cosine', 'step', 'triangular', 'constant'}
        The shape of the learning-rate schedule after the warm-up.
    schedule_per : {'epoch', 'step'}
        How often the learning rate changes.
    milestones : tuple of float
        The epochs at which the schedule 'step' multiplies the learning rate by `decay`.
    milestones_after_warmup : bool
        Whether milestones count from the end of the warm-up rather than from the level's start.
    decay : float
        The factor applied to the learning rate at each milestone.
    lr_min : float
        The learning rate at the end of a cosine schedule.
    peak : float
        The fraction of a triangular schedule during which the learning rate rises to `lr`, in (0, 1].
    rise_from : float, optional
        The learning rate at which a warm-up or a triangular schedule starts, as a fraction of `lr`. By
        default, a warm-up of W steps (or epochs) starts at 1 / W, and a triangular schedule starts at 0.
    warmup : {'none', 'first', 'every', 'before'}
        When the warm-up, a linear rise of the learning rate, takes place: in the first epochs of level 0
        ('first'), in the first epochs of every level ('every'), or in additional epochs before the
        other epochs of level 0 ('before').
    warmup_epochs : float
        The length of the warm-up in epochs.
    evaluate : {'level', 'epoch'}
        Whether the test set is evaluated after each level or after each epoch.
    signs : {'level', 'first', 'epoch'}
        When the signs are recorded: only after each level ('level'), also after each epoch of level 0
        ('first'), or also after each epoch of every level ('epoch').
    """

    epochs: int = Field(60, ge=1, le=1_000_000)
    batch_size: int = Field(64, ge=1)
    drop_last: bool = True
    lr: Positive = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0)
    decay_norm: bool = True
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    schedule: Literal["cosine", "step", "triangular", "constant"] = "cosine"
    schedule_per: Literal["epoch", "step"] = "epoch"
    milestones: tuple[float, ...] = Field((), strict=False)
    milestones_after_warmup: bool = False
    decay: Positive = 0.1
    lr_min: float = Field(0.0, ge=0)
    peak: Fraction01 = 0.2
    rise_from: float | None = Field(None, ge=0, lt=1)
    warmup: Literal["none", "first", "every", "before"] = "none"
    warmup_epochs: float = Field(0.0, ge=0, le=1_000_000)
    evaluate: Literal["level", "epoch"] = "level"
    signs: Literal["level", "first", "epoch"] = "level"
    cycles: Literal["one", "cumulative"] = "one"
    parameterization: Literal["plain", "sign-in"] = "plain"
    beta: float = Field(1.0, ge=1e-6, le=1e6)  # far outside, beta^2 leaves float32's range
    reset_epochs: int = Field(0, ge=0, le=1_000_000)

    @model_validator(mode="after")
    def _factors_are_used(self) -> Self:
        for name in ("beta", "reset_epochs") if self.parameterization == "plain" else ():
            if getattr(self, name) != Train.model_fields[name].default:
                raise ValueError(
                    f"{name} has no effect with parameterization = 'plain', got {getattr(self, name)!r}; "
                    "leave it out, or set train.parameterization to 'sign-in'"
                )
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)) or not all(
            0 < m < self.epochs for m in self.milestones
        ):
            raise ValueError(
                f"milestones must increase and lie in (0, epochs = {self.epochs}), got "
                f"{list(self.milestones)}"
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
            raise ValueError(
                f"warmup_epochs must be a whole number with warmup = 'before', got {self.warmup_epochs:g}"
            )
        if self.lr_min >= self.lr:
            raise ValueError(f"lr_min must be below lr = {self.lr:g}, got {self.lr_min:g}")
        return self
