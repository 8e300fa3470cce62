"""Data: known variants, safe reading, downloads that survive their server, seeded splits, augmentation."""

import hashlib
import http.server
import io
import os
import pickle
import tarfile
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from deepexp.config.build import build
from deepexp.config.sections import Data
from deepexp.config.seeds import stream
from deepexp.config.training import Train
from deepexp.data import catalogue, download
from deepexp.data import dataset as data
from deepexp.data.augment import augment
from deepexp.data.batches import training_batches

TRAIN = Train(batch_size=32)


def test_digits_are_the_known_ones_and_split_in_five():
    digits = data.load(Data(), 0)
    assert digits.variant == "scikit-learn"
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (1438, 0, 359)
    assert digits.train.x.shape[1:] == (8, 8, 1)
    assert digits.train.x.dtype == torch.uint8
    x = digits.normalise(digits.train.x)
    assert abs(float(x.mean())) < 1e-5
    assert float(x.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_validation_and_limit_are_seeded_and_disjoint():
    whole = data.load(Data(), 0)
    first, again, other = (data.load(Data(validation=300, limit=500), seed) for seed in (0, 0, 1))
    assert (len(first.train), len(first.validation)) == (500, 300)
    assert torch.equal(first.train.x, again.train.x)
    assert not torch.equal(first.validation.x, other.validation.x)
    assert torch.equal(first.test.x, whole.test.x)
    for part in (whole, first):  # of what is trained on: held-out images tell nothing
        x = part.train.x.double() / 255
        torch.testing.assert_close(part.mean, x.mean((0, 1, 2)).float())
        torch.testing.assert_close(part.deviation, x.std((0, 1, 2), correction=0).float())
    assert not torch.equal(first.mean, whole.mean)
    full = data.load(Data(validation=300), 0)

    def key(images):
        return sorted(bytes(image.numpy()) for image in images.x)

    assert sorted(key(full.train) + key(full.validation)) == key(whole.train)


def _epoch(config, train=TRAIN, seed=0, level=0, epoch=0, first=0):
    dataset = data.load(config, 0)
    return list(training_batches(dataset, config, train, seed, level, epoch, first))


def test_an_epoch_sees_every_image_once():
    batches = _epoch(Data(), Train(batch_size=100, drop_last=False))
    assert [len(y) for _, y in batches] == [100] * 14 + [38]
    dataset = data.load(Data(), 0)
    seen = torch.cat([x for x, _ in batches]).flatten(1).sort(0).values
    assert torch.equal(seen, dataset.normalise(dataset.train.x).flatten(1).sort(0).values)
    assert len(_epoch(Data(), Train(batch_size=100))) == 14


def test_batches_depend_on_seed_level_and_epoch_alone():
    config = Data(crop_padding=1, flip="random")
    torch.manual_seed(0)
    base = _epoch(config)
    torch.manual_seed(1)
    for one, two in zip(base, _epoch(config), strict=True):
        assert torch.equal(one[0], two[0])
    assert all(torch.equal(a[0], b[0]) for a, b in zip(base[3:], _epoch(config, first=3), strict=True))
    for other in ({"seed": 1}, {"level": 1}, {"epoch": 1}):
        assert not torch.equal(base[0][0], _epoch(config, **other)[0][0])
    large = torch.cat([x for x, _ in _epoch(config, Train(batch_size=64))])  # keyed by image, not by batch
    assert torch.equal(large, torch.cat([x for x, _ in base])[: len(large)])


@pytest.mark.parametrize("mode", ["zero", "reflect"])
def test_augmentation_is_pad_crop_flip(mode):
    """Against the obvious: pad the image, cut the window, turn it round."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (5, 9, 7, 3), generator=generator, dtype=torch.uint8)
    config = Data(crop_padding=3, padding_mode=mode, flip="random")
    index = torch.tensor([4, 0, 0, 2])
    shifts = torch.tensor([[0, 0], [3, 3], [6, 1], [2, 5]])
    flips = torch.tensor([False, False, True, True])
    found = augment(x, index, shifts, flips, config)
    for i, image in enumerate(x[index].numpy()):
        padded = np.pad(image, ((3, 3), (3, 3), (0, 0)), "reflect" if mode == "reflect" else "constant")
        row, column = shifts[i].tolist()
        window = padded[row : row + 9, column : column + 7]
        np.testing.assert_array_equal(found[i].numpy(), window[:, ::-1] if flips[i] else window)


def test_alternating_flips_show_every_image_both_ways():
    config = Data(flip="alternating")
    dataset = data.load(config, 0)
    pictures = []
    for epoch in (0, 1, 2):
        batches = training_batches(dataset, config, Train(batch_size=1438), 0, 0, epoch)
        x = next(batches)[0]
        generator = torch.Generator().manual_seed(stream(0, "epoch", 0, epoch))
        order = torch.randperm(1438, generator=generator)
        pictures.append(x[order.argsort()])
    assert torch.equal(pictures[0], pictures[1].flip(3))
    assert torch.equal(pictures[0], pictures[2])
    assert (
        0.4
        < float((pictures[0] == dataset.normalise(dataset.train.x)).flatten(1).all(1).float().mean())
        < 0.6
    )


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A CIFAR-like source of 4 + 2 images in tmp_path, 'official' to SOURCES."""
    monkeypatch.setenv("SIGNFLOW_DATA", str(tmp_path))
    rng = np.random.default_rng(0)
    source = replace(catalogue.SOURCES["cifar10"], parts=("data_batch_1", "test_batch"), folder="small")
    folder = tmp_path / "small"
    folder.mkdir()
    sums = []
    for part, count in zip(source.parts, (4, 2), strict=True):
        labels, pixels = rng.integers(10, size=count), rng.integers(256, size=(count, 3072), dtype=np.uint8)
        (folder / part).write_bytes(pickle.dumps({b"labels": labels.tolist(), b"data": pixels}, protocol=2))
        rows = b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, pixels, strict=True))
        sums.append(hashlib.sha1(rows).hexdigest())
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(folder, "small")
        ballast = tarfile.TarInfo("small/ballast")  # so that a transfer can break after some chunks
        ballast.size = 400_000
        tar.addfile(ballast, io.BytesIO(rng.bytes(ballast.size)))
    content = archive.getvalue()
    source = replace(source, variants={"official": tuple(sums)}, md5=hashlib.md5(content).hexdigest())
    monkeypatch.setitem(catalogue.SOURCES, "cifar10", source)
    return folder, content


