import os

import pytest

torch = pytest.importorskip("torch")
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
