"""A user's own folder of images: in memory if all have one size, else decoded in training; damage named."""

import numpy as np
import pytest
import torch
from PIL import Image

import deepexp
from deepexp.cli import main
from deepexp.config.build import build, read, to_toml
from deepexp.data import dataset
from deepexp.data.batches import in_order
from deepexp.data.images import Files, Images
from deepexp.runs import run as levels
from deepexp.schedule import costs

LEVELS = {"cat": 40, "dog": 200}


def _draw(path, level, size=(16, 16), mode="RGB", seed=0):
    """Write an image whose pixels are at `level` but for noise."""
    pixels = np.random.default_rng([seed, level]).integers(-8, 9, (size[1], size[0], 3)) + level
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two classes of 20 + 5 images of 16 x 16 pixels; some are JPEGs, grayscale or transparent."""
    monkeypatch.setenv("SIGNFLOW_WORKERS", "0")
    root = tmp_path / "pets"
    for name, level in LEVELS.items():
        for number in range(25):
            part = "train" if number < 20 else "test"
            ending, mode = {3: ("jpg", "RGB"), 4: ("JPEG", "L"), 5: ("png", "L")}.get(number, ("png", "RGBA"))
            _draw(root / part / name / f"{number:02d}.{ending}", level, mode=mode, seed=number)
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    (root / "train" / "readme.txt").write_text("no class")
    return root


def _data(folder, **settings):
    return build(
        {"data.folder": str(folder), **{f"data.{key}": value for key, value in settings.items()}}
    ).data


def test_every_image_has_its_class_and_its_pixels(folder):
    found = dataset.load(_data(folder), 0)
    assert (found.variant, found.classes, found.shape) == ("own", 2, (16, 16, 3))
    assert isinstance(found.train, Images)
    assert (len(found.train), len(found.test)) == (40, 10)
    for part in (found.train, found.test):
        expected = torch.tensor(list(LEVELS.values()))[part.y].float()
        torch.testing.assert_close(part.x.float().mean((1, 2, 3)), expected, atol=4, rtol=0)
    exact = torch.tensor(np.asarray(Image.open(folder / "train" / "dog" / "00.png").convert("RGB")))
    assert torch.equal(found.train.x[20], exact)


def test_images_of_any_size_are_decoded_and_cropped_in_training(folder):
    _draw(folder / "train" / "cat" / "wide.png", LEVELS["cat"], (50, 20))
    found = dataset.load(_data(folder, size=12), 0)
    assert isinstance(found.train, Files)
    assert (len(found.train), found.shape) == (41, (12, 12, 3))
    for x, y in in_order(found, found.train, 64):
        assert x.shape == (41, 3, 12, 12)
        means = (x * found.deviation.view(3, 1, 1) + found.mean.view(3, 1, 1)).mean((1, 2, 3)) * 255
        torch.testing.assert_close(means, torch.tensor(list(LEVELS.values()))[y].float(), atol=4, rtol=0)


@pytest.mark.parametrize("size", [{}, {"data.size": 16}], ids=["in memory", "in files"])
def test_a_run_on_a_folder_learns_and_can_be_read(folder, tmp_path, size):
    given = {"data.folder": str(folder), **size, "model.width": 0.25, "train.batch_size": 8}
    config = build({**given, "train.epochs": 3, "pruning.levels": 1, "policy.rewind_epoch": 0})
    assert config.run_id.startswith("folder-resnet8-lrr-s0-")
    for _ in levels.run(config, tmp_path / "run"):
        pass
    run = deepexp.load(tmp_path / "run")
    assert run.levels.test_accuracy.min() > 0.8
    assert run.dataset().digest
    assert run.model(1)(torch.zeros(1, 3, 16, 16)).shape == (1, 2)


def test_changed_images_do_not_continue_a_run(folder, tmp_path):
    given = {"data.folder": str(folder), "model.width": 0.25, "train.batch_size": 8, "train.epochs": 1}
    config = build({**given, "pruning.levels": 1, "policy.rewind_epoch": 0})
    steps = levels.run(config, tmp_path / "run")
    next(steps)
    steps.close()
    _draw(folder / "train" / "dog" / "00.png", 199, mode="RGBA")
    with pytest.raises(ValueError, match=r"must resume with the data that it began with \(data_digest"):
        next(levels.run(config, tmp_path / "run"))


def test_the_path_in_a_configuration_holds_in_every_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = build({"data.folder": "pets"})
    assert relative == build({"data.folder": str(folder)})
    assert relative.data.dataset == "folder"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert build({"data.folder": "~/pets"}) == relative
    monkeypatch.chdir("/")
    assert read(to_toml(relative)) == relative
    assert build({"data.folder": str(tmp_path)}).run_id != relative.run_id


def test_the_classes_can_be_limited_and_the_images_averaged(folder):
    _draw(folder / "train" / "ant" / "0.png", 100)
    _draw(folder / "test" / "ant" / "0.png", 100)
    found = dataset.load(_data(folder, classes=2, side=4), 0)
    assert (found.classes, found.shape, len(found.train)) == (2, (4, 4, 3), 21)


def test_a_plan_counts_the_images_of_a_folder(folder):
    given = {"data.folder": str(folder), "train.epochs": 2, "pruning.levels": 1}
    config = build({**given, "train.batch_size": 8})
    assert costs.images(config) == 2 * 2 * 40 + 2 * 10 // 3
    assert costs.random_images(config, 3).shape == (16, 16, 3)


def _remove_class(folder):
    for path in (folder / "test" / "dog").iterdir():
        path.unlink()
    (folder / "test" / "dog").rmdir()


def _empty_class(folder):
    (folder / "train" / "ant").mkdir()
    (folder / "test" / "ant").mkdir()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda root: root.rename(root.parent / "moved"),
            "data.folder must be a folder of images, but",
        ),
        (lambda root: (root / "test").rename(root / "val"), "test' must be a folder of images (No such file"),
        (lambda root: (root / "train").rename(root / "x"), "train' must be a folder of images (No such file"),
        (_remove_class, "must contain at least two class folders of images, found 1"),
        (_empty_class, "train/ant' must have *.png or *.jpg images of the class 'ant', found none"),
        (
            lambda root: (root / "test" / "dog").rename(root / "test" / "fox"),
            "test' must have the same class folders as '",
        ),
        (
            lambda root: _draw(root / "train" / "dog" / "wide.png", 1, (20, 16)),
            "wide.png' must have 16x16 pixels, but it has 20x16; set data.size to train on resized crops",
        ),
        (
            lambda root: _draw(root / "train" / "cat" / "00.png", 1, (20, 16)),
            "00.png' must be a square image, but it has 20x16 pixels; set data.size",
        ),
        (
            lambda root: (root / "train" / "cat" / "01.png").write_bytes(b"x"),
            "01.png' must be an image, but it cannot be decoded",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line_before_anything_is_trained(
    folder, tmp_path, capsys, harm, message
):
    harm(folder)
    out = tmp_path / "run"
    assert main.main(["train", "--set", f"data.folder={folder}", "--out", str(out)]) == 2
    streams = capsys.readouterr()
    assert streams.err.count("\n") == 1
    assert message in streams.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"data.dataset": "folder"},
            "folder, a path, must be given if and only if dataset = 'folder'",
        ),
        ({"data.dataset": "digits", "data.folder": "x"}, "with dataset = 'digits'; set folder and"),
        ({"data.folder": "x", "data.size": 16, "data.side": 4}, "side must be left out with size"),
        (
            {"data.folder": "x", "data.size": 16, "data.test_size": 18},
            "test_size must be left out for",
        ),
        (
            {"data.folder": "x", "data.size": 16, "data.crop_padding": 2},
            "crop_padding must be 0 with folder",
        ),
        ({"data.folder": 3}, "data.folder must be a string, got 3"),
    ],
)
def test_settings_that_do_not_go_with_a_folder_are_refused(settings, message):
    with pytest.raises(ValueError, match="data") as error:
        build(settings)
    assert message in str(error.value)


def test_a_folder_that_does_not_fit_into_memory_is_refused(folder, monkeypatch):
    from deepexp.data import reading

    monkeypatch.setattr(reading, "memory", lambda: 50 * 3 * 16 * 16 - 1)
    with pytest.raises(ValueError, match=r"the 50 images of '.*' must fit into memory, .*; set data.size"):
        dataset.load(_data(folder), 0)
    assert isinstance(dataset.load(_data(folder, size=16), 0).train, Files)
