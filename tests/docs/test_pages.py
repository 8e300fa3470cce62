"""The code on the pages of the documentation and of the README: it runs, and prints what stands below it."""

import argparse
import contextlib
import doctest
import importlib.util
import io
import logging
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

import deepexp.cli.main
import figures.cli
import singleneuron.cli.main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_generated" not in page.parts]
PROGRAMS = {
    "singleneuron": singleneuron.cli.main,
    "deepexp": deepexp.cli.main,
    "figures": figures.cli,
}
LANGUAGES = {"python", "text", "console", "shell", "toml", "bibtex"}
"""Python runs, and prints the text that follows; a console runs; commands of a shell are only parsed.

Python or TOML that starts with the name of a file is written to that file.
"""
DIRECTIVES = {"{toctree}", "{glossary}", "{eval-rst}"}
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    language: str
    text: str
    follows: bool  # directly after another block, as output follows code


def blocks(page):
    text, last, found = page.read_text("utf-8"), 0, []
    for match in FENCE.finditer(text):
        found.append(Block(match[1], match[2], not text[last : match.start()].strip()))
        last = match.end()
    return found


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def agrees(wanted, got):
    checker, example = doctest.OutputChecker(), doctest.Example("", wanted)
    assert checker.check_output(wanted, got, SAME), checker.output_difference(example, got, SAME)


@contextlib.contextmanager
def heard():
    """What is printed on stdout and stderr, and warned."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            yield said
    finally:
        logging.getLogger().removeHandler(handler)


def run(line):
    """Run a command as a shell does, and return what it prints."""
    program, *words = shlex.split(line)
    with heard() as said:
        PROGRAMS[program].main(words)
    return said.getvalue()


@pytest.fixture
def _elsewhere(tmp_path, monkeypatch):
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # modules of this folder are imported
    monkeypatch.setenv("COLUMNS", "110")
    yield
    pyplot.close("all")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_has_a_known_language(page):
    for block in blocks(page):
        assert block.language in LANGUAGES | DIRECTIVES, block.text
        assert block.language != "text" or block.follows, f"text that no code prints: {block.text}"


RUN = [page for page in PAGES if {block.language for block in blocks(page)} & {"python", "console"}]


@pytest.mark.parametrize("page", RUN, ids=name_of)
@pytest.mark.usefixtures("_elsewhere")
def test_the_code_of_a_page_runs_and_prints_what_it_says(page):
    names, printed = {"__name__": "page"}, ""
    for language, text, _ in blocks(page):
        if language in ("python", "toml") and (named := re.match(r"# (\w+\.(py|toml))\n", text)):
            Path(named[1]).write_text(text, "utf-8")
        elif language == "python":
            with heard() as said:
                exec(compile(text, name_of(page), "exec"), names)  # as a reader would type it
            printed = said.getvalue()
        elif language == "text":
            agrees(text, printed)
        elif language == "console":
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, _, wanted = command.partition("\n")
                agrees(wanted, run(line))


def parse(line):
    """Check the words of a command that takes too long to run, or needs another machine."""
    program, *words = shlex.split(line, comments=True)
    if program == "torchrun":
        program, words = "deepexp", words[words.index("deepexp") + 1 :]
    if program in PROGRAMS:
        module = PROGRAMS[program]
        assert isinstance(module._parser().parse_args(words), argparse.Namespace)
    elif program == "make":
        made = (ROOT / "Makefile").read_text("utf-8")
        targets = [word for word in words if "=" not in word and not word.startswith("-")]
        assert all(re.search(rf"^{target}:", made, re.MULTILINE) for target in targets), line
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
            "optional-dependencies"
        ]
        assert set(re.findall(r"[\w]+", "".join(re.findall(r"\[(.*?)\]", line)))) <= extras.keys()
    elif program == "python":
        assert importlib.util.find_spec(words[words.index("-m") + 1]), line
    else:
        assert program in ("dask", "source", "git", "cd", "mkdir", "tar"), line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_is_one_that_its_program_accepts(page):
    for language, text, _ in blocks(page):
        if language == "shell":
            for line in text.splitlines():
                parse(line)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_within_the_project_leads_somewhere(page):
    text = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(\s*([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        path = target.partition("#")[0]
        if path and "://" not in path and "_generated" not in path:
            assert (page.parent / path).exists(), target


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 130


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning(tmp_path):
    for name in ("sphinx", "myst_parser", "furo", "latex2mathml"):
        pytest.importorskip(name)
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(ROOT / "docs"), str(tmp_path)]
    subprocess.run(command, check=True, timeout=600, cwd=ROOT)
    for page in PAGES[1:]:
        assert (tmp_path / page.relative_to(ROOT / "docs")).with_suffix(".html").is_file()
