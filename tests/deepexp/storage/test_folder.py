"""What lies in a run's folder: every file that is read back, damaged or missing, is told in one line."""

import json
import shutil

import pytest

from deepexp.analysis import tables
from deepexp.cli import main
from deepexp.recipes import plan
from deepexp.runs import run as levels
from deepexp.schedule import costs
from deepexp.storage import bit_files, completeness, records
from deepexp.storage import folder as layout
from deepexp.storage import status as storage_status

RECIPE = """
question = "Does it run?"
source = "a test"
settings.data = { dataset = "digits", limit = 64 }
settings.model.width = 0.25
panels.digits = {}
arms.lrr.algorithm = "lrr"

[profiles.smoke]
protocol = "signflow"
panels = ["digits"]
seeds = [0]
settings.train = { epochs = 1, batch_size = 32 }
settings.pruning.levels = 1
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A recipe, and a folder with its one run."""
    root = tmp_path_factory.mktemp("whole")
    (root / "tiny.toml").write_text(RECIPE)
    (run,) = plan.runs(str(root / "tiny.toml"), profile="smoke")
    for _ in levels.run(run.config, root / "runs" / run.config.run_id):
        pass
    return root, run


@pytest.fixture
def made(whole, tmp_path):
    """A copy of it: the run's folder, and the command line of a recipe's command."""
    root, run = whole
    shutil.copytree(root / "runs", tmp_path / "runs")
    told = [str(root / "tiny.toml"), "--profile", "smoke", "--runs", str(tmp_path / "runs")]

    def arguments(command):
        out = ["--out", str(tmp_path / "tiny.nc")] if command == "reduce" else []
        return [command, *told, *out]

    return tmp_path / "runs" / run.config.run_id, arguments


def _fails(capsys, arguments, *messages):
    assert main.main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    for message in messages:
        assert message in told.err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("about.json", None, "restore it, or delete '"),
        ("about.json", b"{}", "it has no 'versions'); restore"),
        ("about.json", b"[", "restore it, or delete '"),
        ("about.json", b"3", "restore it, or delete '"),
        ("about.json", b"\xff\xfe{", "restore it, or delete '"),
        ("levels.csv", b"level\n0\n1\n", "it has no column 'density'); delete it and resume its run"),
        ("levels.csv", b"\xff\xfe", "delete it and resume its run"),
        ("layers.csv", None, "the totals of levels.csv, but it does not; delete it and resume its run"),
        (
            "layers.csv",
            b"level,layer,kept,total\n0,stem,36,36\n",
            "the totals of levels.csv, but it does not",
        ),
        ("layers.csv", b"level,layer,kept,total\n0,stem,3", "a row is too short); delete it and resume"),
        ("masks/01.safetensors", None, "there is no such file; restore it, or repeat its run"),
        ("masks/01.safetensors", b"x", "restore it, or repeat its run"),
        ("signs/00.safetensors", None, "there is no such file; restore it, or repeat its run"),
        ("signs/initial.safetensors", b"", "restore it, or repeat its run"),
    ],
)
def test_reduce_names_what_it_cannot_read(made, capsys, name, content, message):
    folder, arguments = made
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    _fails(capsys, arguments("reduce"), f"{folder.name}/{name}'", message)


def test_reduce_takes_no_signs_of_another_network(made, capsys):
    folder, arguments = made
    path = layout.file(folder, "signs", 1)
    read = bit_files.load(path)
    del read["classifier.weight"]
    bit_files.save(read, path)
    _fails(capsys, arguments("reduce"), f"'{path}' must have the same layers and shapes as the masks of its")


@pytest.mark.parametrize("name", ["weights/01", "masks/01"])
@pytest.mark.parametrize("content", [None, b"x"])
def test_export_names_what_it_cannot_read(made, tmp_path, capsys, name, content):
    folder, _ = made
    path = folder / f"{name}.safetensors"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    _fails(capsys, ["export", str(folder), "--level", "1", "--out", str(tmp_path / "out")], f"'{path}'")
    assert not (tmp_path / "out").exists()


