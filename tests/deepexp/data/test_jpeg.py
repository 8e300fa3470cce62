"""Decoding: crops by their definition, damage named, the same images however many processes decode them."""

import math
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from deepexp.cli import main
from deepexp.config.build import build
from deepexp.config.sections import Data
from deepexp.config.training import Train
from deepexp.data import augment, batches
from deepexp.data import dataset as data
from deepexp.data import jpeg as decode
from deepexp.data.jpeg import DecodeJob
from deepexp.runs import run
from deepexp.storage import completeness

SETTINGS = {
    "data.dataset": "imagenet",
    "data.size": 32,
    "model.name": "resnet8",
    "model.stem": "cifar",
    "model.width": 0.25,
    "train.epochs": 2,
    "train.batch_size": 12,
    "pruning.levels": 1,
    "policy.rewind_epoch": 1,
}


def _draws(count, seed=0):
    return np.random.default_rng(seed).random((count, decode.DRAWS), np.float32)


def _box(draws, width, height):
    """The definition, one try after the other."""
    draws = [float(u) for u in draws]
    for area, ratio in zip(draws[0:20:2], draws[1:20:2], strict=True):
        area = width * height * (0.08 + 0.92 * area)
        ratio = math.exp(math.log(3 / 4) + ratio * (math.log(4 / 3) - math.log(3 / 4)))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            return [int(draws[20] * (width - wide + 1)), int(draws[21] * (height - high + 1)), wide, high]
    return None


@pytest.mark.parametrize(("width", "height"), [(64, 64), (500, 375), (333, 500), (90, 30)])
def test_random_boxes_are_the_first_try_that_fits(width, height):
    draws = _draws(2000)
    boxes = decode.random_boxes(draws, width, height)
    wanted = [_box(row, width, height) for row in draws]
    fits = [box is not None for box in wanted]
    assert boxes[fits].tolist() == [box for box in wanted if box is not None]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [width, height]).all()
    assert (sum(fits) < 2000) == (width == 90)
    if width == 90:  # the largest box of a ratio of 4/3, in the middle
        assert {tuple(box) for box in boxes[np.logical_not(fits)].tolist()} == {(25, 0, 40, 30)}
    if width == 64:  # the mean share of the area is 0.54, but for what does not fit
        share = (boxes[:, 2] * boxes[:, 3]).mean() / 64**2
        assert 0.45 < share < 0.54


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64)])
def test_the_centre_is_an_eighth_in_from_the_shorter_sides(size):
    """Of an image that is red around the middle 7/8 of its shorter side, none of the red is seen."""
    width, height = size
    side = min(size) * 7 / 8
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 255
    inside = np.ix_(
        np.abs(np.arange(height) + 0.5 - height / 2) < side / 2 + 1,
        np.abs(np.arange(width) + 0.5 - width / 2) < side / 2 + 1,
    )
    pixels[inside] = (0, 0, 255)
    image = Image.fromarray(pixels)
    seen = decode.crop(image, 32, None, False)
    assert seen.shape == (32, 32, 3)
    assert not seen[1:-1, 1:-1, 0].any()
    white = np.zeros_like(pixels)
    white[np.ix_(*(np.abs(np.arange(n) + 0.5 - n / 2) < side * 0.4 for n in (height, width)))] = 255
    assert not decode.crop(Image.fromarray(white), 32, None, False)[0].any()  # and no less than that


def test_crops_are_of_the_box_and_flips_turn_round(jpeg, tmp_path):
    jpeg(tmp_path / "x.JPEG", 100, size=(90, 70))
    image = decode.picture(tmp_path / "x.JPEG")
    draws = _draws(1)[0]
    left, top, wide, high = decode.random_boxes(draws[None], 90, 70)[0].tolist()
    found = decode.crop(image, 24, draws, False)
    box = image.crop((left, top, left + wide, top + high)).resize((24, 24), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found, np.asarray(box))
    np.testing.assert_array_equal(decode.crop(image, 24, draws, True), found[:, ::-1])


