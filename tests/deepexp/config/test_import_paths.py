"""Import paths: the source that they name is part of a run's identity, and mistakes are one line."""

import re
import subprocess
import sys

import pytest

from deepexp.config import build as config_build
from deepexp.config import import_paths
from deepexp.config.build import build

NET = "def build(classes, channels):\n    return None\n"


def _digest(name="mine:build"):
    return import_paths.source_digest("model.name", name)


def _refused(settings, *parts):
    with pytest.raises(ValueError, match=re.escape(parts[0])) as error:
        build(settings)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize("key", ["model.name", "data.dataset", "pruning.score"])
def test_a_changed_file_is_another_run(own_code, key):
    path = own_code("mine", NET)
    first = build({key: "mine:build"})
    assert build({key: "mine:build"}) == first
    path.write_text(NET + "\n")
    second = build({key: "mine:build"})
    assert second.run_id != first.run_id
    assert ":" not in first.run_id
    path.write_text(NET)
    assert build({key: "mine:build"}).run_id == first.run_id


def test_a_configuration_is_read_without_the_source_that_it_names(own_code):
    path = own_code("mine", NET)
    made = build({"model.name": "mine:build"})
    path.unlink()
    assert config_build.read(config_build.to_toml(made)) == made


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("from mypkg import layers", True),
        ("from mypkg.layers import conv", True),
        ("from . import layers", True),
        ("from .layers import conv", True),
        ("import mypkg.layers", True),
        ("def build():\n    from .layers import conv", True),
        ("import layers", False),
        ("import torch, os.path", False),
    ],
)
def test_what_a_module_imports_from_its_folder_counts(own_code, text, counts):
    own_code("mypkg.nets", f"{text}\n")
    layers = own_code("mypkg.layers", "conv = 1\n")
    own_code("mypkg.other", "conv = 1\n")
    before = _digest("mypkg.nets:build")
    layers.write_text("conv = 2\n")
    assert (_digest("mypkg.nets:build") != before) == counts
    now = _digest("mypkg.nets:build")
    own_code("mypkg.other", "conv = 2\n")
    assert _digest("mypkg.nets:build") == now


def test_imports_count_when_they_are_indirect_circular_or_of_a_package(own_code):
    own_code("mine", "import helper\n")
    helper = own_code("helper", "import mine, more.parts\n")
    own_code("more.__init__", "")
    seen = {_digest()}
    helper.write_text("import mine, more.parts  # edited\n")
    seen.add(_digest())
    own_code("more.parts", "x = 1\n")
    seen.add(_digest())
    own_code("more.__init__", "y = 1\n")
    seen.add(_digest())
    assert len(seen) == 4


def test_of_installed_code_only_the_named_package_counts(own_code, tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "installed.py").write_text("import library\n")
    (site / "library.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(site)
    before = _digest("installed:build")
    (site / "library.py").write_text("x = 2\n")
    assert _digest("installed:build") == before
    (site / "installed.py").write_text("import library  # edited\n")
    assert _digest("installed:build") != before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothere:build", "there is no module 'nothere' in '"),
        ("mypkg.nothere:build", "there is no module 'mypkg.nothere' in '"),
        ("mypkg.nets:", "must be an import path such as 'mypkg.mymodule:function' if it has a colon"),
        (":build", "must be an import path such as"),
        ("mypkg/nets.py:build", "must be an import path such as"),
        ("a:b:c", "must be an import path such as"),
        ("broken:build", "is not valid Python ("),
        ("sys:exit", "there is no module 'sys'"),
    ],
)
def test_a_bad_import_path_is_refused_in_one_line(own_code, name, message):
    own_code("mypkg.nets", NET)
    own_code("broken", "def build(:\n")
    for key in ("model.name", "data.dataset", "pruning.score"):
        _refused({key: name}, message, key, f"'{name}'")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.name": "resnet9"}, "model: name must be one of resnet8, resnet20"),
        (
            {"model.name": "resnet9"},
            ", or an import path such as 'mypkg.mymodule:function', got 'resnet9'; did",
        ),
        ({"pruning.score": "magnitud"}, "did you mean 'magnitude'?"),
        ({"data.dataset": "digit"}, "did you mean 'digits'?"),
        ({"model.code": "ab"}, "code must be given if and only if name is an import path, got 'ab'"),
        ({"model.name": "mine:build", "model.width": 0.5}, "width has no effect on a network"),
        (
            {"model.name": "mine:build", "model.stem": "imagenet"},
            "stem has no effect on a network",
        ),
        (
            {"model.name": "mine:build", "machine.stack": [0, 1]},
            "machine.stack must be left out with a network of your own",
        ),
        ({"data.dataset": "mine:build", "data.classes": 3}, "classes applies only to"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(own_code, settings, message):
    own_code("mine", NET)
    _refused(settings, message)


def test_every_protocol_and_profile_accepts_own_images(own_code):
    from deepexp.config.protocols import PROFILES, PROTOCOLS

    own_code("mine", NET)
    for protocol in PROTOCOLS:
        for profile in PROFILES:
            made = build(
                {"data.dataset": "mine:build", "algorithm": "imp"}, protocol=protocol, profile=profile
            )
            assert made.pruning.levels <= (2 if profile == "smoke" else 31)


def _load(name="mine:build", code=None):
    return import_paths.load("model.name", name, code or _digest(name))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def buidl():\n    pass\n", "'mine' has no function 'build'; did you mean 'buidl'?"),
        ("build = 1\n", "'mine' has no function 'build'"),
        ("import nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise RuntimeError('two\\nlines')\n", "RuntimeError: two lines"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_one_line(own_code, text, message):
    own_code("mine", text)
    with pytest.raises(ValueError, match=r"model.name must name a function .* got 'mine:build'") as error:
        _load()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_function_that_fails_is_named_with_its_error(own_code):
    own_code("mine", "def build(classes):\n    return 1 // classes\n")
    for given, message in (((0,), "ZeroDivisionError"), ((), "TypeError: build() missing 1 required")):
        with pytest.raises(ValueError, match="'mine:build' must not fail when it is called") as error:
            import_paths.call("model.name", "mine:build", _digest(), *given)
        assert message in str(error.value)
        assert error.value.__cause__ is not None


def test_a_source_that_changed_since_the_run_was_configured_is_refused(own_code):
    path = own_code("mine", NET)
    code = _digest()
    path.write_text(NET + "# edited\n")
    with pytest.raises(
        ValueError, match=rf"must have the digest {code}, .* but now it has the digest {_digest()}"
    ):
        _load(code=code)


def test_a_process_keeps_the_source_that_it_has_imported(own_code):
    """A run goes on with it after an edit, but a run of the edited source needs another process."""
    path = own_code("mine", NET + "\n\ndef other():\n    pass\n")
    code = _digest()
    first = _load()
    path.write_text(NET + "# edited\n")
    assert _load(code=code) is first
    for name in ("mine:build", "mine:other"):
        with pytest.raises(
            ValueError, match=rf"but this process imported it with the digest {code}; restore"
        ):
            _load(name)


def test_an_installed_command_finds_modules_in_the_current_folder(own_code, tmp_path):
    """And no module there takes the place of a library."""
    own_code("mine", NET)
    own_code("json", "raise RuntimeError('shadowed')\n")
    code = (
        "import sys; sys.path = [p for p in sys.path if p]\n"
        "from deepexp.config.build import build\n"
        "from deepexp.config import import_paths as paths\n"
        "model = build({'model.name': 'mine:build'}).model\n"
        "print(paths.load('model.name', model.name, model.code).__module__)\n"
    )
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "mine\n", done.stderr
