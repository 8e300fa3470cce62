"""A run read from its folder: everything agrees with what the run did, and what is missing is named."""

import shutil

import numpy as np
import pytest
import torch

import deepexp
from deepexp.config.build import build
from deepexp.pruning import masks
from deepexp.runs import run as levels
from deepexp.storage import folder as layout
from deepexp.training import evaluate


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A run of three levels, read from its folder, and the rows that it reported."""
    settings = {"model.width": 0.25, "data.limit": 160, "train.epochs": 2, "pruning.levels": 2}
    config = build({**settings, "train.batch_size": 32, "policy.rewind_epoch": 0})
    folder = tmp_path_factory.mktemp("runs") / config.run_id
    rows = [event.row for event in levels.run(config, folder) if event.row is not None]
    return deepexp.load(folder), rows


def test_the_table_holds_what_the_run_reported(stored):
    run, rows = stored
    assert run.config.run_id == run.folder.name
    assert run.levels.level.values.tolist() == [0, 1, 2]
    for name in ("density", "kept", "flips", "test_accuracy", "train_loss"):
        assert run.levels[name].values.tolist() == [row[name] for row in rows]
        assert run.levels[name].attrs["long_name"]
    assert np.isnan(run.levels.validation_loss).all()


def test_the_network_of_a_level_repeats_its_test_accuracy(stored):
    run, rows = stored
    images = run.dataset()
    for level, row in enumerate(rows):
        loss, accuracy = evaluate.evaluate(run.model(level), images.test, images, run.config.machine)
        assert accuracy == row["test_accuracy"]
        assert loss == pytest.approx(row["test_loss"], rel=1e-6)


def test_masks_signs_and_weights_of_a_level_fit_together(stored):
    run, rows = stored
    for level, row in enumerate(rows):
        mask, signs, weights = run.mask(level), run.signs(level), run.weights(level)
        net = run.model(level)
        assert not net.training
        assert mask.kept == row["kept"]
        masks.check_fits(mask, net, "the run")
        parameters = dict(net.named_parameters())
        assert list(mask.alive) == list(signs) == list(weights)
        for name, alive in mask:
            assert torch.equal(weights[name], parameters[name])
            assert torch.equal(weights[name] != 0, alive)
            assert torch.equal(signs[name], weights[name].sign().to(torch.int8))
            assert parameters[name].requires_grad


def test_the_levels_of_a_stopped_run_can_be_read(stored, tmp_path):
    config = stored[0].config
    steps = levels.run(config, tmp_path / "run")
    while next(steps).row is None:
        pass
    next(steps)  # an epoch of level 1
    run = deepexp.load(tmp_path / "run")
    assert run.levels.sizes == {"level": 1}
    assert torch.equal(run.weights(0)["conv.weight"], stored[0].weights(0)["conv.weight"])
    with pytest.raises(ValueError, match=r"must be complete in '.*', which has 1 complete levels .*, got 1"):
        run.mask(1)
    steps.close()


def test_a_run_without_a_complete_level_has_an_empty_table(stored, tmp_path):
    shutil.copy(stored[0].folder / "config.toml", tmp_path)
    run = deepexp.load(str(tmp_path))
    assert run.levels.sizes == {"level": 0}
    with pytest.raises(ValueError, match="has 0 complete levels"):
        run.model(0)


@pytest.mark.parametrize("level", [-1, 3])
@pytest.mark.parametrize("what", ["mask", "signs", "weights", "model"])
def test_a_level_that_does_not_exist_is_refused(stored, what, level):
    with pytest.raises(ValueError, match=rf"the level must be complete in .*, got {level}"):
        getattr(stored[0], what)(level)


def test_a_level_without_stored_weights_is_named_and_the_others_can_be_read(stored, tmp_path):
    shutil.copytree(stored[0].folder, tmp_path / "run")
    run = deepexp.load(tmp_path / "run")
    path = layout.file(run.folder, "weights", 1)
    path.unlink()
    for what in (run.weights, run.model):
        with pytest.raises(ValueError, match="but there is no such file; restore it, or repeat") as error:
            what(1)
        assert f"'{path}'" in str(error.value)
        assert "\n" not in str(error.value)
    assert run.model(2)
    assert run.signs(1)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there must be a run in"):
        deepexp.load(tmp_path)
    with pytest.raises(ValueError, match="there must be a run in"):
        deepexp.load(tmp_path / "nothing")


def test_the_public_names_are_listed_literally():
    assert deepexp.__all__ == sorted(name for names in deepexp._HOME.values() for name in names)
    with pytest.raises(AttributeError, match="'deepexp' has no attribute 'lod'"):
        deepexp.lod  # noqa: B018