def test_the_layout_is_the_official_one(small):
    folder, _ = small
    batch = pickle.loads((folder / "test_batch").read_bytes())
    found = data.load(Data(dataset="cifar10"), 0)
    assert found.variant == "official"
    assert found.test.y.tolist() == batch[b"labels"]
    images = batch[b"data"].reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(found.test.x.permute(0, 3, 1, 2).numpy(), images)


def test_an_unknown_variant_is_refused_unless_asked_for(small):
    folder, _ = small
    batch = pickle.loads((folder / "test_batch").read_bytes())
    batch[b"data"][0, 0] ^= 1
    (folder / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    assert catalogue.verify("cifar10") == "unknown"
    with pytest.raises(ValueError, match="must match a known copy"):
        data.load(Data(dataset="cifar10"), 0)
    assert data.load(Data(dataset="cifar10", accept_unknown=True), 0).variant == "unknown"


def test_a_batch_cannot_run_code(small, tmp_path):
    folder, _ = small

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "harm"),))

    (folder / "test_batch").write_bytes(pickle.dumps({b"labels": [0], b"data": Evil()}))
    with pytest.raises(ValueError, match="which no batch of images needs"):
        catalogue.verify("cifar10")
    assert not (tmp_path / "harm").exists()


def test_missing_and_damaged_files_say_what_to_do(small):
    folder, _ = small
    (folder / "test_batch").write_bytes((folder / "test_batch").read_bytes()[:500])
    with pytest.raises(ValueError, match="must be an official python batch"):
        catalogue.verify("cifar10")
    (folder / "test_batch").unlink()
    with pytest.raises(ValueError, match="run `deepexp data fetch cifar10` or set SIGNFLOW_DATA"):
        catalogue.verify("cifar10")


