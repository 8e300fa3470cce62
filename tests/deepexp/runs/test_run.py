"""Whole runs: exact densities, resumption to the bit, mask sources, perturbations, refusals."""

import json
import shutil

import pytest
import torch

from deepexp.config.build import build, read
from deepexp.data import dataset
from deepexp.pruning import signs
from deepexp.pruning.masks import Mask
from deepexp.runs import checkpoint
from deepexp.runs import level as level_of_run
from deepexp.runs import run as levels
from deepexp.runs.setup import prepare
from deepexp.storage import bit_files, completeness, records
from deepexp.storage import folder as layout
from deepexp.storage import status as storage_status
from deepexp.training import evaluate, failures, optimizer
from deepexp.training import steps as train


def _finish(config, folder, say=lambda _: None):
    return [event.row for event in levels.run(config, folder, say) if event.row is not None]


def _mask(folder, level):
    return Mask(bit_files.load(layout.file(folder, "masks", level)))


def _weights(folder, level):
    return checkpoint.load_state(layout.file(folder, "weights", level)).tensors


@pytest.fixture(scope="module")
def lrr(tmp_path_factory):
    """A finished run and its folder."""
    settings = {
        "model.width": 0.25,
        "data.limit": 160,
        "data.validation": 40,
        "train.epochs": 3,
        "train.batch_size": 32,
        "pruning.levels": 3,
        "pruning.keep": 0.5,
        "train.signs": "epoch",
        "train.evaluate": "epoch",
    }
    config = build(settings)
    folder = tmp_path_factory.mktemp("runs") / config.run_id
    _finish(config, folder)
    return config, folder


def test_density_is_exact_in_every_level_and_every_layer_is_reported(lrr):
    _, folder = lrr
    rows, layers = records.rows(folder / "levels.csv"), records.rows(folder / "layers.csv")
    total = int(rows[0]["total"])
    assert len(rows) == 4
    previous = None
    for level, row in enumerate(rows):
        mask = _mask(folder, level)
        assert int(row["kept"]) == mask.kept == (2 * total + 2**level) // (2 * 2**level)
        assert float(row["density"]) == mask.kept / total
        mine = [layer for layer in layers if int(layer["level"]) == level]
        assert {layer["layer"]: int(layer["kept"]) for layer in mine} == mask.counts()
        assert sum(int(layer["total"]) for layer in mine) == total
        weights = _weights(folder, level)
        for name, alive in mask:
            assert not weights[name][~alive].any()
            assert bool((weights[name][alive] != 0).all())
        assert previous is None or mask.within(previous)
        previous = mask


def test_signs_on_disk_are_those_of_the_weights(lrr):
    _, folder = lrr
    rows = records.rows(folder / "levels.csv")
    for level in range(4):
        found = bit_files.load(layout.file(folder, "signs", level))
        weights = {name: tensor for name, tensor in _weights(folder, level).items() if name in found}
        assert all(torch.equal(found[name], weights[name] < 0) for name in found)
        last = bit_files.load(layout.file(folder, "signs", f"{level:02d}-0002"))
        assert all(torch.equal(found[name], last[name]) for name in found)
        before = bit_files.load(layout.file(folder, "signs", level - 1 if level else "initial"))
        count = sum(int(where.sum()) for where in signs.flips(before, found, _mask(folder, level)).values())
        assert int(rows[level]["flips"]) == count
    assert int(rows[0]["flips"]) > 0


@pytest.mark.parametrize(("signs_of", "levels"), [("level", ()), ("first", (0,)), ("epoch", (0, 1))])
def test_signs_are_recorded_as_often_as_asked(tmp_path, tiny, signs_of, levels):
    config = build({**tiny, "train.epochs": 2, "pruning.levels": 1, "train.signs": signs_of})
    _finish(config, tmp_path / config.run_id)
    found = {path.stem for path in (tmp_path / config.run_id / "signs").iterdir()}
    assert found == {"initial", "00", "01"} | {
        f"{level:02d}-{epoch:04d}" for level in levels for epoch in range(2)
    }