def test_a_damaged_configuration_is_named_by_whatever_reads_it(made, tmp_path, capsys):
    folder, _ = made
    text = (folder / "config.toml").read_text()
    for content in (b"seed = [", b"\xff\xfe", b"", text.replace("seed", "seeed").encode()):
        (folder / "config.toml").write_bytes(content)
        named = f"'{folder / 'config.toml'}' must be as the run wrote it, but it is not ("
        todo = f"; restore it, or delete '{folder}'"
        export = ["export", str(folder), "--level", "1", "--out", str(tmp_path / "out")]
        _fails(capsys, export, named, todo)
        _fails(capsys, ["train", "--out", str(folder)], named, todo)
        with pytest.raises(ValueError, match="must be as the run wrote it"):
            completeness.check_complete(folder, folder.name)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", None, b"level\n0\n"])
def test_a_damaged_table_is_written_again_from_the_checkpoint(made, capsys, content):
    """By what the message says: delete it, and go on."""
    folder, arguments = made
    path = folder / "levels.csv"
    before = path.read_bytes()
    if content is not None:
        path.write_bytes(content)
    if content == b"\xff\xfe":
        _fails(capsys, arguments("run"), f"'{path}' is damaged", "delete it and resume its run")
        content = None
    if content is None:
        path.unlink()
    assert main.main(arguments("run")) == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "name", ["layers.csv", "epochs.csv", *(f"{kind}/00.safetensors" for kind in ("masks", "signs"))]
)
@pytest.mark.parametrize("cut", [None, 0, 30])
def test_a_lost_or_damaged_file_is_made_again(made, name, cut):
    """Until then the run is not complete; the others stay to the bit, those of the levels after it, too."""
    folder, _ = made
    kept = [path for path in folder.rglob("*") if path.suffix in (".csv", ".safetensors")]
    before = {path: path.read_bytes() for path in kept}
    if cut is None:
        (folder / name).unlink()
        assert [status.state for status in storage_status.status(folder.parent)] == ["stopped"]
    else:
        (folder / name).write_bytes(before[folder / name][:-cut] if cut else b"")
    said = []
    for _ in levels.run(layout.read_config(folder), folder, said.append):
        pass
    assert any(f"'{folder / name}'" in line and line.endswith("recreating it") for line in said)
    assert {path: path.read_bytes() for path in kept} == before
    assert [status.state for status in storage_status.status(folder.parent)] == ["complete"]


def test_a_run_that_goes_on_elsewhere_keeps_what_made_it(made):
    """What it began with stays, and other software that goes on with it is added."""
    folder, arguments = made
    path = folder / "about.json"
    began = json.loads(path.read_text()) | {"revision": "older", "platform": "another machine"}
    path.write_text(json.dumps(began))
    for _ in range(2):
        (folder / "layers.csv").unlink()
        assert main.main(arguments("run")) == 0
        about = json.loads(path.read_text())
        (other,) = about.pop("continued")
        assert about == began
        assert other["revision"] != "older"


def test_the_run_of_another_configuration_is_not_reduced(made, capsys):
    folder, arguments = made
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace("seed = 0", "seed = 1"))
    _fails(capsys, arguments("reduce"), f"'{folder}' must hold {folder.name}, but it holds ")
    (folder / "config.toml").unlink()
    _fails(capsys, arguments("reduce"), f"there is no run {folder.name}")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", None, "folder"])
def test_a_run_that_cannot_say_what_made_it_is_not_complete(made, capsys, content):
    folder, arguments = made
    path = folder / "about.json"
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    message = f"'{path}' must say which data and software made the run, but it does not ("
    _fails(capsys, arguments("run"), message, f"; restore it, or delete '{folder}' and start the run again")
    (status,) = storage_status.status(folder.parent)
    assert status.state.startswith(f"damaged: {message}")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_without_its_configuration_is_named(made, tmp_path, capsys, replaced):
    folder, _ = made
    (folder / "config.toml").rename(tmp_path / "config.toml")
    if replaced:
        (folder / "config.toml").mkdir()
    message = (
        f"'{folder / 'config.toml'}' must be" if replaced else f"in '{folder}', but it has no config.toml"
    )
    (status,) = storage_status.status(folder.parent)
    assert status.run_id == folder.name
    assert message in status.state
    _fails(capsys, ["export", str(folder), "--level", "1", "--out", str(tmp_path / "out")], message)
    message = message if replaced else f"'{folder}' must be new or have a run's config.toml, but it only has"
    _fails(capsys, ["train", "--quiet", "--out", str(folder)], message)


