"""The settings for a run's data and network. Each section is validated on its own.

Defaults are defined only in the sections themselves, here and in `deepexp.config.training`, `pruning` and
`machine`.
"""

from __future__ import annotations

import os
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from deepexp.config import import_paths
from deepexp.config.algorithms import Positive, Section

# The height and width of the images as published, in pixels; ImageNet's vary, and are cropped to 224.
SIDES = {
    "digits": 8,
    "cifar10": 32,
    "cifar100": 32,
    "tinyimagenet": 64,
    "imagenet": 224,
}
MODELS = ("resnet8", "resnet20", "resnet56", "resnet18", "resnet34", "resnet50", "vgg16")


class Data(Section):
    """Which images to use, and how to augment them.

    Attributes
    ----------
    dataset : str
        The data set: 'digits', 'cifar10', 'cifar100', 'tinyimagenet', 'imagenet', or an import path such as
        'mypkg.mymodule:function' (see `deepexp.data.own_data`).
    code : str, optional
        The digest of the source of an import path; computed, not set.
    folder : str, optional
        A folder of a user's own images, `folder/train/CLASS/*.png` and `folder/test/CLASS/*.png` (or JPEG);
        the data set is then 'folder'. Without `size`, all images must be squares of one size, and are kept in
        memory. With `size`, they may have any sizes, and are decoded and cropped as ImageNet's are.
    validation : int
        The number of training images to hold out for validation; the seed chooses them.
    limit : int, optional
        The maximum number of images to train on; the seed chooses them. By default, all are used.
    classes : int, optional
        For tinyimagenet, imagenet and a folder, the number of classes to use: the first ones, sorted by name.
        By default, all are used.
    side : int, optional
        The height and width in pixels to which images are averaged down: each pixel is the mean of a square
        block of the original pixels. It must divide the original side, and does not apply to imagenet.
    size : int, optional
        The height and width in pixels to which images are resized. By default 224 for imagenet, and the
        original size for the other data sets.
    resized_crop : bool
        Whether to train on random crops that cover 8 to 100 % of an image's area and are then resized.
    test_size : int, optional
        The height and width in pixels to which a test image is resized before it is cropped to its central
        `size` x `size` pixels. By default, the whole image is resized to `size`, without a crop. For
        imagenet, whose test images are always cropped to their centre, this must be left out.
    crop_padding : int
        The number of pixels added on every side before a random crop of the original size. Protocols state
        it for images of the original side; `build` scales it with `side`.
    padding_mode : {'zero', 'reflect'}
        What fills the added pixels.
    flip : {'none', 'random', 'alternating'}
        Horizontal flips. 'random': each image is flipped at random in every epoch; 'alternating': at random
        in the first epoch, and from then on its orientation changes with every epoch.
    accept_unknown : bool
        Whether to train even if the copy of the data matches no known variant.
    """

    dataset: str = "digits"
    code: str | None = None
    folder: str | None = None
    validation: int = Field(0, ge=0)
    limit: int | None = Field(None, ge=1)
    classes: int | None = Field(None, ge=2)
    side: int | None = Field(None, ge=1)
    size: int | None = Field(None, ge=8)
    resized_crop: bool = False
    test_size: int | None = Field(None, ge=8)
    crop_padding: int = Field(0, ge=0)
    padding_mode: Literal["zero", "reflect"] = "zero"
    flip: Literal["none", "random", "alternating"] = "none"
    accept_unknown: bool = False

    @property
    def depends_on_seed(self) -> bool:
        """Whether the choice of training images depends on the seed."""
        return self.validation > 0 or self.limit is not None

    @property
    def in_files(self) -> bool:
        """Whether images stay in files, which are decoded and cropped in training."""
        return self.dataset == "imagenet" or (self.folder is not None and self.size is not None)

    @field_validator("folder")
    @classmethod
    def _absolute(cls, folder: str | None) -> str | None:
        # A run may resume in another folder.
        return folder if folder is None else os.path.abspath(os.path.expanduser(folder))

    @model_validator(mode="after")
    def _dataset_exists(self) -> Self:
        import_paths.check("dataset", self.dataset, (*SIDES, "folder"), self.code)
        if (self.dataset == "folder") != (self.folder is not None):
            raise ValueError(
                f"folder, a path, must be given if and only if dataset = 'folder', got {self.folder!r} with "
                f"dataset = '{self.dataset}'; set folder alone"
            )
        return self

    @model_validator(mode="after")
    def _side_fits(self) -> Self:
        if self.side is None:
            return self
        if self.in_files or self.size is not None or self.resized_crop:
            reason = "for imagenet" if self.dataset == "imagenet" else "with size or resized_crop"
            raise ValueError(f"side must be left out {reason}, got {self.side}")
        # Also if it is larger. The side of a user's own images is not known yet.
        if SIDES.get(self.dataset, self.side) % self.side:
            raise ValueError(
                f"side must divide {SIDES[self.dataset]}, the side of the images of {self.dataset}, got "
                f"{self.side}"
            )
        return self

    @model_validator(mode="after")
    def _parts_apply(self) -> Self:
        if self.classes is not None and self.dataset not in ("tinyimagenet", "imagenet", "folder"):
            raise ValueError(
                f"classes applies only to tinyimagenet and imagenet and to a folder, got {self.classes} for "
                f"{self.dataset}; leave it out"
            )
        if self.crop_padding and (self.resized_crop or self.in_files):
            reason = (
                "resized_crop = true" if self.resized_crop else f"{self.dataset}, whose images vary in size"
            )
            raise ValueError(f"crop_padding must be 0 with {reason}, got {self.crop_padding}")
        if self.size is not None and not self.resized_crop and not self.in_files:
            raise ValueError(
                f"size needs resized_crop = true, since {self.dataset} is not resized otherwise, got "
                f"{self.size}"
            )
        if self.test_size is not None:
            if self.in_files:
                raise ValueError(f"test_size must be left out for {self.dataset}, got {self.test_size}")
            if self.size is None or self.test_size < self.size:
                raise ValueError(f"test_size must be at least size = {self.size}, got {self.test_size}")
        return self


class Model(Section):
    """The network.

    Attributes
    ----------
    name : str
        The architecture: 'resnet8', 'resnet20', 'resnet56', 'resnet18', 'resnet34', 'resnet50', 'vgg16', or
        an import path such as 'mypkg.mymodule:function' (see `deepexp.networks`).
    code : str, optional
        The digest of the source of an import path; computed, not set.
    stem : {'cifar', 'imagenet'}
        The type of the first layers: 'cifar' for small images, 'imagenet' for large ones.
    width : float
        The factor by which every channel count is multiplied.
    norm_scale : {'one', 'uniform'}
        The initial scales of batch normalisation: 1, or drawn from U(0, 1).
    """

    name: str = "resnet8"
    code: str | None = None
    stem: Literal["cifar", "imagenet"] = "cifar"
    width: Positive = 1.0
    norm_scale: Literal["one", "uniform"] = "one"

    @model_validator(mode="after")
    def _name_exists(self) -> Self:
        import_paths.check("name", self.name, MODELS, self.code)
        for field in ("stem", "width") if import_paths.is_own(self.name) else ():
            if getattr(self, field) != Model.model_fields[field].default:
                raise ValueError(
                    f"{field} has no effect on a network of your own, '{self.name}', got "
                    f"{getattr(self, field)!r}; leave it out"
                )
        return self