class _Server(http.server.ThreadingHTTPServer):
    """Serves `content`, misbehaving as `script` says, one word a request: ok when it is exhausted."""

    def __init__(self, content, script):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.script, self.ranges = content, list(script), []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/cifar-10-python.tar.gz"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        word = server.script.pop(0) if server.script else "ok"
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if word == "fail":
            self.send_error(503)
            return
        assert self.headers.get("Accept-Encoding") == "identity"
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked and word != "no range" else 0
        if first >= len(server.content) > 0 and first:
            self.send_error(416)
            return
        body = server.content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        if word == "gzip":  # of what is one already, as Apache's mod_mime says
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if word == "tamper":
            body = bytes([body[0] ^ 1]) + body[1:]
        self.wfile.write(body[: len(body) // 2] if word == "truncate" else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(small, monkeypatch):
    """Start a server with a script, in a world where nothing was fetched yet and nobody sleeps."""
    folder, content = small
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    monkeypatch.setattr("time.sleep", lambda _: None)
    servers = []

    def start(*script):
        server = _Server(content, script)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "script",
    [
        (),
        ("fail", "fail"),
        ("truncate",),
        ("truncate", "truncate", "fail"),
        ("tamper",),
        ("truncate", "no range"),
        ("gzip",),
    ],
)
def test_a_download_survives_its_server(serve, tmp_path, script):
    server = serve(*script)
    assert download.fetch("cifar10", url=server.url, progress=False) == tmp_path / "small"
    assert catalogue.verify("cifar10") == "official"
    assert len(server.ranges) == sum(word not in ("no range", "gzip") for word in script) + 1
    if script[:1] == ("truncate",):  # the chunks that had arrived are not asked for again
        assert 100_000 < int(server.ranges[1].removeprefix("bytes=").rstrip("-")) <= len(server.content) // 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cifar-10-python.tar.gz", "small"]
    server.script = ["fail"] * 9
    assert download.fetch("cifar10", url=server.url, progress=False) == tmp_path / "small"  # no request


def test_a_part_of_the_data_set_in_its_place_is_told_before_the_download(serve, small):
    folder, _ = small
    server = serve()
    folder.mkdir()
    (folder / "data_batch_1").write_text("of another archive")
    with pytest.raises(
        ValueError, match="'test_batch' is missing there; move or delete the folder, and fetch again"
    ):
        download.fetch("cifar10", url=server.url, progress=False)
    assert server.ranges == []
    assert (folder / "data_batch_1").read_text() == "of another archive"
    (folder / "data_batch_1").unlink()
    download.fetch("cifar10", url=server.url, progress=False)  # an empty one is in nobody's way
    assert catalogue.verify("cifar10") == "official"


@pytest.mark.parametrize("parts", [["data_batch_1"], ["data_batch_1", "test_batch"]])
def test_what_another_process_unpacks_meanwhile_stays(serve, small, monkeypatch, parts):
    folder, _ = small
    server, real = serve(), tarfile.TarFile.extractall

    def extractall(file, aside):
        real(file, aside)
        folder.mkdir()
        for part in parts:
            (folder / part).write_text("theirs")

    monkeypatch.setattr(tarfile.TarFile, "extractall", extractall)
    if len(parts) == 1:
        with pytest.raises(ValueError, match="'test_batch' is missing there; move or delete"):
            download.fetch("cifar10", url=server.url, progress=False)
    else:
        download.fetch("cifar10", url=server.url, progress=False)
    assert [(folder / part).read_text() for part in parts] == ["theirs"] * len(parts)


def test_an_archive_is_unpacked_by_a_python_without_filters(serve, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    assert download.fetch("cifar10", url=serve().url, progress=False).is_dir()
    assert catalogue.verify("cifar10") == "official"


@pytest.mark.parametrize(("word", "message"), [("fail", "503"), ("tamper", "(?i)hash")])
def test_a_download_that_cannot_succeed_is_one_line_and_leaves_no_data(serve, tmp_path, word, message):
    server = serve(*[word] * 20)
    with pytest.raises(ValueError, match=message) as error:
        download.fetch("cifar10", url=server.url, progress=False)
    assert "\n" not in str(error.value)
    assert "SIGNFLOW_DATA" in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.data
def test_real_cifar10(real_data):
    dataset = data.load(Data(dataset="cifar10"), 0)
    assert dataset.variant in catalogue.SOURCES["cifar10"].variants
    assert torch.bincount(dataset.train.y).tolist() == [5000] * 10
    assert torch.bincount(dataset.test.y).tolist() == [1000] * 10
    assert dataset.mean.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    assert dataset.deviation.tolist() == pytest.approx([0.2470, 0.2435, 0.2616], abs=5e-5)


@pytest.mark.data
def test_real_cifar100(real_data):
    dataset = data.load(Data(dataset="cifar100"), 0)
    assert dataset.variant == "official"
    assert torch.bincount(dataset.train.y).tolist() == [500] * 100


def test_protocols_augment_as_they_say():
    assert build({"data.dataset": "cifar10"}, protocol="s2s").data.crop_padding == 4
    assert build({"data.dataset": "digits"}).data.flip == "none"
