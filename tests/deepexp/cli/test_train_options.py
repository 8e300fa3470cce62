"""The options of `deepexp train` that choose and list settings: --config, --set, and the lists."""

import pytest

from deepexp.cli import main
from deepexp.config.build import build, read, to_toml
from deepexp.config.sections import MODELS, SIDES


def _printed(capsys, *arguments):
    capsys.readouterr()
    assert main.main(["train", *arguments]) == 0
    return capsys.readouterr().out


def _refused(capsys, arguments, message):
    capsys.readouterr()
    assert main.main(["train", *arguments]) == 2
    streams = capsys.readouterr()
    assert streams.err.count("\n") == 1
    assert message in streams.err
    assert streams.out == ""


@pytest.fixture
def file(tmp_path):
    """The configuration file of a run with a protocol, a profile and settings of its own."""
    config = build({"data.dataset": "cifar10", "algorithm": "wr", "train.lr": 0.3}, protocol="s2s")
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    return path, config


def test_a_configuration_file_is_taken_as_it_is(file, capsys):
    path, config = file
    assert read(_printed(capsys, "--config", str(path), "--print-config")) == config


def test_options_change_a_configuration_file(file, capsys):
    path, config = file
    more = ["--seed", "7", "--levels", "3", "--set", "train.lr=0.2", "train.epochs=20", "train.warmup=every"]
    more += ["policy.rewind_epoch=5", "train.milestones=[]", "--device", "cpu"]
    made = read(_printed(capsys, "--config", str(path), *more, "--print-config"))
    assert (made.seed, made.pruning.levels, made.train.lr, made.train.epochs) == (7, 3, 0.2, 20)
    assert made.train.warmup_epochs == config.train.warmup_epochs  # not scaled with the epochs
    assert made.data == config.data


def test_a_run_is_repeated_from_its_configuration_file(tmp_path, same_run):
    tiny = ["model.width=0.25", "data.limit=160", "train.batch_size=32"]
    first = ["--levels", "1", "--epochs", "1", "--set", *tiny, "policy.rewind_epoch=0"]
    assert main.main(["train", *first, "--quiet", "--out", str(tmp_path / "first")]) == 0
    again = ["--config", str(tmp_path / "first" / "config.toml"), "--out", str(tmp_path / "again")]
    assert main.main(["train", *again, "--quiet"]) == 0
    same_run(tmp_path / "first", tmp_path / "again")


def test_the_file_of_a_stacked_run_trains_its_seeds_together(tmp_path, capsys):
    path = tmp_path / "config.toml"
    path.write_text(to_toml(build({"seed": 1, "machine.stack": [1, 2]})))
    text = _printed(capsys, "--config", str(path), "--set", "train.epochs=7", "--levels", "0", "--dry-run")
    assert "by the protocol signflow, seed 1\n" in text
    assert "by the protocol signflow, seed 2\n" in text
    alone = read(_printed(capsys, "--config", str(path), "--seed", "2", "--print-config"))
    assert (alone.seed, alone.machine.stack) == (2, ())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--dataset", "digits"], "--dataset must be left out with --config, whose file has every setting"),
        (["--epochs", "3"], "--epochs must be left out with --config"),
        (["--profile", "smoke"], "--profile must be left out with --config"),
        (["--set", "algorithm=imp"], "algorithm must stay 'wr' in this configuration"),
        (["--set", "protocol=signflow"], "protocol must stay 's2s' in this configuration"),
        (["--set", "train.lrr=1"], "unknown key 'train.lrr'; did you mean 'train.lr'?"),
        (["--set", "lr=1"], "unknown key 'lr'; did you mean 'train.lr'?"),
        (["--set", "machine.stack=[0]"], "machine.stack must not be set by --set"),
        (["--seed", "1", "--set", "seed=2"], "the seed must be given only once"),
    ],
)
def test_what_does_not_go_with_a_configuration_file_is_refused(file, capsys, more, message):
    _refused(capsys, ["--config", str(file[0]), *more, "--dry-run"], message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"seed = [", "the configuration must be valid TOML"),
        (b"\xff", "can't decode"),
        (b"seed = 1", "protocol must be given, but it is not"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path, capsys, content, message):
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    _refused(capsys, ["--config", str(path)], message)
    _refused(
        capsys,
        ["--config", str(path)],
        f"'{path}' must be a configuration as a run writes it, but it is not (",
    )


def test_set_without_a_setting_lists_every_key_with_its_value_and_meaning(capsys):
    lines = _printed(capsys, "--dataset", "cifar10", "--protocol", "s2s", "--set").splitlines()
    listed = {line.split()[0].partition("=")[0]: line for line in lines}
    config = build({"data.dataset": "cifar10"}, protocol="s2s").model_dump()
    flat = {key: value for key, value in config.items() if not isinstance(value, dict)}
    sections = {key: value for key, value in config.items() if key not in flat}
    flat |= {f"{key}.{name}": value for key, section in sections.items() for name, value in section.items()}
    hidden = {"protocol", "seed", "machine.stack", "data.code", "model.code", "pruning.code"}
    assert set(listed) == flat.keys() - hidden
    assert listed["train.epochs"].startswith("train.epochs=150 ")
    assert listed["train.warmup"].startswith("train.warmup=before ")
    assert listed["data.limit"].split()[:3] == ["data.limit", "The", "maximum"]
    assert all(len(line.split()) > 2 for line in lines)
    assert "{'cosine', 'step', 'triangular', 'constant'}" in listed["train.schedule"]


def test_what_set_lists_can_be_set(capsys):
    lines = _printed(capsys, "--set").splitlines()
    shown = [line.split()[0] for line in lines if "=" in line.split()[0]]
    plain = _printed(capsys, "--print-config")
    assert _printed(capsys, "--set", *shown, "--print-config") == plain


def test_the_lists_name_all_networks_and_data_sets(capsys):
    text = _printed(capsys, "--list-models")
    assert [line.split()[0] for line in text.splitlines()[:-1]] == list(MODELS)
    assert "resnet8          77,360 prunable weights" in text
    text = _printed(capsys, "--list-datasets")
    assert {line.split()[0] for line in text.splitlines()[:-2]} == set(SIDES)
    (digits,) = (line for line in text.splitlines() if line.startswith("digits"))
    assert "1,438 +    359 images of 8x8 pixels" in digits
    assert "(on this machine)" in digits
    assert text.splitlines()[-2].startswith("a folder of your own, with --set data.folder=PATH")
    assert text.splitlines()[-1].startswith("a function of your own")


def test_missing_data_are_listed_with_the_way_to_get_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SIGNFLOW_DATA", str(tmp_path))
    text = _printed(capsys, "--list-datasets")
    assert text.count("(missing here; deepexp data fetch cifar10)") == 1
    assert text.count("(missing here)") == 1  # ImageNet cannot be fetched