def test_the_last_epoch_is_the_result_and_the_maximum_an_extra(lrr):
    """Trap: the maximum over epochs on the test set reported as the accuracy."""
    _, folder = lrr
    for row in records.rows(folder / "levels.csv"):
        epochs = [e for e in records.rows(folder / "epochs.csv") if e["level"] == row["level"]]
        assert row["test_accuracy"] == epochs[-1]["test_accuracy"]
        assert float(row["test_accuracy_maximum_over_epochs"]) == max(
            float(e["test_accuracy"]) for e in epochs
        )
        assert 0 <= float(row["validation_accuracy"]) <= 1


def test_the_maximum_over_epochs_is_not_the_result(tmp_path, tiny, monkeypatch):
    """Of a network that gets worse from one look at the test images to the next."""
    looks = []
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: (1.0, 1 / (looks.append(0) or len(looks))))
    rows = _finish(build({**tiny, "train.evaluate": "epoch"}), tmp_path / "run")
    for level, row in enumerate(rows):
        first = 8 * level + 2  # two looks an epoch, the second at the test images, and two at the end
        assert row["test_accuracy_maximum_over_epochs"] == 1 / first
        assert row["test_accuracy"] == 1 / (first + 6)


def test_every_accuracy_is_that_of_its_own_images(lrr):
    """Of the network at the end of the level, in evaluation mode."""
    config, folder = lrr
    work = prepare(config, folder)
    for level, row in enumerate(records.rows(folder / "levels.csv")):
        work.net.load_state_dict(dict(_weights(folder, level)))
        work.net.eval()
        for part in ("validation", "test"):
            images = getattr(work.dataset, part)
            with torch.no_grad():
                right = work.net(work.dataset.normalise(images.x)).argmax(1) == images.y
            assert float(row[f"{part}_accuracy"]) == float(right.double().mean())


def test_every_level_has_the_schedule_of_its_policy(tmp_path, tiny):
    """From the start, or from the rewind point, the last level too."""
    for algorithm, first in (("lrr", 0), ("wr", 1), ("imp", 0)):
        _finish(build({**tiny, "algorithm": algorithm}), tmp_path / algorithm)
        epochs = records.rows(tmp_path / algorithm / "epochs.csv")
        rates = [float(row["lr"]) for row in epochs if row["level"] == "0"]
        for level in ("1", "2"):
            assert [float(row["lr"]) for row in epochs if row["level"] == level] == rates[first:]


def test_a_finished_run_is_not_run_again(lrr):
    config, folder = lrr
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    said = []
    assert _finish(config, folder, said.append) == []
    assert said == [f"{config.run_id} in {folder}", f"{config.run_id} is complete"]
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def test_the_folder_says_what_it_holds(lrr):
    config, folder = lrr
    assert read((folder / "config.toml").read_text()) == config
    about = json.loads((folder / "about.json").read_text())
    assert about["data_variant"] == "scikit-learn"
    assert about["run_id"] == config.run_id
    found = dataset.load(config.data, config.seed)
    assert about["normalised_by"] == {
        "pixels_of": "the 160 training images",
        "mean": found.mean.tolist(),
        "deviation": found.deviation.tolist(),
    }
    status = storage_status.status(folder.parent)
    assert [(s.run_id, s.level, s.state) for s in status] == [(config.run_id, "3/3", "complete")]


def test_the_same_configuration_gives_the_same_run(lrr, tmp_path, same_run):
    """Whatever the process drew before: the seed is set in one place, and 0 is a seed like any other."""
    config, folder = lrr
    torch.manual_seed(123)
    _finish(config, tmp_path / "again")
    same_run(folder, tmp_path / "again")
    other = config.model_copy(update={"seed": 1})
    _finish(other, tmp_path / "other")
    assert not torch.equal(_weights(folder, 0)["conv.weight"], _weights(tmp_path / "other", 0)["conv.weight"])


@pytest.mark.parametrize("algorithm", ["imp", "wr", "lrr"])
def test_a_run_stopped_after_any_event_ends_as_the_uninterrupted(tmp_path, tiny, algorithm, same_run):
    """Trap: masks, momentum or random numbers lost on resume. The rewind point lies within an epoch."""
    extra = {"policy.rewind_step": 2, "data.crop_padding": 1, "data.flip": "random"}
    config = build({**tiny, **extra, "algorithm": algorithm})
    _finish(config, tmp_path / "whole")
    seen = set()
    while not completeness.is_complete(tmp_path / "stopped", config):
        for event in levels.run(config, tmp_path / "stopped"):
            where = (event.level, event.step, event.row is None)
            if where not in seen:  # once at every event: the level's row comes again until the next epoch
                seen.add(where)
                break  # closes the run where it stands
    assert len(seen) == 3 * 4 - 2 * (algorithm == "wr")  # WR trains one epoch less in two levels
    same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_damaged_checkpoint_costs_an_epoch_and_nothing_else(tmp_path, tiny, same_run):
    config = build(tiny)
    _finish(config, tmp_path / "whole")
    for event in levels.run(config, tmp_path / "stopped"):
        if event.level == 1 and event.step == 10:
            break
    last = sorted((tmp_path / "stopped" / "checkpoints").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-100])
    said = []
    _finish(config, tmp_path / "stopped", said.append)
    assert any("falling back" in line for line in said)
    same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("algorithm", ["wr", "lrr"])
