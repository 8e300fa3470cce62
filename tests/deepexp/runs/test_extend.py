"""A finished run is extended by more levels: the bytes of all levels at once, and nothing trained twice."""

import json
import shutil

import pytest

from deepexp.config.build import build
from deepexp.runs import extend
from deepexp.runs import run as levels
from deepexp.runs.stacked_run import run_stack
from deepexp.storage import completeness, records
from deepexp.storage import folder as layout


def _train(config, runs, said=None):
    """Run a configuration in its own folder, and return the levels and epochs that it trained."""
    trained = []
    say = (lambda _: None) if said is None else said.append
    for event in levels.run(config, runs / config.run_id, say):
        if event.report is not None:
            trained.append(event.level)
    return trained


def _both(tiny, **more):
    """The configuration of a run with two levels, and of the same with four."""
    return [build({**tiny, **more, "pruning.levels": count}) for count in (1, 3)]


@pytest.mark.parametrize("algorithm", ["imp", "wr", "lrr"])
@pytest.mark.parametrize("signs", ["level", "epoch"])
def test_an_extended_run_has_the_bytes_of_all_levels_at_once(tmp_path, tiny, same_run, algorithm, signs):
    short, long = _both(tiny, algorithm=algorithm, **{"train.signs": signs})
    assert set(_train(short, tmp_path / "parts")) == {0, 1}
    before = {path: path.read_bytes() for path in (tmp_path / "parts").rglob("*") if path.is_file()}
    said = []
    assert set(_train(long, tmp_path / "parts", said)) == {2, 3}
    assert f"extending {short.run_id}, whose levels 0 to 1 are copied" in said
    assert set(_train(long, tmp_path / "whole")) == {0, 1, 2, 3}
    same_run(tmp_path / "parts" / long.run_id, tmp_path / "whole" / long.run_id)
    assert all(path.read_bytes() == content for path, content in before.items() if path.exists())
    assert completeness.is_complete(tmp_path / "parts" / short.run_id, short)


@pytest.mark.parametrize(
    "more",
    [
        {"train.parameterization": "sign-in"},
        {"train.cycles": "cumulative"},
        {"pruning.score": "random"},
        {"perturbation.fraction": 0.5, "perturbation.level": 1},
    ],
    ids=lambda more: next(iter(more)),
)
def test_other_settings_extend_to_the_bit_as_well(tmp_path, tiny, same_run, more):
    short, long = _both(tiny, **more)
    _train(short, tmp_path / "parts")
    assert set(_train(long, tmp_path / "parts")) == {2, 3}
    _train(long, tmp_path / "whole")
    same_run(tmp_path / "parts" / long.run_id, tmp_path / "whole" / long.run_id)


def test_the_longest_finished_run_is_extended_and_recorded(tmp_path, tiny):
    counts = {count: build({**tiny, "train.epochs": 2, "pruning.levels": count}) for count in (0, 1, 2, 3)}
    for count in (0, 2):
        _train(counts[count], tmp_path)
    assert set(_train(counts[3], tmp_path)) == {3}
    made = records.about(tmp_path / counts[3].run_id)["extends"]
    there = records.about(tmp_path / counts[2].run_id)
    assert (made["run_id"], made["levels"]) == (counts[2].run_id, 2)
    assert made["revision"] == there["revision"]
    assert made["created"] == there["created"]
    assert there["extends"]["run_id"] == counts[0].run_id


def _unfinished(folder):
    (folder / "masks" / "01.safetensors").unlink()


def _damaged(folder):
    (folder / "signs" / "00.safetensors").write_bytes(b"x")


def _edit_about(key, value):
    def edit(folder):
        path = folder / "about.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return edit


@pytest.mark.parametrize(
    "harm",
    [
        _unfinished,
        _damaged,
        _edit_about("data_digest", "other images"),
        _edit_about("versions", json.dumps({"torch": "1.0"})),
        lambda folder: (folder / "about.json").unlink(),
        lambda folder: (folder / "config.toml").unlink(),
    ],
    ids=["unfinished", "damaged", "other data", "other torch", "no origin", "no configuration"],
)
def test_a_run_that_cannot_be_relied_on_is_not_extended(tmp_path, tiny, harm):
    short, long = _both(tiny)
    _train(short, tmp_path)
    harm(tmp_path / short.run_id)
    assert set(_train(long, tmp_path)) == {0, 1, 2, 3}
    assert "extends" not in records.about(tmp_path / long.run_id)


def test_a_run_of_other_settings_is_not_extended(tmp_path, tiny):
    short, _ = _both(tiny)
    _train(short, tmp_path)
    other = build({**tiny, "pruning.levels": 2, "train.lr": 0.05})
    assert set(_train(other, tmp_path)) == {0, 1, 2}


def test_a_copy_that_was_stopped_is_made_again(tmp_path, tiny, same_run, monkeypatch):
    short, long = _both(tiny)
    _train(short, tmp_path / "parts")
    copied = extend._copy_renamed

    def stop(path, copy, run_id):
        if path.parent.name == "states":
            raise KeyboardInterrupt
        copied(path, copy, run_id)

    monkeypatch.setattr(extend, "_copy_renamed", stop)
    with pytest.raises(KeyboardInterrupt):
        _train(long, tmp_path / "parts")
    monkeypatch.undo()
    assert set(_train(long, tmp_path / "parts")) == {2, 3}
    _train(long, tmp_path / "whole")
    same_run(tmp_path / "parts" / long.run_id, tmp_path / "whole" / long.run_id)


def test_a_run_that_has_begun_goes_on_by_itself(tmp_path, tiny):
    short, long = _both(tiny)
    steps = levels.run(long, tmp_path / long.run_id)
    next(steps)
    steps.close()
    _train(short, tmp_path)
    assert set(_train(long, tmp_path)) == {0, 1, 2, 3}


def test_the_extended_run_stands_without_the_shorter_one(tmp_path, tiny, same_run):
    short, long = _both(tiny)
    _train(short, tmp_path / "parts")
    steps = levels.run(long, tmp_path / "parts" / long.run_id)
    while next(steps).level < 2:
        pass
    steps.close()
    shutil.rmtree(tmp_path / "parts" / short.run_id)
    assert set(_train(long, tmp_path / "parts")) <= {2, 3}
    _train(long, tmp_path / "whole")
    same_run(tmp_path / "parts" / long.run_id, tmp_path / "whole" / long.run_id)


def test_a_stack_is_extended_seed_by_seed(tmp_path, tiny, same_run):
    def train(count, runs):
        configs = [
            build({**tiny, "seed": seed, "machine.stack": [0, 1], "pruning.levels": count}) for seed in (0, 1)
        ]
        events = run_stack(configs, [runs / config.run_id for config in configs])
        return configs, {event.level for _, event in events if event.report is not None}

    train(1, tmp_path / "parts")
    configs, trained = train(2, tmp_path / "parts")
    assert trained == {2}
    train(2, tmp_path / "whole")
    for config in configs:
        same_run(tmp_path / "parts" / config.run_id, tmp_path / "whole" / config.run_id)
        assert layout.read_config(tmp_path / "parts" / config.run_id) == config