def test_resampling_on_the_device_is_that_of_pillow():
    """To the grey level that rounding makes, twice."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (6, 20, 30, 3), generator=generator, dtype=torch.uint8)
    boxes = torch.tensor(
        [[0, 0, 30, 20], [3, 2, 10, 12], [29, 19, 1, 1], [0, 5, 16, 8], [7, 0, 23, 20], [1, 1, 2, 9]]
    )
    flips = torch.tensor([False, True, False, True, False, True])
    found = augment.resample(x, boxes, flips, 33)
    assert found.shape == (6, 33, 33, 3)
    for image, (left, top, wide, high), flip, seen in zip(x, boxes.tolist(), flips, found, strict=True):
        part = Image.fromarray(image.numpy()[top : top + high, left : left + wide])
        wanted = np.asarray(part.resize((33, 33), Image.Resampling.BILINEAR)).astype(float)
        wanted = wanted[:, ::-1] if flip else wanted
        assert np.abs(seen.numpy() - wanted).max() <= 1.01


@pytest.mark.parametrize("cut", [0, 1, 100, -400, -40, -2])
def test_a_file_cut_short_anywhere_is_named(tmp_path, jpeg, cut):
    path = tmp_path / "x.JPEG"
    jpeg(path, 100)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"x\.JPEG' must be an image, but it cannot be decoded") as error:
        decode.picture(path)
    assert "\n" not in str(error.value)


def _batches(config, train, first=0, epoch=0):
    dataset = data.load(config, 0)
    return list(batches.training_batches(dataset, config, train, 0, 0, epoch, first))


@pytest.mark.parametrize("resized_crop", [True, False])
def test_batches_do_not_depend_on_the_processes_that_decode(imagenet, monkeypatch, resized_crop):
    config = Data(dataset="imagenet", size=32, resized_crop=resized_crop, flip="random")
    train = Train(batch_size=5, drop_last=False)
    base = _batches(config, train)
    assert [len(y) for _, y in base] == [5] * 7 + [1]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for count in ("1", "3") if resized_crop else ("2",):
        monkeypatch.setenv("SIGNFLOW_WORKERS", count)
        for one, two in zip(base, _batches(config, train), strict=True):
            assert torch.equal(one[0], two[0])
            assert torch.equal(one[1], two[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_crops_are_keyed_by_image_and_epoch(imagenet):
    _, levels_of_red = imagenet
    config = Data(dataset="imagenet", size=32, resized_crop=True)
    base = _batches(config, Train(batch_size=6))
    entered = _batches(config, Train(batch_size=6), first=4)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(base[4:], entered, strict=True))
    large = _batches(config, Train(batch_size=12))
    assert torch.equal(torch.cat([x for x, _ in base]), torch.cat([x for x, _ in large]))
    assert not torch.equal(base[0][0], _batches(config, Train(batch_size=6), epoch=1)[0][0])
    dataset = data.load(config, 0)
    for x, y in base:  # and every crop shows its own class
        red = (x[:, 0].mean((1, 2)) * dataset.deviation[0] + dataset.mean[0]) * 255
        torch.testing.assert_close(red, torch.tensor(levels_of_red)[y].float(), atol=25, rtol=0)


def test_resident_crops_are_keyed_by_image_and_epoch(tiny_imagenet):
    config = Data(dataset="tinyimagenet", size=96, resized_crop=True, flip="random")
    base = _batches(config, Train(batch_size=6))
    assert base[0][0].shape == (6, 3, 96, 96)
    large = _batches(config, Train(batch_size=12))
    torch.testing.assert_close(torch.cat([x for x, _ in base]), torch.cat([x for x, _ in large]))
    entered = _batches(config, Train(batch_size=6), first=2)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(base[2:], entered, strict=True))
    assert not torch.equal(base[0][0], _batches(config, Train(batch_size=6), epoch=1)[0][0])


def test_images_are_tested_in_order_and_whole(tiny_imagenet, imagenet):
    """Each as often as it is there, in batches of any size."""
    for config in (
        Data(dataset="tinyimagenet", size=80, resized_crop=True),
        Data(dataset="imagenet", size=32),
    ):
        dataset = data.load(config, 0)
        parts = [list(batches.in_order(dataset, dataset.test, size)) for size in (5, 1000)]
        (x, y), (whole, labels) = (tuple(torch.cat(both) for both in zip(*p, strict=True)) for p in parts)
        torch.testing.assert_close(x, whole)
        assert torch.equal(y, labels)
        assert torch.equal(y, dataset.test.y)
        assert x.shape == (12, 3, *dataset.shape[:2])


def test_the_centre_of_a_resized_image_is_tested(tiny_imagenet):
    """As torchvision's Resize(160) and CenterCrop(140) show it: the protocol s2s has 256 and 224."""
    config = Data(dataset="tinyimagenet", size=140, test_size=160, resized_crop=True)
    dataset = data.load(config, 0)
    ((x, _),) = batches.in_order(dataset, dataset.test, 1000)
    whole = dataset.normalise(dataset.test.x)
    resized = torch.nn.functional.interpolate(whole, size=160, mode="bilinear", align_corners=False)
    torch.testing.assert_close(x, resized[:, :, 10:150, 10:150], rtol=0, atol=1e-5)


def test_large_images_are_tested_in_small_batches(imagenet, monkeypatch):
    monkeypatch.setattr(batches, "_PIXELS", 3 * 32 * 32)
    dataset = data.load(Data(dataset="imagenet", size=32), 0)
    assert [len(y) for _, y in batches.in_order(dataset, dataset.test, 1000)] == [3] * 4


def test_batches_are_shared_where_there_is_room_and_else_sent(jpeg, tmp_path, monkeypatch):
    """In a container with little shared memory, a process that shared more would be killed."""
    jpeg(tmp_path / "x.JPEG", 100)
    job, nbytes = DecodeJob([str(tmp_path / "x.JPEG")] * 3), 3 * 32 * 32 * 3
    found = []
    for room in (8 * nbytes, 8 * nbytes + 1):
        monkeypatch.setattr(decode, "_room", lambda room=room: room)
        found.append(decode._Decoder(32, 4)[job])
    assert [type(batch) for batch in found] == [np.ndarray, torch.Tensor]
    assert torch.equal(torch.from_numpy(found[0]), found[1])


