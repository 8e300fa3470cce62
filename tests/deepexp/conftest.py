import os

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