def test_a_folder_in_the_place_of_a_table_is_named(made, capsys):
    folder, arguments = made
    (folder / "levels.csv").unlink()
    (folder / "levels.csv").mkdir()
    _fails(capsys, arguments("run"), f"'{folder / 'levels.csv'}' is damaged (", "Is a directory")
    (folder / "epochs.csv").unlink()
    (folder / "epochs.csv").mkdir()
    (folder / "levels.csv").rmdir()
    assert main.main(arguments("run")) == 1
    assert f"'{folder / 'epochs.csv'}': Is a directory" in capsys.readouterr().err
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("content", [b"{", b"3", b'{"level": "x", "epoch": 1}', b"\xff", b'{"level": null}'])
def test_a_damaged_progress_costs_an_estimate(made, capsys, content):
    folder, arguments = made
    (folder / "levels.csv").unlink()
    (folder / "progress.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"progress\.json' is damaged .*; delete it and resume"):
        records.progress(folder)
    (run,) = plan.runs(arguments("plan")[1], profile="smoke")
    assert costs.left(run.config, folder) == costs.images(run.config)
    (status,) = storage_status.status(folder.parent)
    assert "progress.json' is damaged" in status.state


def test_marks_and_line_ends_of_other_editors_are_read(made, tmp_path, capsys):
    folder, arguments = made
    for name in ("config.toml", "levels.csv", "about.json"):
        text = (folder / name).read_text().replace("\n", "\r\n")
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    recipe = tmp_path / "marked.toml"
    recipe.write_bytes(b"\xef\xbb\xbf" + RECIPE.replace("\n", "\r\n").encode())
    command = arguments("reduce")
    command[1] = str(recipe)
    assert main.main(command) == 0
    assert [status.state for status in storage_status.status(folder.parent)] == ["complete"]
    recipe.write_bytes(RECIPE.encode("utf-16"))
    capsys.readouterr()
    _fails(capsys, command, f"'{recipe}' must be UTF-8 text, but is invalid at byte 0; save it as UTF-8")


def test_status_looks_into_no_stray(made):
    folder, _ = made
    runs = folder.parent
    shutil.copytree(folder, runs / ".ipynb_checkpoints")
    (runs / "link").symlink_to("nowhere")
    (runs / "other").mkdir()
    (runs / "other" / "config.toml").symlink_to("nowhere")
    assert [status.run_id for status in storage_status.status(runs)] == [folder.name]


def test_seeds_of_any_size_are_reduced(whole, tmp_path, capsys):
    """In a file that has no integers of their size: as text, each its own."""
    from signflow import results

    root, _ = whole
    seeds = [3, 2**63, 2**128 - 1]
    told = [str(root / "tiny.toml"), "--profile", "smoke", "--runs", str(tmp_path / "runs")]
    told += ["--seed", *map(str, seeds)]
    assert main.main(["run", *told, "--quiet"]) == 0
    assert main.main(["reduce", *told, "--out", str(tmp_path / "tiny.nc")]) == 0
    found = results.read(tmp_path / "tiny.nc")
    for name in ("levels", "signs"):
        assert found[name].seed.values.tolist() == [str(seed) for seed in seeds]
    assert len(set(found["levels"].train_loss.isel(level=0).values.ravel().tolist())) == 3
    assert int(found["signs"].survivors.count()) == 3
    assert json.loads(found["levels"].attrs["config"])["seed"] == ", ".join(map(str, seeds))
    assert tables._stored([0, 2**63 - 1]) == [0, 2**63 - 1]