def test_a_decoded_batch_lies_in_shared_memory(jpeg, tmp_path, monkeypatch):
    jpeg(tmp_path / "x.JPEG", 100)
    if decode._room() < 1 << 20:
        pytest.skip("there is no shared memory here")
    monkeypatch.setenv("SIGNFLOW_WORKERS", "1")
    (batch,) = decode.decoded([DecodeJob([str(tmp_path / "x.JPEG")])], 32)
    assert batch.is_shared()
    monkeypatch.setattr(torch.utils.data, "DataLoader", _pins)
    with pytest.raises(_Asked) as asked:
        next(decode.decoded([], 32, pinned=True))
    assert asked.value.args == (True,)


class _Asked(Exception):
    pass


def _pins(*_, pin_memory, **__):
    raise _Asked(pin_memory)


def _rows(config, folder):
    return [event.row for event in run.run(config, folder) if event.row is not None]


def test_a_run_on_files_is_resumed_to_the_bit(imagenet, tmp_path, monkeypatch, same_run):
    """After every event, with another number of processes, and after an image that could not be decoded."""
    config = build(SETTINGS)
    _rows(config, tmp_path / "whole")
    seen = set()
    while not completeness.is_complete(tmp_path / "stopped", config):
        monkeypatch.setenv("SIGNFLOW_WORKERS", "1" if len(seen) == 3 else "0")
        for event in run.run(config, tmp_path / "stopped"):
            where = (event.level, event.step, event.row is None)
            if where not in seen:
                seen.add(where)
                break
    assert len(seen) == 6
    same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_image_that_cannot_be_decoded_ends_the_run_and_loses_nothing(
    imagenet, tmp_path, monkeypatch, capsys, same_run, workers
):
    root, _ = imagenet
    config = build(SETTINGS)
    _rows(config, tmp_path / "whole")
    for event in run.run(config, tmp_path / "run"):
        if event.step == 3:
            break
    image = root / "train" / "n02" / "n02_7.JPEG"
    content = image.read_bytes()
    image.write_bytes(content[:-50] + bytes(50))  # of the same length: not noticed before it is read
    monkeypatch.setenv("SIGNFLOW_WORKERS", workers)
    options = [f"{key}={value}" for key, value in SETTINGS.items() if key != "data.dataset"]
    command = ["train", "--dataset", "imagenet", "--set", *options, "--out", str(tmp_path / "run"), "--quiet"]
    assert main.main(command) == 1
    streams = capsys.readouterr()
    assert streams.err.count("\n") == 1
    assert f"'{image}' must be an image" in streams.err
    image.write_bytes(content)
    assert main.main(command) == 0
    same_run(tmp_path / "whole", tmp_path / "run")


def test_the_number_of_processes_is_a_number(monkeypatch):
    monkeypatch.setenv("SIGNFLOW_WORKERS", "-1")
    with pytest.raises(
        ValueError, match="SIGNFLOW_WORKERS must be a number of processes, 0 to 1024, got '-1'"
    ):
        decode.workers()
    monkeypatch.delenv("SIGNFLOW_WORKERS")
    assert decode.workers() >= 1


def test_a_job_without_draws_is_the_centre(jpeg, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNFLOW_WORKERS", "0")
    jpeg(tmp_path / "x.JPEG", 100, size=(70, 50))
    path = str(tmp_path / "x.JPEG")
    plain, flipped = decode.decoded([DecodeJob([path]), DecodeJob([path], flips=np.array([True]))], 32)
    assert torch.equal(plain.flip(2), flipped)
    np.testing.assert_array_equal(plain[0], decode.crop(decode.picture(path), 32, None, False))


@pytest.mark.parametrize("count", [0, 1])
def test_what_pillow_warns_of_reaches_nobody(tmp_path, monkeypatch, capfd, count):
    """EXIF tags that it cannot read, palettes of bytes: in this process and in those that decode ahead."""
    monkeypatch.setenv("SIGNFLOW_WORKERS", str(count))
    palette = Image.new("P", (9, 9))
    palette.putpalette(range(30))
    palette.save(tmp_path / "palette.JPEG", "PNG", transparency=bytes(range(10)))
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"  # more entries than there are
    Image.new("RGB", (9, 9)).save(tmp_path / "exif.JPEG", "JPEG", exif=exif)
    paths = [str(tmp_path / name) for name in ("palette.JPEG", "exif.JPEG")]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for path in paths:
            with Image.open(path) as image:
                image.getexif()
                image.convert("RGB")
    assert len(seen) == 2  # of Pillow's own
    (images,) = decode.decoded([DecodeJob(paths)], 8)
    assert images.shape == (2, 8, 8, 3)
    assert capfd.readouterr() == ("", "")
