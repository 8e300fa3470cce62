"""Runs of a user's own network, images and score: exact, resumable, readable; and what is refused."""

import re

import pytest
import torch

import deepexp
from deepexp import networks
from deepexp.config import import_paths
from deepexp.config.build import build
from deepexp.config.sections import Model
from deepexp.data import dataset
from deepexp.pruning import scores
from deepexp.recipes.plan import PlannedRun
from deepexp.runs import run as levels
from deepexp.runs.setup import prepare
from deepexp.schedule import costs, units

MINE = """
import numpy as np
import torch
from torch import nn
from deepexp.models import prunable


def net(classes, channels):
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(6 * 16, classes),
    )


def images():
    rng = np.random.default_rng(0)
    y = np.arange(96) % 3
    x = rng.integers(0, 100, (96, 12, 12, 2)).astype(np.uint8)
    for label in range(3):
        x[y == label, 4 * label : 4 * label + 4] += 100
    return (x[:72], y[:72]), (x[72:], y[72:])


def taylor(net, batches):
    for _, (x, y) in zip(range(2), batches):
        nn.functional.cross_entropy(net(x), y).backward()
    noise = {name: 1e-9 * torch.rand(w.shape) for name, w in prunable(net).items()}
    return {name: (w * w.grad).abs() + noise[name] for name, w in prunable(net).items()}
"""
SETTINGS = {
    "data.dataset": "mine:images",
    "model.name": "mine:net",
    "pruning.score": "mine:taylor",
    "train.batch_size": 24,
    "train.epochs": 3,
    "pruning.levels": 2,
    "pruning.keep": 0.5,
}


