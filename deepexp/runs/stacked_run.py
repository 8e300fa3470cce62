"""Several seeds of one configuration, trained as one stacked network."""

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
    """Run the configurations of a stack together, or go on with them.

    If a run diverges, the others go on, and the error of the first is raised in the end.

    Parameters
    ----------
    configs : Sequence[Config]
        One for each seed of the stack, in any order.
    folders : Sequence[Path]
        Their folders.
    say : Callable[[str], None]
        Told what the user should know, with the seed; each run's log has its own lines.

    Yields
    ------
    number : int
        The index of a configuration.
    progress : LevelProgress
        How far its run is, after every epoch and every level.

    Raises
    ------
    ValueError
        A run is impossible, or a seed of the stack is missing.
    Diverged
        The training of a run is no longer finite.
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
    """Advance the runs in turns, and the stack whenever all of them wait for it."""
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
