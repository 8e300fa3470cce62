import os
import sys
import textwrap

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
torch.set_num_threads(1)


@pytest.fixture
def tiny():
    """Settings of a run that takes about a second: 160 images, a quarter of ResNet8's width, 3 levels."""
    return {
        "model.width": 0.25,
        "data.limit": 160,
        "train.epochs": 3,
        "train.batch_size": 32,
        "pruning.levels": 2,
        "policy.rewind_epoch": 1,
    }


@pytest.fixture
def jpeg():
    """Write a JPEG whose red channel is at `level` but for noise; a grayscale one has it in every channel."""
    import numpy as np
    from PIL import Image

    def write(path, level, size=(64, 64), mode="RGB", seed=0):
        rng = np.random.default_rng([seed, level])
        pixels = rng.integers(100, 156, (size[1], size[0], 3))
        pixels[..., 0] = level + rng.integers(-8, 9, pixels.shape[:2])
        image = Image.fromarray(pixels.astype(np.uint8))
        if mode == "L":
            image = image.getchannel(0)
        path.parent.mkdir(parents=True, exist_ok=True)
        image.convert(mode).save(path, "JPEG", quality=95)

    return write


@pytest.fixture
def tiny_imagenet(tmp_path, monkeypatch, jpeg):
    """Tiny ImageNet's layout with 3 classes of 8 + 4 images, and the levels of red by class.

    The names' order is not that of wnids.txt, and neither is that of the validation images.
    """
    levels = {"n03": 20, "n01": 128, "n02": 236}
    root = tmp_path / "data" / "tiny-imagenet-200"
    for name, level in levels.items():
        for number in range(8):
            mode = "L" if number == 5 else "RGB"
            jpeg(root / "train" / name / "images" / f"{name}_{number}.JPEG", level, mode=mode, seed=number)
        (root / "train" / name / f"{name}_boxes.txt").write_text("")
    notes = []
    for number in range(12):
        name = list(levels)[number % 3]
        jpeg(root / "val" / "images" / f"val_{number}.JPEG", levels[name], seed=100 + number)
        notes.append(f"val_{number}.JPEG\t{name}\t0\t0\t63\t63\n")
    (root / "val" / "val_annotations.txt").write_text("".join(reversed(notes)))
    (root / "wnids.txt").write_text("".join(f"{name}\n" for name in levels))
    monkeypatch.setenv("SIGNFLOW_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SIGNFLOW_WORKERS", "0")
    return root, [levels[name] for name in sorted(levels)]


@pytest.fixture
def imagenet(tmp_path, monkeypatch, jpeg):
    """ImageNet's layout with 3 classes of 12 + 4 images of many sizes and modes, and their levels of red."""
    levels, root = {"n01": 20, "n02": 128, "n03": 236}, tmp_path / "data" / "imagenet"
    for label, (name, level) in enumerate(levels.items()):
        for number in range(16):
            part = "train" if number < 12 else "val"
            size = (40 + 3 * number, 70 - 2 * number)
            mode = {3: "L", 5: "CMYK"}.get(number, "RGB")
            jpeg(root / part / name / f"{name}_{number}.JPEG", level, size, mode, 16 * label + number)
    monkeypatch.setenv("SIGNFLOW_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SIGNFLOW_WORKERS", "0")
    return root, list(levels.values())


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """Write a module of a user's own into the current folder; another test may write one of the same name."""
    from deepexp.config import import_paths

    written = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(import_paths, "_imported", {})

    def write(name, text):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        written.append(name.partition(".")[0])
        return path

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] in written]:
        del sys.modules[name]


@pytest.fixture
def real_data():
    """Skip unless SIGNFLOW_DATA holds the official layouts."""
    if not os.environ.get("SIGNFLOW_DATA"):
        pytest.skip("SIGNFLOW_DATA is not set")


@pytest.fixture
def same_run():
    """Assert that two folders hold the same run, byte by byte; only times and speeds may differ."""
    return _assert_same_run


def _assert_same_run(first, second):
    def files(folder):
        timed = ("about.json", "progress.json", "log.txt")
        found = (path for path in folder.rglob("*") if path.is_file() and path.name not in timed)
        return sorted(path.relative_to(folder) for path in found)

    assert files(first) == files(second)
    for path in files(first):
        one, two = first / path, second / path
        assert one.read_bytes() == two.read_bytes(), path
        assert one.stat().st_mode == two.stat().st_mode, path
