"""The convolutions of every network, bit for bit as in double precision, with all that oneDNN may use.

Small integers as data leave no rounding: a float32 result of another value is wrong, whatever the order of
the sums. `python test_gradients.py` checks the layers of every network in a process of its own, since what
writes out of bounds may end it, or leave it hanging.
"""

import itertools
import os
import subprocess
import sys
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deepexp import models
from deepexp.runs import stack

LAYOUTS = (torch.channels_last, torch.contiguous_format)
# Name, stem, side, channels, widths; the blocks of the other networks are theirs. Narrow layers on large
# images are those that went out of bounds, and layers of many whole vectors of channels take long.
NETWORKS = (
    ("resnet8", "cifar", 8, 1, (0.125, 0.25, 0.5, 1.0)),
    ("resnet8", "cifar", 32, 3, (0.125, 0.25, 0.5)),
    ("resnet8", "cifar", 64, 3, (0.125, 0.25, 0.5)),
    ("resnet18", "cifar", 8, 1, (0.125, 0.25)),
    ("resnet18", "imagenet", 64, 3, (0.125, 0.25)),
    ("resnet50", "cifar", 8, 1, (0.125,)),
    ("resnet50", "imagenet", 64, 3, (0.125,)),
    ("vgg16", "cifar", 32, 3, (0.125,)),
)


def layers(count):
    """Every kind of convolution of `count` networks side by side: its input's (C, H, W), and one like it."""
    found = {}
    for name, stem, side, channels, width in ((*net, width) for *net, widths in NETWORKS for width in widths):
        net = models.build(name, classes=10, stem=stem, width=width, channels=channels)
        net = (stack.widened(net, count) if count > 1 else net).to("meta")

        def keep(layer, inputs, _):
            shape = tuple(inputs[0].shape[1:])
            found.setdefault((shape, str(layer)), (shape, layer))

        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(keep)
        net(torch.empty(2, count * channels, side, side, device="meta"))
    return list(found.values())


def wrong(layer, shape, batch=2, threads=(1,)):
    """What of a layer is not exact: its output, and the gradients of its weights and of its input."""
    generator = torch.Generator().manual_seed(0)

    def integers(*shape):
        return torch.randint(-2, 3, shape, generator=generator, dtype=torch.int8).float()

    x, weight = integers(batch, *shape), integers(*layer.weight.shape)
    options = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    exact = [t.double().requires_grad_() for t in (weight, x)]
    y = F.conv2d(exact[1], exact[0], **options)  # oneDNN takes no double precision
    by = integers(*y.shape)
    expected = (y, *torch.autograd.grad(y, exact, by.double()))
    layer, found, before = deepcopy(layer).to_empty(device="cpu"), [], torch.get_num_threads()
    for count, layout in itertools.product(threads, LAYOUTS):
        torch.set_num_threads(count)
        layer.weight.data = weight.to(memory_format=layout)
        image = x.to(memory_format=layout).requires_grad_()
        y = layer(image)
        some = (y, *torch.autograd.grad(y, (layer.weight, image), by.to(memory_format=layout)))
        for name, have, want in zip(("output", "weights", "input"), some, expected, strict=True):
            if not torch.equal(have.double(), want):
                found.append(f"{name} in {layout} on {count} threads")
    torch.set_num_threads(before)
    return found


@pytest.mark.parametrize("side", [1, 7, 8, 33])
@pytest.mark.parametrize("count", [1, 3])
def test_a_strided_shortcut_is_exact(side, count):
    for into in (1, 2, 3, 4, 7, 8, 9, 16, 17):
        layer = models.Pointwise(count * into, 2 * count * into, 1, 2, groups=count, bias=False)
        assert not wrong(layer, (count * into, side, side), 3, (1, 2)), into


def test_a_strided_shortcut_is_a_strided_convolution_to_all_who_look_at_it():
    """Its state, its operations on the meta device (as on a GPU), and the layer of a stack."""
    layer, plain = models.Pointwise(4, 8, 1, 2, bias=False), nn.Conv2d(4, 8, 1, 2, bias=False)
    plain.load_state_dict(layer.state_dict())
    for side in (1, 4, 9):
        x = torch.randn(2, 4, side, side)
        with torch.no_grad():
            torch.testing.assert_close(layer(x), plain(x))
        assert layer.to("meta")(x.to("meta")).shape == plain(x).shape
        layer.to_empty(device="cpu").load_state_dict(plain.state_dict())
    net = models.build("resnet50", classes=10, width=0.125)
    for some in (net, stack.widened(net, 2)):
        strided = [m for m in some.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
        pointwise = [m for m in strided if m.kernel_size == (1, 1)]
        assert len(pointwise) == 3
        assert all(isinstance(m, models.Pointwise) for m in pointwise)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about its own modules
def test_a_compiled_shortcut_is_exact():
    class Compiled(models.Pointwise):
        def forward(self, x):
            return torch.compile(super().forward, fullgraph=True)(x)

    assert not wrong(Compiled(4, 8, 1, 2, bias=False), (4, 32, 32))


@pytest.mark.parametrize("most", ["AVX2", "DEFAULT"])
def test_every_layer_of_every_network_is_exact(most):
    """With the instructions up to `most`: 'DEFAULT' are all that the processor has."""
    done = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": most},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (done.stdout.splitlines()[-1:], done.stderr)


def main():
    """Print each layer before it is checked; exit with what is wrong."""
    for shape, layer in [*layers(1), *layers(2)]:
        print(f"{layer} of {shape}", flush=True)
        found = wrong(layer, shape, threads=(1, 2))
        if found:
            raise SystemExit(f"not exact: {', '.join(found)}")


if __name__ == "__main__":
    main()