def test_a_kill_between_checkpoints_costs_epochs_and_no_bit(tmp_path, tiny, monkeypatch, algorithm, same_run):
    """A copy of the folder, taken while the run goes on, is what a kill leaves."""
    config = build({**tiny, "algorithm": algorithm, "policy.rewind_step": 2})
    _finish(config, tmp_path / "whole")
    monkeypatch.setattr(checkpoint, "PAUSE", 1e9)
    for number, event in enumerate(levels.run(config, tmp_path / "run")):
        if (event.level, event.step) in ((0, 10), (1, 10)):
            shutil.copytree(tmp_path / "run", tmp_path / str(number))
    for killed, level in zip(sorted(tmp_path.glob("[0-9]*")), (0, 1), strict=True):
        assert [path.name[:3] for path in (killed / "checkpoints").glob("*")] == ["000"] * level
        assert [row["level"] for row in _finish(config, killed)] == list(range(3))
        same_run(tmp_path / "whole", killed)


def test_checkpoints_are_a_pause_apart_and_leave_no_trace(tmp_path, tiny, monkeypatch, same_run):
    saved, save = [], checkpoint.save

    def counted(*arguments, **options):
        saved.append(arguments[0].step)
        save(*arguments, **options)

    monkeypatch.setattr(checkpoint, "save", counted)
    for pause, steps in ((60.0, [15] * 3), (0.0, [5, 10, 15] * 3)):
        monkeypatch.setattr(checkpoint, "PAUSE", pause)
        saved.clear()
        _finish(build(tiny), tmp_path / str(pause))
        assert saved == steps
    same_run(tmp_path / "60.0", tmp_path / "0.0")


def _stop_in(config, folder, level):
    """Run until an epoch of `level` is complete."""
    for event in levels.run(config, folder):
        if event.level == level and event.row is None:
            return


def _truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("algorithm", ["imp", "wr", "lrr"])
@pytest.mark.parametrize("level", [0, 1])
def test_damaged_signs_are_made_again_from_the_weights(tmp_path, tiny, algorithm, level, same_run):
    config = build({**tiny, "algorithm": algorithm})
    _finish(config, tmp_path / "whole")
    _stop_in(config, tmp_path / "stopped", 2)
    _truncate(layout.file(tmp_path / "stopped", "signs", level))
    said = []
    rows = _finish(config, tmp_path / "stopped", said.append)
    assert [row["level"] for row in rows] == [2]
    assert f"signs/0{level}.safetensors' is damaged" in said[1]
    assert f"recreated from the weights of level {level}" in said[1]
    same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize(
    ("algorithm", "damaged", "back"),
    [
        ("imp", ["signs/01", "weights/01"], 1),
        ("imp", ["masks/01"], 1),
        ("imp", ["masks/02"], None),  # the checkpoint has it
        ("imp", ["signs/01", "weights/01", "weights/00"], 0),
        ("imp", ["masks/00"], 0),
        ("lrr", ["masks/01"], 0),  # the momentum at the end of level 0 is gone
        ("wr", ["masks/01"], 1),
        ("wr", ["states/rewind"], 0),
        ("wr", ["states/initial"], None),  # the seed has it
    ],
)
def test_what_cannot_be_made_again_is_trained_again(tmp_path, tiny, algorithm, damaged, back, same_run):
    """From the latest level whose start is known, and it is said."""
    config = build({**tiny, "algorithm": algorithm})
    _finish(config, tmp_path / "whole")
    _stop_in(config, tmp_path / "stopped", 2)
    for name in damaged:
        _truncate(tmp_path / "stopped" / f"{name}.safetensors")
    said = []
    rows = _finish(config, tmp_path / "stopped", said.append)
    assert [row["level"] for row in rows] == list(range(2 if back is None else back, 3))
    if back is not None:
        assert "is damaged" in said[1]
        assert f"going back to the start of level {back}" in said
    same_run(tmp_path / "whole", tmp_path / "stopped")


