import os

import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors")
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
    """Assert that two folders hold the same run: tables byte by byte, tensors bit by bit."""
    return _assert_same_run


def _assert_same_run(first, second):
    for name in ("levels.csv", "layers.csv", "epochs.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    kinds = ("masks", "signs", "weights", "states")
    files = [sorted(p.relative_to(f) for k in kinds for p in (f / k).glob("*")) for f in (first, second)]
    assert files[0] == files[1]
    for path in files[0]:
        one, two = (safetensors.safe_open(folder / path, "pt") for folder in (first, second))
        with one, two:
            assert set(one.keys()) == set(two.keys())
            for name in one.keys():  # noqa: SIM118
                assert torch.equal(one.get_tensor(name), two.get_tensor(name)), (path, name)
