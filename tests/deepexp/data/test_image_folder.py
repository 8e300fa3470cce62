"""Folders of JPEG files: every image with its own class, whole copies told from parts, damage named."""

import hashlib
import http.server
import os
import shutil
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from deepexp.cli import main
from deepexp.config.build import build
from deepexp.config.sections import Data
from deepexp.data import catalogue, dataset, download, image_folder
from deepexp.data.images import Files, Images

TINY = Data(dataset="tinyimagenet")


def _red(images):
    """The mean of the red channel by image, over the middle of every picture."""
    return images.x[:, 16:48, 16:48, 0].float().mean((1, 2))


def test_every_image_has_its_own_class(tiny_imagenet):
    """Trap: Tiny ImageNet's validation images are in no class folders, and in no class's order either."""
    _, levels = tiny_imagenet
    found = dataset.load(TINY, 0)
    assert (found.variant, found.classes, found.shape) == ("subset", 3, (64, 64, 3))
    for part, count in ((found.train, 24), (found.test, 12)):
        assert isinstance(part, Images)
        assert torch.bincount(part.y).tolist() == [count // 3] * 3
        torch.testing.assert_close(_red(part), torch.tensor(levels)[part.y].float(), atol=10, rtol=0)


def test_grayscale_images_are_rgb(tiny_imagenet):
    x = dataset.load(TINY, 0).train.x
    gray = (x[..., 0] == x[..., 1]).all(2).all(1) & (x[..., 0] == x[..., 2]).all(2).all(1)
    assert int(gray.sum()) == 3


def test_the_first_classes_by_name(tiny_imagenet):
    _, levels = tiny_imagenet
    found = dataset.load(Data(dataset="tinyimagenet", classes=2), 0)
    assert (found.classes, len(found.train), len(found.test)) == (2, 16, 8)
    torch.testing.assert_close(_red(found.test), torch.tensor(levels)[found.test.y].float(), atol=10, rtol=0)
    with pytest.raises(ValueError, match=r"data\.classes must be at most 3, the number of classes in"):
        dataset.load(Data(dataset="tinyimagenet", classes=4), 0)


def test_a_copy_with_every_image_is_complete(tiny_imagenet, monkeypatch):
    published = replace(catalogue.SOURCES["tinyimagenet"], classes=3, images=(24, 12))
    monkeypatch.setitem(catalogue.SOURCES, "tinyimagenet", published)
    assert image_folder.listing("tinyimagenet").variant == "complete"
    assert image_folder.listing("tinyimagenet", 2).variant == "complete"  # the copy, whatever is used of it
    (tiny_imagenet[0] / "train" / "n01" / "images" / "n01_0.JPEG").unlink()
    assert image_folder.listing("tinyimagenet").variant == "subset"


def test_the_digest_is_of_the_images(tiny_imagenet):
    """So that a run goes on with the images that it began with."""
    root, _ = tiny_imagenet
    before = dataset.load(TINY, 0).digest
    assert dataset.load(TINY, 0).digest == before
    image = root / "train" / "n01" / "images" / "n01_0.JPEG"
    content = bytearray(image.read_bytes())
    content[-40] ^= 1  # the length stays
    image.write_bytes(content)
    assert dataset.load(TINY, 0).digest != before


def test_imagenet_is_listed_and_left_in_its_files(imagenet):
    root, _ = imagenet
    found = dataset.load(Data(dataset="imagenet", validation=6), 0)
    assert (found.variant, found.classes, found.shape) == ("subset", 3, (224, 224, 3))
    assert (len(found.train), len(found.validation), len(found.test)) == (30, 6, 12)
    for part, folder in ((found.train, "train"), (found.validation, "train"), (found.test, "val")):
        assert isinstance(part, Files)
        for path, label in zip(part.paths, part.y.tolist(), strict=True):
            assert Path(path).parent == root / folder / f"n0{label + 1}"
    assert not set(found.train.paths) & set(found.validation.paths)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def _remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("where", "what", "message"),
    [
        ("", _remove, "tinyimagenet must be in"),
        ("train/n01", _remove, "must name an image and one of the training classes, but line 2 is 'val_10"),
        ("train/n01/images", _remove, "train/n01/images' must be a folder of images (No such file"),
        ("val/val_annotations.txt", _remove, "val_annotations.txt' must list the classes"),
        ("val/images/val_3.JPEG", _remove, "there is no image for 'val_3.JPEG'"),
        ("train/n02/images/n02_5.JPEG", _cut, "n02_5.JPEG' must be an image, but it cannot be decoded"),
        ("val/images/val_3.JPEG", _cut, "val_3.JPEG' must be an image, but it cannot be decoded"),
    ],
)
def test_damaged_copies_are_one_line_before_anything_is_trained(
    tiny_imagenet, tmp_path, capsys, where, what, message
):
    what(tiny_imagenet[0] / where)
    arguments = ["--dataset", "tinyimagenet", "--out", str(tmp_path / "run"), "--profile", "smoke"]
    for command in (["train", *arguments, "--set", "data.classes=3"], ["data", "verify", "tinyimagenet"]):
        assert main.main(command) == 2
        streams = capsys.readouterr()
        assert streams.err.count("\n") == 1
        assert message in streams.err
    assert not (tmp_path / "run").exists()


