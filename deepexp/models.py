"""Residual and VGG networks for small and large images, and the choice of the tensors that are pruned.

The ResNets follow He et al., CVPR 2016, including the networks with 6n + 2 layers for 32x32 images. VGG
follows Simonyan & Zisserman, ICLR 2015, with batch normalisation and a single linear layer after global
average pooling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepexp.config.seeds import stream

# The number of blocks in each stage. The stages of small networks have 16, 32 and 64 channels. The stages of
# large networks have 64, 128, 256 and 512 channels, and four times as many at the output of a bottleneck.
_SMALL = {"resnet8": 1, "resnet20": 3, "resnet56": 9}
_LARGE = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def build(
    name: str,
    *,
    classes: int,
    stem: str = "cifar",
    width: float = 1.0,
    channels: int = 3,
    seed: int = 0,
    norm_scale: str = "one",
) -> nn.Module:
    """Build a network whose initial values depend only on `seed`.

    Weights are drawn from N(0, 2 / fan_in), and biases are 0. Batch normalisation has shifts 0 and, by
    default, scales 1.

    Parameters
    ----------
    name, classes, stem, width, channels
        As for `outline`.
    seed : int
        The seed of the initialisation.
    norm_scale : {'one', 'uniform'}
        With 'uniform', the scales of batch normalisation are drawn from U(0, 1).

    Returns
    -------
    nn.Module
        The network, on the CPU. It maps images (B, channels, H, W) to logits (B, classes).

    References
    ----------
    He et al., ICCV 2015, for the variance of the weights.
    """
    net = outline(name, classes=classes, stem=stem, width=width, channels=channels)
    net.to_empty(device="cpu")
    _initialise(net, torch.Generator().manual_seed(stream(seed, "initialisation")))
    if norm_scale == "uniform":
        draw_norm_scales(net, seed)
    return net


def draw_norm_scales(net: nn.Module, seed: int) -> None:
    """Set the scales of batch normalisation to random numbers from U(0, 1) that depend only on `seed`."""
    generator = torch.Generator().manual_seed(stream(seed, "norm_scale"))
    for norm in norms(net).values():
        nn.init.uniform_(norm.weight, generator=generator)


def outline(
    name: str, *, classes: int, stem: str = "cifar", width: float = 1.0, channels: int = 3
) -> nn.Module:
    """Build a network without allocating memory: its tensors are on the device 'meta'.

    Parameters
    ----------
    name : str
        'resnet8', 'resnet20', 'resnet56', 'resnet18', 'resnet34', 'resnet50' or 'vgg16'.
    classes : int
        The number of outputs.
    stem : {'cifar', 'imagenet'}
        The first layers. 'cifar' is a 3x3 convolution of stride 1, without pooling. 'imagenet' is a 7x7
        convolution of stride 2, followed by max-pooling.
    width : float
        The factor by which every channel count is multiplied before it is rounded.
    channels : int
        The number of channels of an image.

    Returns
    -------
    nn.Module

    Raises
    ------
    ValueError
        The name is unknown, the network cannot have this stem, or `width` leaves a layer without channels.
    """
    if name not in (*_SMALL, *_LARGE, "vgg16"):
        raise ValueError(f"the model must be one of {', '.join((*_SMALL, *_LARGE, 'vgg16'))}, got '{name}'")
    if stem not in ("cifar", "imagenet") or (stem == "imagenet" and name not in _LARGE):
        stems = "'cifar' or 'imagenet'" if name in _LARGE else "'cifar'"
        raise ValueError(f"the stem of {name} must be {stems}, got '{stem}'")
    if round(16 * width) < 1:
        raise ValueError(f"the width must leave at least one channel in every layer, got {width:g}")
    with torch.device("meta"):
        if name in _SMALL:
            return ResNet(Basic, (_SMALL[name],) * 3, (16, 32, 64), classes, stem, width, channels)
        if name in _LARGE:
            block = Bottleneck if name == "resnet50" else Basic
            return ResNet(block, _LARGE[name], (64, 128, 256, 512), classes, stem, width, channels)
        return VGG(classes, width, channels)


def prunable(net: nn.Module) -> dict[str, Tensor]:
    """Return the weights that pruning counts and masks: all weights of convolutions and linear layers.

    This includes the stem, the shortcuts and the classifier, but not biases or batch normalisation.

    Parameters
    ----------
    net : nn.Module
        The network.

    Returns
    -------
    dict of str to Tensor
        The parameters by name, in the order of the layers.
    """
    return {
        f"{name}.weight": module.weight
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def norms(net: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """Return the batch-normalisation layers of a network.

    Parameters
    ----------
    net : nn.Module
        The network.

    Returns
    -------
    dict of str to nn.BatchNorm2d
        The layers by name.
    """
    return {name: module for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}


class ResNet(nn.Module):
    """A residual network: the stem, stages of blocks, and a linear layer after global average pooling."""

    def __init__(
        self,
        block: type[Basic] | type[Bottleneck],
        blocks: Sequence[int],
        widths: Sequence[int],
        classes: int,
        stem: str,
        width: float,
        channels: int,
    ) -> None:
        """Create the layers.

        For each stage, `blocks` gives the number of blocks, and `widths` the number of channels at width 1.
        """
        super().__init__()
        widths = [round(w * width) for w in widths]
        large = stem == "imagenet"
        self.conv = _conv(channels, widths[0], 7 if large else 3, 2 if large else 1)
        self.norm = nn.BatchNorm2d(widths[0])
        self.pool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        stages, into = [], widths[0]
        for stage, (count, out) in enumerate(zip(blocks, widths, strict=True)):
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            layers = []
            for stride in strides:
                layers.append(block(into, out, stride))
                into = out * block.expansion
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(into, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, channels, H, W) to logits (B, classes)."""
        x = self.pool(torch.relu(self.norm(self.conv(x))))
        return self.classifier(self.stages(x).mean((2, 3)))