@pytest.mark.parametrize("algorithm", ["imp", "wr", "lrr"])
def test_a_run_of_ones_own_is_exact_and_can_be_read(own_code, tmp_path, algorithm):
    own_code("mine", MINE)
    config = build({**SETTINGS, "algorithm": algorithm, "policy.rewind_epoch": 1})
    assert config.run_id.startswith(f"mine.images-mine.net-{algorithm}-s0-")
    rows = [event.row for event in levels.run(config, tmp_path / "run") if event.row is not None]
    total = 2 * 6 * 9 + 6 * 16 * 3
    assert [row["kept"] for row in rows] == [total, total // 2, total // 4]
    assert rows[0]["test_accuracy"] > 0.6  # a third by chance
    run = deepexp.load(tmp_path / "run")
    images, net = run.dataset(), run.model(2)
    assert (images.classes, images.shape, images.variant) == (3, (12, 12, 2), "own")
    with torch.no_grad():
        right = net(images.normalise(images.test.x)).argmax(1) == images.test.y
    assert right.double().mean().item() == rows[2]["test_accuracy"]
    assert {name: int(where.sum()) for name, where in run.mask(2)} == {
        name: int((weight != 0).sum()) for name, weight in run.weights(2).items()
    }


def test_a_run_of_ones_own_resumes_to_the_bit(own_code, tmp_path, same_run):
    """Although the global generator, from which the network and the score draw, has another state by then."""
    own_code("mine", MINE)
    config = build({**SETTINGS, "policy.rewind_epoch": 0})
    for _ in levels.run(config, tmp_path / "whole"):
        pass
    stopped = levels.run(config, tmp_path / "parts")
    while next(stopped).row is None:
        pass
    stopped.close()
    torch.manual_seed(123)
    for _ in levels.run(config, tmp_path / "parts"):
        pass
    same_run(tmp_path / "whole", tmp_path / "parts")


def test_the_seed_alone_determines_the_network_and_no_generator_moves(own_code):
    own_code("mine", MINE)
    model = build(SETTINGS).model
    made = []
    for seed in (0, 1, 0):
        torch.manual_seed(len(made))
        before = torch.get_rng_state()
        made.append(networks.network(model, classes=3, shape=(12, 12, 2), seed=seed)[0].weight)
        assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(made[0], made[2])
    assert not torch.equal(made[0], made[1])


def test_a_run_refuses_a_network_that_was_edited_since_and_cannot_rebuild_it(own_code, tmp_path, monkeypatch):
    path = own_code("mine", MINE)
    config = build({**SETTINGS, "policy.rewind_epoch": 0, "pruning.levels": 0, "train.epochs": 1})
    for _ in levels.run(config, tmp_path / "run"):
        pass
    path.write_text(MINE + "# edited\n")
    monkeypatch.setattr(import_paths, "_imported", {})  # as in another process
    with pytest.raises(ValueError, match="as when the run was configured"):
        prepare(config, tmp_path / "run")
    run = deepexp.load(tmp_path / "run")
    assert run.weights(0)
    with pytest.raises(ValueError, match="as when the run was configured"):
        run.model(0)


def test_changed_images_do_not_continue_a_run(own_code, tmp_path):
    """Even if the code that loads them has not changed."""
    own_code("mine", MINE.replace("default_rng(0)", "default_rng(int(np.loadtxt('seed')))"))
    (tmp_path / "seed").write_text("0")
    config = build({**SETTINGS, "policy.rewind_epoch": 0, "pruning.levels": 1, "train.epochs": 1})
    steps = levels.run(config, tmp_path / "run")
    next(steps)
    steps.close()
    (tmp_path / "seed").write_text("1")
    with pytest.raises(ValueError, match=r"must resume with the data that it began with \(data_digest"):
        next(levels.run(config, tmp_path / "run"))


def test_own_images_can_be_averaged_and_limited_and_padded(own_code):
    own_code("mine", MINE)
    given = {"data.dataset": "mine:images", "data.side": 4, "data.limit": 50, "data.validation": 10}
    made = dataset.load(build({**given, "data.crop_padding": 1}).data, 0)
    assert (made.shape, len(made.train), len(made.validation)) == ((4, 4, 2), 50, 10)
    with pytest.raises(ValueError, match=r"data.side must divide 12, the side of the images, got 5"):
        dataset.load(build({**given, "data.side": 5}).data, 0)


def test_a_plan_counts_and_times_a_run_of_ones_own(own_code, tmp_path):
    own_code("mine", MINE)
    config = build({**SETTINGS, "policy.rewind_epoch": 0})
    assert costs.images(config) == 3 * (3 * 72 + 24 // 3)
    assert costs.random_images(config, 5).shape == (12, 12, 2)
    speed = costs.speeds([config], tmp_path)[costs.work(config)]
    assert speed.images_per_second > 0


NETS = {
    "return 5": "must return a torch.nn.Module, got int",
    "return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(8))": "with Conv2d or Linear layers",
    "return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))": "logits of shape (2, 3), got (2, 4)",
    "return nn.Sequential(nn.Flatten(), nn.Linear(65, 3))": "must accept images of shape (2, 1, 8, 8)",
    "return nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Dropout())": "must not draw random numbers",
    "return nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()": "is torch.float64 on cpu",
    "return nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).to('meta')": "is torch.float32 on meta",
    "return nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).requires_grad_(False)": "requires_grad = False",
    "net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)); net[1].idle = nn.Linear(2, 2); "
    "return net": "logits do not depend on '1.idle.weight'",
    "a = nn.Linear(64, 64); return nn.Sequential(nn.Flatten(), a, a, nn.Linear(64, 3))": "'2.bias' is shared",
    "a, b = nn.Linear(64, 64), nn.Linear(64, 64); b.weight = a.weight; "
    "return nn.Sequential(nn.Flatten(), a, b, nn.Linear(64, 3))": "share no parameters, but '2.weight'",
    "return nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, 3)))": "is "
    "computed from other tensors",
}


@pytest.mark.parametrize("body", NETS)
def test_a_network_that_cannot_be_trained_and_pruned_is_refused_in_one_line(own_code, body):
    own_code("mine", f"from torch import nn\n\ndef net(classes, channels):\n    {body}\n")
    model = build({"model.name": "mine:net"}).model
    with pytest.raises(ValueError, match=r"model.name = 'mine:net' must") as error:
        networks.network(model, classes=3, shape=(8, 8, 1), seed=0)
    assert NETS[body] in str(error.value)
    assert "\n" not in str(error.value)


def test_the_networks_of_this_project_are_built_as_before():
    from deepexp import models

    made = networks.network(Model(width=0.5, norm_scale="uniform"), classes=7, shape=(8, 8, 1), seed=3)
    plain = models.build("resnet8", classes=7, channels=1, width=0.5, norm_scale="uniform", seed=3)
    assert all(torch.equal(one, two) for one, two in zip(made.parameters(), plain.parameters(), strict=True))


X, Y = "np.zeros((6, 4, 4, 1), np.uint8)", "(np.arange(6) % 2)"
IMAGES = {
    "5": "must return (train_images, train_labels), (test_images, test_labels), got int",
    f"{X}, {Y}": "(test_images, test_labels), got tuple of length 2",
    f"({X}, {Y}), ({X}, {Y}), 1": "got tuple of length 3",
    f"({X} / 255, {Y}), ({X}, {Y})": "train images (n, H, H, C) of uint8, got float64 of shape (6, 4, 4, 1)",
    f"({X}[..., 0], {Y}), ({X}, {Y})": "train images (n, H, H, C) of uint8, got uint8 of shape (6, 4, 4)",
    f"({X}, {Y}), ({X}[:, 1:], {Y})": "square test images (n, H, H, C) of uint8, got uint8 of shape (6, 3, 4",
    f"({X}, {Y}), ({X}[:, 1:, 1:], {Y})": "images of the same shape, got (4, 4, 1) and (3, 3, 1)",
    f"({X}, {Y}), ({X}[:0], {Y}[:0])": "square test images",
    f"({X}, {Y}[1:]), ({X}, {Y})": "label for each of the 6 train images, got int64 of shape (5,)",
    f"({X}, {Y} / 1), ({X}, {Y})": "one integer label for each of the 6 train images, got float64",
    f"({X}, {Y} + 1), ({X}, {Y} + 1)": "at least one image of each, got 2 classes from 1 to 2",
    f"({X}, {Y} - 1), ({X}, {Y} - 1)": "got 2 classes from -1 to 0",
    f"({X}, {Y} * 2), ({X}, {Y})": "got 2 classes from 0 to 2",
    f"({X}, {Y} * 0), ({X}, {Y} * 0)": "got 1 classes from 0 to 0",
    f"({X}, {Y}), ({X}, {Y} * 2)": "test labels from 0 to 1, as in training, got 0 to 2",
    f"({X}, {Y}), ({X}, {Y})": "must vary in every channel",
    "1 / 0": "must not fail when it is called, but it raised ZeroDivisionError: division by zero",
}


@pytest.mark.parametrize("made", IMAGES)
def test_images_that_are_not_as_they_must_be_are_refused_in_one_line(own_code, made):
    own_code("mine", f"import numpy as np\n\ndef images():\n    return {made}\n")
    config = build({"data.dataset": "mine:images"}).data
    with pytest.raises(ValueError, match=re.escape(IMAGES[made])) as error:
        dataset.load(config, 0)
    assert "\n" not in str(error.value)


GOOD = "{n: w.abs() for n, w in prunable(net).items()}"
SCORES = {
    "5": "must return a mapping with a tensor of scores for each weight tensor, got int",
    "{}": "but '0.weight' is missing",
    f"{GOOD} | {{'x': 1}}": "but 'x' is no such tensor",
    f"{GOOD} | {{'0.weight': 1}}": "but '0.weight' needs the shape (3, 4), got int",
    f"{GOOD} | {{'0.weight': torch.ones(4)}}": "but '0.weight' needs the shape (3, 4), got (4,)",
    f"{GOOD} | {{'0.weight': torch.full((3, 4), torch.nan)}}": "for '0.weight' are complex or contain NaN",
    "net.nothing": "must not fail when it is called, but it raised AttributeError",
}


@pytest.mark.parametrize("made", SCORES)
def test_scores_that_are_not_as_they_must_be_are_refused_in_one_line(own_code, made):
    own_code(
        "mine",
        f"import torch\nfrom deepexp.models import prunable\n\ndef s(net, batches):\n    return {made}\n",
    )
    code = build({"pruning.score": "mine:s"}).pruning.code
    net = torch.nn.Sequential(torch.nn.Linear(4, 3))
    with pytest.raises(ValueError, match=r"pruning.score = 'mine:s' must") as error:
        scores.own("mine:s", code, net, [], 0)
    assert SCORES[made] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_score_sees_a_copy_of_the_network_and_the_batches_of_its_level(own_code, tmp_path):
    """And the weights with the highest scores are kept."""
    own_code(
        "mine",
        """
        from deepexp.models import prunable

        def smallest(net, batches):
            x, y = next(iter(batches))
            assert net.training and x.shape == (24, 1, 8, 8) and len(y) == 24
            found = {name: -weight.abs() for name, weight in prunable(net).items()}
            for weight in net.parameters():
                weight.data.zero_()
            return {name: score.clone() for name, score in found.items()}
        """,
    )
    small = {"model.width": 0.25, "data.limit": 96, "train.batch_size": 24, "train.epochs": 1}
    given = {**small, "pruning.levels": 1, "policy.rewind_epoch": 0}
    for _ in levels.run(build({**given, "pruning.score": "mine:smallest"}), tmp_path / "run"):
        pass
    run = deepexp.load(tmp_path / "run")
    weights = torch.cat([weight.abs().flatten() for weight in run.weights(0).values()])
    alive = torch.cat([where.flatten() for _, where in run.mask(1)])
    assert weights[alive].max() <= weights[~alive].min()
    assert run.levels.test_accuracy[0] > 0


def test_a_score_that_cannot_be_imported_is_refused_before_training(own_code, tmp_path):
    own_code("mine", "x = 1\n")
    config = build({"pruning.score": "mine:taylor", "model.width": 0.25, "data.limit": 96})
    with pytest.raises(ValueError, match=r"pruning.score must name a function .* has no function 'taylor'"):
        next(levels.run(config, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_plan_names_the_panel_whose_own_images_are_missing(own_code, tmp_path):
    own_code("mine", MINE)
    for settings, message in (
        ({"data.dataset": "mine:pictures"}, "has no function 'pictures'"),
        ({"data.folder": "nothere"}, "there is no such folder as"),
    ):
        runs = [PlannedRun("pets", "lrr", build(settings))]
        with pytest.raises(ValueError, match=r"recipe mine: panels.pets.data.dataset: .*" + message):
            units.check_data("mine", runs)
    units.check_data("mine", [PlannedRun("pets", "lrr", build({"data.dataset": "mine:images"}))])