def test_what_the_annotations_and_the_folders_lack(tiny_imagenet, jpeg):
    root, _ = tiny_imagenet
    jpeg(root / "val" / "images" / "val_99.JPEG", 20)
    with pytest.raises(ValueError, match=r"there is no line for 'val_99\.JPEG';"):
        image_folder.listing("tinyimagenet")
    (root / "val" / "images" / "val_99.JPEG").unlink()
    notes = root / "val" / "val_annotations.txt"
    lines = notes.read_bytes()
    notes.write_bytes(lines + b"val_3.JPEG\tn01\t0\t0\t63\t63\n")
    with pytest.raises(ValueError, match=r"there is more than one line for 'val_3\.JPEG'"):
        image_folder.listing("tinyimagenet")
    notes.write_bytes(lines + b"\xff\tn01\n")
    with pytest.raises(ValueError, match=r"val_annotations\.txt' must have one line for every image"):
        image_folder.listing("tinyimagenet")
    notes.write_bytes(lines)
    jpeg(root / "train" / "n01" / "images" / "wide.JPEG", 128, size=(65, 64))
    with pytest.raises(ValueError, match=r"wide\.JPEG' must have 64x64 pixels, but it has 65x64"):
        dataset.load(TINY, 0)
    with pytest.raises(ValueError, match=r"1 of 37 images are damaged, the first: .*wide\.JPEG"):
        image_folder.verify("tinyimagenet")
    for name in ("n01", "n02", "n03"):
        _remove(root / "train" / name)
    with pytest.raises(ValueError, match="at least two class folders of images, found 0"):
        dataset.load(TINY, 0)


def test_imagenet_needs_its_classes_in_both_parts(imagenet):
    root, _ = imagenet
    _remove(root / "val" / "n02")
    with pytest.raises(ValueError, match=r"must have the same class folders .* only one of them has 'n02'"):
        image_folder.listing("imagenet")
    for name in ("n01", "n03"):
        _remove(root / "val" / name)
    with pytest.raises(ValueError, match=r"val' must contain at least two class folders"):
        image_folder.listing("imagenet")
    (root / "train" / "n02" / "n02_0.JPEG").rename(root / "n02_0.JPEG")
    for file in (root / "train" / "n02").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"must have \*\.JPEG images of the class 'n02'"):
        image_folder.listing("imagenet")


def test_verify_says_what_is_there(tiny_imagenet, capsys):
    assert main.main(["data", "verify", "tinyimagenet"]) == 0
    said = "tinyimagenet: subset (3 classes, 24 training and 12 test images, all of them decoded)\n"
    said += "plan a run on it: deepexp train --dataset tinyimagenet --dry-run\n"
    assert capsys.readouterr().out == said
    assert main.main(["doctor"]) == 0
    assert "tinyimagenet: subset\n" in capsys.readouterr().out