def test_left_over_temporary_files_go(tmp_path, tiny):
    config = build({**tiny, "pruning.levels": 0})
    for _ in levels.run(config, tmp_path / "run"):
        break
    left = tmp_path / "run" / "weights" / ".00-0123abcd.safetensors"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    _finish(config, tmp_path / "run")
    assert not left.exists()


def test_a_run_that_died_before_its_first_file_goes_on(tmp_path, tiny):
    """Only what an interrupted atomic write leaves goes; what editors and the user leave there stays."""
    folder, config = tmp_path / "run", build({**tiny, "pruning.levels": 0})
    folder.mkdir()
    left, theirs = folder / ".config-0123abcd.toml", folder / "notes.txt"
    strays = folder / ".notes.txt", folder / ".x-0123abcd" / ".y-0123abcd.txt"
    strays[1].parent.mkdir()
    for path in (left, theirs, strays[0]):
        path.write_text("text")
    (folder / ".#link").symlink_to("nowhere")
    with pytest.raises(ValueError, match="it only has other files"):
        _finish(config, folder)
    theirs.unlink()
    assert len(_finish(config, folder)) == 1
    assert not left.exists()
    assert strays[0].exists()
    assert strays[1].parent.is_dir()


def test_other_data_are_refused_and_another_torch_is_said(tmp_path, tiny):
    folder, config = tmp_path / "run", build({**tiny, "pruning.levels": 0})
    for _ in levels.run(config, folder):
        break
    about = json.loads((folder / "about.json").read_text())
    for key in ("data_variant", "data_digest"):
        (folder / "about.json").write_text(json.dumps({**about, key: "other"}))
        with pytest.raises(ValueError, match=f"{key} other"):
            _finish(config, folder)
    (folder / "about.json").write_text("{")
    with pytest.raises(ValueError, match=r"about\.json' must say .*; restore it, or delete '"):
        _finish(config, folder)
    versions = json.dumps({**json.loads(about["versions"]), "torch": "0.1"})
    (folder / "about.json").write_text(json.dumps({**about, "versions": versions}))
    said = []
    assert len(_finish(config, folder, said.append)) == 1
    assert any("began with torch 0.1" in line for line in said)


def test_another_configuration_in_the_same_folder_is_refused(lrr):
    config, folder = lrr
    before = (folder / "levels.csv").read_bytes()
    with pytest.raises(ValueError, match="choose another --out"):
        _finish(config.model_copy(update={"seed": 5}), folder)
    assert (folder / "levels.csv").read_bytes() == before


def test_two_runs_in_one_folder_are_refused(tmp_path, tiny):
    run = levels.run(build(tiny), tmp_path / "run")
    next(run)
    with pytest.raises(ValueError, match="must belong to one process"):
        _finish(build(tiny), tmp_path / "run")
    assert [status.state for status in storage_status.status(tmp_path)] == ["running"]
    run.close()
    assert [status.state for status in storage_status.status(tmp_path)] == ["stopped"]