class Basic(nn.Module):
    """A residual block of two 3x3 convolutions."""

    expansion = 1

    def __init__(self, into: int, out: int, stride: int) -> None:
        """Create the layers for `into` input channels and `out` output channels."""
        super().__init__()
        self.conv1, self.norm1 = _conv(into, out, 3, stride), nn.BatchNorm2d(out)
        self.conv2, self.norm2 = _conv(out, out, 3), nn.BatchNorm2d(out)
        self.shortcut = _shortcut(into, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, into, H, W) to (B, out, H / stride, W / stride)."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """A residual block that applies a 3x3 convolution to fewer channels, between two 1x1 convolutions."""

    expansion = 4

    def __init__(self, into: int, out: int, stride: int) -> None:
        """Create the layers for `into` input channels and 4 * `out` output channels."""
        super().__init__()
        self.conv1, self.norm1 = _conv(into, out, 1), nn.BatchNorm2d(out)
        self.conv2, self.norm2 = _conv(out, out, 3, stride), nn.BatchNorm2d(out)
        self.conv3, self.norm3 = _conv(out, 4 * out, 1), nn.BatchNorm2d(4 * out)
        self.shortcut = _shortcut(into, 4 * out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, into, H, W) to (B, 4 out, H / stride, W / stride)."""
        y = torch.relu(self.norm1(self.conv1(x)))
        y = torch.relu(self.norm2(self.conv2(y)))
        return torch.relu(self.norm3(self.conv3(y)) + self.shortcut(x))


class VGG(nn.Module):
    """VGG-16 with batch normalisation, and one linear layer after global average pooling."""

    def __init__(self, classes: int, width: float, channels: int) -> None:
        """Create the layers for images with `channels` channels."""
        super().__init__()
        layers: list[nn.Module] = []
        for stage in _VGG16:
            for out in (round(w * width) for w in stage):
                layers += [_conv(channels, out, 3), nn.BatchNorm2d(out), nn.ReLU()]
                channels = out
            layers.append(nn.MaxPool2d(2, ceil_mode=True))  # rounding up leaves at least one pixel
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, channels, H, W) to logits (B, classes)."""
        return self.classifier(self.features(x).mean((2, 3)))


class Pointwise(nn.Conv2d):
    """A 1x1 convolution that, on a CPU, selects every `stride`-th pixel before it multiplies.

    The selection does not change the result, but it avoids a bug in oneDNN
    (github.com/uxlfoundation/oneDNN/issues/6035). If a strided 1x1 convolution in channels_last layout has
    fewer input channels than a vector register holds, oneDNN's weight gradient writes past the end of its
    workspace. torch then crashes, hangs, or returns a wrong gradient.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, into, H, W) to (B, out, H / stride, W / stride)."""
        if x.device.type != "cpu":
            return super().forward(x)
        # Pooling with a window of one pixel selects every `stride`-th pixel. A slice would do so as well, but
        # its backward pass is slower.
        return F.conv2d(F.avg_pool2d(x, 1, self.stride), self.weight, self.bias, groups=self.groups)


def _conv(into: int, out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(into, out, size, stride, size // 2, bias=False)


def _shortcut(into: int, out: int, stride: int) -> nn.Module:
    if stride == 1 and into == out:
        return nn.Identity()
    return nn.Sequential(Pointwise(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))


def _initialise(net: nn.Module, generator: torch.Generator) -> None:
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_in), generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