def test_imagenet_is_verified_and_not_fetched(imagenet, capsys, monkeypatch, tmp_path):
    assert main.main(["data", "verify", "imagenet"]) == 0
    assert "subset (3 classes, 36 training and 12 test images" in capsys.readouterr().out
    assert download.fetch("imagenet") == imagenet[0]  # it is there
    monkeypatch.setenv("SIGNFLOW_DATA", str(tmp_path))
    assert main.main(["data", "fetch", "imagenet"]) == 2
    streams = capsys.readouterr()
    assert streams.err.count("\n") == 1
    assert "imagenet must be downloaded by hand" in streams.err


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_fetched_archive_is_compared_and_unpacked(tiny_imagenet, tmp_path, monkeypatch):
    root, _ = tiny_imagenet
    archive = shutil.make_archive(tmp_path / "served" / "tiny-imagenet-200", "zip", root.parent, root.name)
    md5 = hashlib.md5(Path(archive).read_bytes()).hexdigest()
    monkeypatch.setitem(
        catalogue.SOURCES, "tinyimagenet", replace(catalogue.SOURCES["tinyimagenet"], md5=md5)
    )
    _remove(root)
    handler = partial(_Quiet, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/tiny-imagenet-200.zip"
        assert download.fetch("tinyimagenet", url=url, progress=False) == root
        server.shutdown()
    assert len(dataset.load(TINY, 0).train) == 24


@pytest.mark.data
def test_real_tiny_imagenet(real_data):
    """A class's mean picture of 8x8 pixels tells its validation images: over three times chance."""
    if not (catalogue.folder() / "tiny-imagenet-200").is_dir():
        pytest.skip("SIGNFLOW_DATA has no Tiny ImageNet")
    listed = image_folder.listing("tinyimagenet")
    assert len(listed.classes) == 200
    for part in (listed.train, listed.test):
        assert len(torch.bincount(torch.from_numpy(part.y)).unique()) == 1
    found = dataset.load(Data(dataset="tinyimagenet", classes=20), 0)
    train, test = (part.x[:, 4::8, 4::8].flatten(1).float() for part in (found.train, found.test))
    means = torch.stack([train[found.train.y == label].mean(0) for label in range(20)])
    right = (torch.cdist(test, means).argmin(1) == found.test.y).float().mean()
    assert float(right) > 3 / 20


def test_tiny_imagenet_trains_at_another_size(tiny_imagenet, tmp_path):
    from deepexp.runs import run

    settings = {
        "data.dataset": "tinyimagenet",
        "train.epochs": 1,
        "train.batch_size": 12,
        "pruning.levels": 0,
        "policy.rewind_epoch": 0,
        "data.crop_padding": 0,
        "data.resized_crop": True,
        "data.size": 80,
    }
    rows = [event.row for event in run.run(build(settings), tmp_path / "run") if event.row]
    assert len(rows) == 1
    with pytest.raises(ValueError, match=r"data\.size must be at least 64, the size of the images, got 63"):
        dataset.load(build({**settings, "data.size": 63}).data, 0)


def test_strays_and_dangling_links_are_no_images_and_no_classes(tiny_imagenet, imagenet):
    """Of editors, file managers and notebooks."""
    for name, inside in (("tinyimagenet", "images"), ("imagenet", "")):
        root = catalogue.folder() / catalogue.SOURCES[name].folder
        before = image_folder.listing(name)
        train = root / "train"
        (train / ".ipynb_checkpoints" / inside).mkdir(parents=True)
        shutil.copy(before.train.paths[0], train / ".ipynb_checkpoints" / inside / "n01_0.JPEG")
        (train / ".DS_Store").write_bytes(b"x")
        (train / "gone").symlink_to("nowhere")
        for folder in (train / "n01" / inside, root / "val" / ("images" if inside else "n01")):
            shutil.copy(before.train.paths[0], folder / ".n01_0.JPEG")
            (folder / "gone.JPEG").symlink_to("nowhere")
            (folder / "folder.jpg").mkdir()
        if not inside:
            (root / "val" / ".cache").mkdir()
        found = image_folder.listing(name)
        assert found.digest == before.digest
        assert (found.classes, found.train.paths) == (before.classes, before.train.paths)


def test_names_of_other_encodings_and_marked_annotations_are_read(tiny_imagenet):
    root, _ = tiny_imagenet
    before = image_folder.listing("tinyimagenet").digest
    notes = root / "val" / "val_annotations.txt"
    notes.write_bytes(b"\xef\xbb\xbf" + notes.read_bytes().replace(b"\n", b"\r\n"))
    assert image_folder.listing("tinyimagenet").digest == before
    name = os.fsencode(root / "train" / "n01" / "images") + b"/\xe9.JPEG"  # Latin-1
    shutil.copy(image_folder.listing("tinyimagenet").train.paths[0], name)
    assert image_folder.listing("tinyimagenet").digest != before