def test_a_folder_of_other_files_is_refused(tmp_path, tiny):
    (tmp_path / "thesis.tex").write_text("text")
    with pytest.raises(ValueError, match="it only has other files"):
        _finish(build(tiny), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_masks_of_another_run(lrr, tmp_path, tiny):
    """Its sequence as it is, shuffled within layers, or one level of it for all levels."""
    config, folder = lrr
    here = folder.parent
    shared = {**tiny, "pruning.run": config.run_id, "pruning.levels": 2}
    for source, extra in (("run", {}), ("shuffled", {}), ("fixed", {"pruning.run_level": 3})):
        mine = here / f"on-{source}"
        rows = _finish(build({**shared, **extra, "pruning.source": source, "algorithm": "imp"}), mine)
        for level, row in enumerate(rows):
            theirs = _mask(folder, extra.get("pruning.run_level", level))
            ours = _mask(mine, level)
            assert row["kept"] == theirs.kept
            assert ours.counts() == theirs.counts()
            assert (ours == theirs) == (source != "shuffled" or level == 0)
            assert level == 0 or ours.within(_mask(mine, level - 1))


def test_shuffled_own_masks_keep_the_layers_counts(tmp_path, tiny):
    """Level 1 has the counts that magnitudes give, and other weights."""
    _finish(build({**tiny, "pruning.levels": 1}), tmp_path / "own")
    _finish(build({**tiny, "pruning.levels": 1, "pruning.source": "shuffled"}), tmp_path / "shuffled")
    own, shuffled = _mask(tmp_path / "own", 1), _mask(tmp_path / "shuffled", 1)
    assert own.counts() == shuffled.counts()
    assert own != shuffled


@pytest.mark.parametrize("budget", ["uniform", "balanced", "erk"])
def test_random_masks_from_the_start(tmp_path, tiny, budget):
    """Below density 1 from level 0 on; the same masks for every algorithm of a seed."""
    settings = {**tiny, "pruning.source": "random", "pruning.budget": budget, "pruning.initial_density": 0.5}
    for algorithm in ("imp", "lrr"):
        rows = _finish(build({**settings, "algorithm": algorithm}), tmp_path / algorithm)
        total = rows[0]["total"]
        # floor(0.5 0.8^level N + 1/2) in integers
        assert [row["kept"] for row in rows] == [
            (4**level * total + 5**level) // (2 * 5**level) for level in range(3)
        ]
        initial = _weights(tmp_path / algorithm, 0)
        assert not any(initial[name][~alive].any() for name, alive in _mask(tmp_path / algorithm, 0))
    for level in range(3):
        assert _mask(tmp_path / "imp", level) == _mask(tmp_path / "lrr", level)


@pytest.mark.parametrize("algorithm", ["imp", "wr", "lrr"])
@pytest.mark.parametrize("level", [0, 1])
def test_a_perturbation_acts_once_or_in_the_rewind_state(tmp_path, tiny, algorithm, level, monkeypatch):
    """The states from which levels start, with and without it, differ in exactly the signs chosen."""
    starts = {}
    for fraction in (0.0, 0.25):
        found = starts.setdefault(fraction, [])
        monkeypatch.setattr(
            optimizer, "learning_rate", lambda *_, **__: 0.0
        )  # so that nothing but resets acts
        real = levels.restore

        def spy(net, sgd, state, found=found, real=real):
            found.append(state)
            real(net, sgd, state)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(levels, "restore", spy)
            settings = {**tiny, "algorithm": algorithm, "pruning.levels": 2}
            settings |= {"perturbation.fraction": fraction, "perturbation.level": level}
            _finish(build(settings), tmp_path / f"{fraction}")
    config = build(settings)
    at = _mask(tmp_path / "0.25", level)
    chosen = signs.perturbation(at, config.perturbation, 0)
    for number, (plain, flipped) in enumerate(zip(starts[0.0], starts[0.25], strict=True)):
        alive = _mask(tmp_path / "0.25", number)
        assert alive == _mask(tmp_path / "0.0", number)
        for name, tensor in alive:
            differ = (plain.tensors[name] != flipped.tensors[name]) & tensor
            expected = chosen[name] & tensor if number >= level else torch.zeros_like(tensor)
            assert torch.equal(differ, expected), (number, name)
            assert torch.equal(plain.tensors[name].abs(), flipped.tensors[name].abs())


def test_a_donor_gives_its_signs_at_the_same_level(lrr, tiny):
    """Level l starts at |w(0)| with the donor's signs at the end of level l - 1."""
    config, folder = lrr
    settings = {**tiny, "algorithm": "donor-signs", "donor": config.run_id, "pruning.run": config.run_id}
    settings |= {"pruning.source": "run"}
    mine, started = folder.parent / "donor", []
    real = levels.restore
    with pytest.MonkeyPatch.context() as patch:
        for module in (levels, level_of_run):
            patch.setattr(
                module, "restore", lambda net, sgd, state: (started.append(state), real(net, sgd, state))
            )
        _finish(build(settings), mine)
    initial = checkpoint.load_state(layout.file(mine, "states", "initial")).tensors
    for level in (1, 2):
        donor = _weights(folder, level - 1)
        for name, alive in _mask(mine, level):
            expected = initial[name].abs() * donor[name].sign() * alive
            assert torch.equal(started[level].tensors[name], expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train.batch_size": 161}, "train.batch_size must be at most 160, the number of"),
        ({"pruning.levels": 200}, "every level must keep at least one weight"),
        ({"data.validation": 5000}, "data.validation must be less"),
        (
            {"data.crop_padding": 8},
            "data.crop_padding must be below 8, the smaller side of the images, got 8",
        ),
        ({"model.name": "vgg16", "train.drop_last": False, "data.limit": 161}, "161 images in batches of 32"),
        ({"model.name": "resnet18", "train.batch_size": 1}, "cannot train on a batch of one image"),
        ({"pruning.source": "run", "pruning.run": "nobody"}, "there is no run nobody in"),
        ({"algorithm": "donor-signs", "donor": "nobody"}, "there is no run nobody in"),
        ({"algorithm": "wr", "policy.rewind_epoch": 3}, "the rewind point must lie before"),
        ({"perturbation.fraction": 0.5, "perturbation.layers": ["x"]}, "must name layers"),
        ({"data.dataset": "cifar10"}, "cifar10 must be in"),
        ({"machine.device": "cuda"}, "needs a CUDA device"),
    ],
)
def test_the_impossible_is_refused_before_anything_is_written(tmp_path, tiny, settings, message, monkeypatch):
    monkeypatch.setenv("SIGNFLOW_DATA", str(tmp_path / "no-data"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        _finish(build({**tiny, **settings}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_of_one_image_is_fine_where_it_can_be_normalised(tmp_path, tiny):
    settings = {**tiny, "train.drop_last": False, "data.limit": 33, "pruning.levels": 0, "train.epochs": 2}
    assert len(_finish(build(settings), tmp_path / "run")) == 1


def test_what_ends_a_run_is_in_its_log(tmp_path, tiny, monkeypatch):
    """Also before it trains, if it has a folder."""
    config = build({**tiny, "pruning.levels": 0})
    _stop_in(config, tmp_path / "run", 0)

    def fail(*_):
        raise ValueError("the data are gone")

    for name, what in (("load", "ValueError: the data are gone"), ("training_batches", "interrupted")):
        error = fail if name == "load" else _interrupt
        with monkeypatch.context() as patch:
            patch.setattr(dataset if name == "load" else train, name, error)
            with pytest.raises((ValueError, KeyboardInterrupt)):
                _finish(config, tmp_path / "run")
        assert what in (tmp_path / "run" / "log.txt").read_text().splitlines()[-1]


def _interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("use", ["masks", "donor"])
def test_what_a_run_builds_on_is_complete_and_the_one_named(tmp_path, lrr, tiny, use):
    config, folder = lrr
    for name in ("alias", config.run_id):
        shutil.copytree(folder, tmp_path / name)
    table = tmp_path / config.run_id / "levels.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    for name, message in (("alias", f"but it holds {config.run_id}"), (config.run_id, "must be complete")):
        masked = {"pruning.source": "run", "pruning.run": name}
        settings = masked if use == "masks" else {"algorithm": "donor-signs", "donor": name}
        with pytest.raises(ValueError, match=message):
            _finish(build({**tiny, **settings}), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_masks_of_another_model_are_refused(lrr, tiny):
    config, folder = lrr
    settings = {**tiny, "model.width": 0.5, "pruning.source": "run", "pruning.run": config.run_id}
    with pytest.raises(ValueError, match="use a mask of the same model"):
        _finish(build(settings), folder.parent / "wide")


def test_divergence_keeps_the_levels_before(tmp_path, tiny, monkeypatch, same_run):
    real = optimizer.learning_rate

    def explode(*arguments, warm):
        return real(*arguments, warm=warm) if warm else 1e20

    monkeypatch.setattr(train, "learning_rate", explode)
    config = build({**tiny, "train.warmup": "first", "train.warmup_epochs": 1.0})
    with pytest.raises(failures.Diverged, match="of level 1"):
        _finish(config, tmp_path / "run")
    assert [row["level"] for row in records.rows(tmp_path / "run" / "levels.csv")] == ["0"]
    assert layout.file(tmp_path / "run", "weights", 0).is_file()
    monkeypatch.setattr(train, "learning_rate", real)
    _finish(config, tmp_path / "run")
    _finish(config, tmp_path / "calm")
    same_run(tmp_path / "run", tmp_path / "calm")
    shutil.rmtree(tmp_path / "calm")
