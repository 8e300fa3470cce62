"""Train several seeds of one configuration as one stacked network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from deepexp.config.settings import Config
from deepexp.runs.level import LevelProgress
from deepexp.runs.run import logged, own_levels
from deepexp.runs.setup import prepare
from deepexp.runs.stack import Stack, check_stack
from deepexp.runs.workspace import Run
from deepexp.storage import folder as layout
from deepexp.training import failures


def run_stack(
    configs: Sequence[Config], folders: Sequence[Path], say: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[int, LevelProgress]]:
    """Run the configurations of a stack together, or resume them.

    If a run diverges, the others continue. The error of the first run that diverged is raised at the end.

    Parameters
    ----------
    configs : Sequence[Config]
        One configuration for each seed of the stack, in any order.
    folders : Sequence[Path]
        The folder of each run, in the order of `configs`.
    say : Callable[[str], None]
        Called with each line that the user should see. Each line begins with the seed or the run_id of its
        run, and is also written to the log of that run.

    Yields
    ------
    number : int
        The index of a configuration.
    progress : LevelProgress
        The progress of the run with this configuration, after every epoch and every level.

    Raises
    ------
    ValueError
        A run is impossible, or a seed of the stack is missing.
    Diverged
        The training of a run diverged.
    """
    check_stack(configs)
    for config, folder in zip(configs, folders, strict=True):
        layout.check(config, folder)
    works: list[Run] = []
    for config, folder in zip(configs, folders, strict=True):
        same = works[0].dataset if works and not config.data.depends_on_seed else None
        with logged(folder):
            works.append(prepare(config, folder, layout.logger(folder, _by_seed(say, config.seed)), same))
    with contextlib.ExitStack() as leads:
        going = {
            number: leads.enter_context(contextlib.closing(own_levels(work)))
            for number, work in enumerate(works)
        }
        yield from _together(going, works, Stack(works), say)


def _together(
    going: dict[int, Generator[LevelProgress | None, None, None]],
    works: Sequence[Run],
    stack: Stack,
    say: Callable[[str], None],
) -> Iterator[tuple[int, LevelProgress]]:
    """Advance the runs in turn and yield their progress; when all wait for the stack, advance the stack."""
    diverged = None
    while going:
        for number, lead in list(going.items()):
            try:
                while (event := next(lead)) is not None:
                    yield number, event
            except StopIteration:
                del going[number]
            except failures.Diverged as error:
                error.args = (f"{works[number].config.run_id}: {error}",)
                say(str(error))
                diverged = diverged or error
                del going[number]
        if going:
            with contextlib.ExitStack() as logs:
                for number in going:
                    logs.enter_context(logged(works[number].folder))
                stack.advance()
    if diverged is not None:
        raise diverged


def _by_seed(say: Callable[[str], None], seed: int) -> Callable[[str], None]:
    return lambda line: say(f"seed {seed}: {line}")
