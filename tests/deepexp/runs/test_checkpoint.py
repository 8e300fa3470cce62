"""Checkpoints: complete or absent, verified, and never a program."""

import dataclasses
import os
import pickle

import pytest
import torch

from deepexp.pruning.masks import Mask
from deepexp.runs import checkpoint
from deepexp.runs.checkpoint import Checkpoint
from deepexp.runs.level_start import TrainingState


def _checkpoint(step):
    generator = torch.Generator().manual_seed(step)
    tensors = {"w": torch.randn(7, 5, generator=generator), "count": torch.tensor(step)}
    mask = Mask({name: torch.rand(7, 5, generator=generator) < 0.5 for name in ("w", "b")})
    rows = [{"level": 0, "test_accuracy": 0.1 + step / 7, "validation_accuracy": None, "layers": {"w": 3}}]
    return Checkpoint(
        1, step, TrainingState(tensors, {"w": torch.randn(7, 5)}), mask, rows, [{"epoch": step}]
    )


def _same(first, second):
    assert (first.level, first.step, first.mask) == (second.level, second.step, second.mask)
    assert list(first.mask.alive) == list(second.mask.alive)
    assert (first.levels, first.epochs) == (second.levels, second.epochs)
    for name in ("tensors", "momentum"):
        a, b = getattr(first.state, name), getattr(second.state, name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)


def _files(folder):
    return sorted(folder.glob("*.safetensors"))


def test_the_last_two_are_kept_and_the_last_is_read(tmp_path):
    made = [_checkpoint(step) for step in (9, 10, 100)]
    for one in made:
        checkpoint.save(one, tmp_path, "run")
    assert len(_files(tmp_path)) == 2
    _same(checkpoint.load(tmp_path, "run", pytest.fail), made[-1])


def test_the_end_of_a_level_stays_until_that_of_the_next(tmp_path):
    for level, step, end in ((0, 3, False), (0, 4, True), (1, 1, False), (1, 2, False), (1, 3, False)):
        one = dataclasses.replace(_checkpoint(step), level=level)
        checkpoint.save(one, tmp_path, "run", end=end)
    names = [path.stem for path in _files(tmp_path)]
    assert names == ["000-00000004", "001-00000002", "001-00000003"]
    checkpoint.save(_checkpoint(4), tmp_path, "run", end=True)
    assert [path.stem for path in _files(tmp_path)] == ["000-00000004", "001-00000004"]


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.load(tmp_path / "none", "run", pytest.fail) is None


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip a bit", "pickle"])
def test_a_damaged_one_falls_back_to_the_one_before_and_says_so(tmp_path, damage):
    made = [_checkpoint(step) for step in (1, 2)]
    for one in made:
        checkpoint.save(one, tmp_path, "run")
    last = _files(tmp_path)[-1]
    content = bytearray(last.read_bytes())
    if damage == "truncate":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = b""
    elif damage == "flip a bit":
        content[-20] ^= 1
    else:
        content = pickle.dumps(_Evil(str(tmp_path / "harm")))
    last.write_bytes(content)
    said = []
    _same(checkpoint.load(tmp_path, "run", said.append), made[0])
    assert len(said) == 1
    assert "is damaged" in said[0]
    assert last.name in said[0]
    assert not (tmp_path / "harm").exists()


def test_steps_are_ordered_as_numbers(tmp_path):
    """A step of nine digits comes after one of eight, though its name sorts before."""
    made = [_checkpoint(step) for step in (20_000_000, 99_999_999, 100_000_000)]
    for one in made:
        checkpoint.save(one, tmp_path, "run")
    assert len(_files(tmp_path)) == 2
    _same(checkpoint.load(tmp_path, "run", pytest.fail), made[-1])


def test_damaged_later_ones_do_not_push_out_the_one_just_written(tmp_path):
    first, then = _checkpoint(1), _checkpoint(2)
    checkpoint.save(first, tmp_path, "run")
    for step in (7, 8):
        (tmp_path / f"001-{step:08d}.safetensors").write_bytes(b"x")
    checkpoint.save(then, tmp_path, "run")
    _same(checkpoint.load(tmp_path, "run", pytest.fail), then)


def test_none_intact_is_refused(tmp_path):
    checkpoint.save(_checkpoint(1), tmp_path, "run")
    _files(tmp_path)[0].write_bytes(b"x")
    with pytest.raises(ValueError, match=r"but every one is damaged \(1 found\)"):
        checkpoint.load(tmp_path, "run", lambda _: None)


def test_another_configuration_is_refused(tmp_path):
    checkpoint.save(_checkpoint(1), tmp_path, "run")
    with pytest.raises(ValueError, match="must belong to the configuration other"):
        checkpoint.load(tmp_path, "other", pytest.fail)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    checkpoint.save(_checkpoint(1), tmp_path, "run")

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(_checkpoint(2), tmp_path, "run")
    assert [path.name for path in tmp_path.iterdir()] == ["001-00000001.safetensors"]
    _same(checkpoint.load(tmp_path, "run", pytest.fail), checkpoint.load(tmp_path, "run", pytest.fail))


def test_states_read_back(tmp_path):
    state = _checkpoint(3).state
    checkpoint.save_state(state, tmp_path / "state.safetensors", "run")
    found = checkpoint.load_state(tmp_path / "state.safetensors", "run")
    assert all(torch.equal(found.tensors[name], state.tensors[name]) for name in state.tensors)
    with pytest.raises(ValueError, match="must hold saved tensors"):
        checkpoint.load_state(tmp_path / "none.safetensors")


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))
