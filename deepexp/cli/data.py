"""`deepexp data`: fetch and verify data sets."""

from __future__ import annotations

import argparse
import sys

from signflow.command_line import say_next


def run_data(options: argparse.Namespace) -> None:
    """Verify this machine's copy of a data set, after fetching it if the action is 'fetch'."""
    from deepexp.data import catalogue, download

    if options.dataset not in catalogue.SOURCES:
        raise ValueError(
            f"the data set must be one of {', '.join(catalogue.SOURCES)}, got '{options.dataset}'"
        )
    if options.url and not (options.action == "fetch" and catalogue.SOURCES[options.dataset].url):
        raise ValueError(
            f"--url names an archive to download, but `data {options.action} {options.dataset}` downloads "
            "none; leave out --url"
        )
    if options.action == "fetch":
        print(download.fetch(options.dataset, url=options.url, progress=not options.quiet))
    if catalogue.SOURCES[options.dataset].in_files:
        _verify_folder(options)
        return
    variant = catalogue.verify(options.dataset)
    print(f"{options.dataset}: {variant}")
    if variant != "unknown":
        say_next("plan a run on it", "deepexp", "train", "--dataset", options.dataset, "--dry-run")
    if variant == "unknown":
        known = ", ".join(catalogue.SOURCES[options.dataset].variants)
        raise ValueError(
            f"{options.dataset} must match a known copy ({known}), but it matches none; fetch it again"
        )


def _verify_folder(options: argparse.Namespace) -> None:
    from rich.progress import Progress

    from deepexp.data import image_folder

    with Progress(transient=True, disable=options.quiet or not sys.stderr.isatty()) as bar:
        task = bar.add_task(options.dataset, total=None)
        found = image_folder.verify(
            options.dataset, lambda done, of: bar.update(task, completed=done, total=of)
        )
    print(f"{options.dataset}: {found}")
    say_next("plan a run on it", "deepexp", "train", "--dataset", options.dataset, "--dry-run")
