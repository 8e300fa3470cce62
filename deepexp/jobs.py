"""How the runs of a plan get done: by make, here, on a Dask cluster or under SLURM, each after its needs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepexp import costs, imagefolder, sources
from deepexp import folder as layout
from deepexp.config import Config, read, to_toml
from deepexp.plan import Run
from figures.results import source_digest


def unfinished(runs: Sequence[Run], folder: Path) -> list[Run]:
    """The runs that are not complete in `folder`, each run_id once, in their order."""
    return [run for name, run in _once(runs).items() if not layout.is_complete(folder / name, run.config)]


def units(runs: Sequence[Run], folder: Path) -> list[list[Run]]:
    """What is left to train: each run alone, or the runs of an arm that train as one stack.

    Of a stack all runs are there, since they go on together where one of them is not complete.
    """
    together: dict[Any, list[Run]] = {}
    for name, run in _once(runs).items():
        together.setdefault((run.panel, run.arm) if run.config.machine.stack else name, []).append(run)
    return [unit for unit in together.values() if unfinished(unit, folder)]


def _once(runs: Sequence[Run]) -> dict[str, Run]:
    """The runs by run_id, in the first of their arms."""
    once: dict[str, Run] = {}
    for run in runs:
        once.setdefault(run.config.run_id, run)
    return once


def check_data(recipe: str, runs: Sequence[Run]) -> None:
    """Raise ValueError, naming the recipe and its panel, where the data set of a run is not at hand."""
    for run in {run.panel: run for run in runs}.values():
        data = run.config.data
        try:
            if sources.SOURCES[data.dataset].in_files:
                imagefolder.listing(data.dataset, data.classes)
            else:
                sources.check(data.dataset)
        except ValueError as error:
            raise ValueError(f"recipe {recipe}: panels.{run.panel}.data.dataset: {error}") from None


def overview(runs: Sequence[Run], todo: Sequence[Run]) -> list[str]:
    """Lines on what the runs are, and how many of them are complete."""
    left = {run.config.run_id for run in todo}
    count = len({run.config.run_id for run in runs})
    arm_of = {run.config.run_id: run.arm for run in reversed(runs)}
    arms: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        arms.setdefault((run.panel, run.arm), []).append(run)
    wide = [max(len(names[i]) for names in arms) for i in (0, 1)]
    lines = []
    for (panel, arm), group in arms.items():
        complete = sum(run.config.run_id not in left for run in group)
        after = "".join(f", after {arm_of[need]}" for need in group[0].needs)
        trainings = f"{group[0].config.pruning.levels + 1} levels{after}"
        lines.append(
            f"  {panel:{wide[0]}}  {arm:{wide[1]}}  {complete} of {len(group)} complete, {trainings}"
        )
    return [*lines, f"{count - len(left)} of {count} runs are complete"]


def outlook(todo: Sequence[Run], folder: Path, speeds: Mapping[costs.Work, costs.Speed]) -> str:
    """What is left, and how long it takes."""
    if not todo:
        return "nothing is left to train"
    parallel = min(at_a_time(), len(units(todo, folder)))
    left = costs.duration(costs.seconds([run.config for run in todo], folder, speeds) / parallel)
    one = len(todo) == 1
    return f"{len(todo)} {'run is' if one else 'runs are'} left, about {left}" + (
        "" if one else f" with {parallel} at a time"
    )


def news(run: Run, todo: Sequence[Run], folder: Path) -> str:
    """That a run is complete, what is left, and how long that takes at the speeds so far."""
    table = folder / run.config.run_id / "levels.csv"
    accuracy, density = layout.numbers(table, ("test_accuracy", "density"))[-1].values()
    speeds = costs.observed([run.config, *(one.config for one in todo)], folder)
    reached = f"test accuracy {accuracy:.2%} at density {density:.2%}"
    return f"{run.config.run_id} ({run.arm} on {run.panel}): {reached}; {outlook(todo, folder, speeds)}"


def at_a_time() -> int:
    """How many jobs the make above this process runs at a time; 1 without one."""
    found = re.search(r"-j ?(\d+)", os.environ.get("MAKEFLAGS", ""))
    return int(found[1]) if found else 1


def makefile(recipe: str, runs: Sequence[Run], folder: Path, options: Sequence[str], build: Path) -> str:
    """A makefile of the recipe's runs, its result file and its figure under `build`, for make's job server.

    One target for each run: its levels.csv. An unfinished run has some of that file already, so that its
    target is always made; and so is a result file of other runs, older sources or an older recipe. `options`
    are what the command line was told of the plan.
    """
    name = Path(recipe).stem
    results, figure = build / "results" / f"{name}.nc", build / "figures" / f"{name}.png"
    for path in (folder, build, results):
        if re.search(r"[^\w./@+=,-]", str(path)):
            raise ValueError(f"make needs paths of letters, digits and ./@+=,-_ alone, got '{path}'")
    todo = units(runs, folder)
    always = [_target(run.config.run_id, folder) for unit in todo for run in unit]
    if not is_reduced(results, runs) or _is_newer(Path(recipe), results):
        always.append(str(results))
    told = shlex.join([recipe, *options, "--runs", str(folder)]).replace("$", "$$")
    lines = [
        f"INTERPRETER := {shlex.quote(sys.executable).replace('$', '$$')}",
        f".PHONY: all runs {' '.join(always)}",
        f"all: {figure}",
        f"runs: {' '.join(dict.fromkeys(_target(run.config.run_id, folder) for run in runs))}",
    ]
    for unit in todo:
        first, *others = (_target(run.config.run_id, folder) for run in unit)
        lines += [
            f"{first}: {' '.join(_target(need, folder) for run in unit for need in run.needs)}",
            f"\t@$(INTERPRETER) -m deepexp run {told} --only {unit[0].config.run_id}",
            *(f"{other}: {first}" for other in others),  # trained with the first
        ]
    lines += [
        f"{results}: {' '.join(dict.fromkeys(_target(run.config.run_id, folder) for run in runs))}",
        f"\t@$(INTERPRETER) -m deepexp reduce {told} --out {results}",
        f"{figure}: {results}",
        f"\t@$(INTERPRETER) -m figures draw {name} --results {results.parent} --out {figure.parent}",
    ]
    return "\n".join(lines) + "\n"


def is_reduced(results: Path, runs: Sequence[Run]) -> bool:
    """Whether `results` is of these runs and was made by these sources."""
    import h5netcdf

    try:
        with h5netcdf.File(results) as file:
            made_of, digest = json.loads(file.attrs["config"]), file.attrs["source_digest"]
    except (OSError, KeyError, ValueError):
        return False
    names = {run.config.run_id for run in runs}
    whole = not made_of.get("without_starved")
    return bool(whole and digest == source_digest() and set(made_of.get("runs", ())) == names)


def _is_newer(recipe: Path, results: Path) -> bool:
    """Whether this file of the user's own has changed since; the package's recipes are of its sources."""
    return recipe.suffix == ".toml" and recipe.stat().st_mtime > results.stat().st_mtime


def _target(run_id: str, folder: Path) -> str:
    return str(folder / run_id / "levels.csv")


@contextlib.contextmanager
def device(config: Config) -> Iterator[None]:
    """Give a run on 'cuda' a GPU of this machine for itself as soon as one is free, if nobody gave it one.

    The processes of torchrun have theirs. Users of one machine do not wait for each other.
    """
    if config.machine.device == "cpu" or "LOCAL_RANK" in os.environ:
        yield
        return
    import torch

    if not torch.cuda.is_available():
        raise ValueError("a run on 'cuda' needs a CUDA device, but torch finds none; use --device cpu")
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    visible = names.split(",") if names else [str(i) for i in range(torch.cuda.device_count())]
    here = Path(tempfile.gettempdir())  # where no user may open another's files to write
    # A part of a GPU has a name with slashes, MIG-GPU-x/1/0.
    named = [name.strip().replace("/", "_") for name in visible]
    locks = [here / f"signflow-{os.getuid()}-gpu-{name}.lock" for name in named]
    with first_free(locks) as index:
        torch.cuda.set_device(index)
        yield


@contextlib.contextmanager
def first_free(locks: Sequence[Path], pause: float = 0.5) -> Iterator[int]:
    """Hold the first of these lock files that no process holds, waiting for one; yields its index."""
    with contextlib.ExitStack() as stack:
        files = [
            stack.enter_context(os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))) for path in locks
        ]
        while True:
            for index, file in enumerate(files):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield index
                return
            time.sleep(pause)


@dataclass(frozen=True)
class Job:
    """A run or a stack as another machine calls it that sees the same files: configurations and folders."""

    configs: tuple[str, ...]  # TOML
    folders: tuple[str, ...]

    def __call__(self) -> list[str]:
        configs, folders = [read(text) for text in self.configs], [Path(name) for name in self.folders]
        with device(configs[0]):
            for _ in trained(configs, folders, lambda _: None):
                pass
        return [config.run_id for config in configs]

    def checkpoint(self) -> Any:
        """What submitit puts into the queue again when SLURM ends the job early: the run goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def trained(
    configs: Sequence[Config], folders: Sequence[Path], say: Callable[[str], None]
) -> Iterator[tuple[int, Any]]:
    """Train one run, or those of a stack, in their folders; yields each one's number and its progress."""
    from deepexp import levels

    if len(configs) > 1:
        yield from levels.run_stack(configs, folders, say)
        return
    for event in levels.run(configs[0], folders[0], layout.logger(folders[0], say)):
        yield 0, event


def job(unit: Sequence[Run], folder: Path) -> Job:
    """The run or the stack as a job that any machine with these files can do."""
    names = tuple(str((folder / run.config.run_id).absolute()) for run in unit)
    return Job(tuple(to_toml(run.config) for run in unit), names)


def execute(
    todo: Sequence[Sequence[Run]],
    start: Callable[[Sequence[Run]], Future[Any]],
    done: Callable[[Run], None],
    folder: Path,
    most: int | None = None,
) -> dict[str, BaseException]:
    """Start the units, `most` at a time, each once the runs that it needs are done; why which runs failed.

    Of a unit that fails, those runs that are complete in `folder` are done too.
    """
    waiting, going = list(todo), dict[Future[Any], Sequence[Run]]()
    failed: dict[str, BaseException] = {}
    while waiting or going:
        busy = {run.config.run_id for unit in (*waiting, *going.values()) for run in unit}
        for unit in list(waiting):
            needs = [need for run in unit for need in run.needs]
            if lost := [need for need in needs if need in failed]:
                why = RuntimeError(f"{lost[0]}, which it needs, failed")
                failed |= {run.config.run_id: why for run in unit}
            elif busy.intersection(needs) or len(going) == most:
                continue
            else:
                going[start(unit)] = unit
            waiting.remove(unit)
        for future in wait(going, return_when=FIRST_COMPLETED).done:
            unit, error = going.pop(future), future.exception()
            left = unfinished(unit, folder) if error else []
            for run in unit:
                if error and run in left:
                    failed[run.config.run_id] = error
                else:
                    done(run)
    return failed


def at_once(action: Callable[[], None]) -> Future[None]:
    """A future of `action`, done in this thread."""
    future: Future[None] = Future()
    try:
        action()
        future.set_result(None)
    except Exception as error:
        future.set_exception(error)
    return future


def submit(todo: Sequence[Sequence[Run]], folder: Path, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Put the units into the queue of SLURM, each after what it needs; the job's number by run_id.

    `parameters` are submitit's ('timeout_min', 'slurm_partition', ...). Raises ValueError where there is no
    submitit or no SLURM, or it does not know a parameter.
    """
    try:
        import submitit
    except ImportError:
        raise ValueError("--slurm needs the package submitit: pip install 'signflow[cluster]'") from None
    jobs: dict[str, str] = {}
    for unit in todo:
        config, extra = unit[0].config, {}
        needs = [need for run in unit for need in run.needs]
        if before := dict.fromkeys(jobs[need] for need in needs if need in jobs):
            extra = {"dependency": f"afterok:{':'.join(before)}", "kill-on-invalid-dep": "yes"}
        try:
            executor = submitit.AutoExecutor(folder=folder / "slurm", cluster="slurm")
            executor.update_parameters(
                **{
                    "name": config.run_id,
                    "timeout_min": 24 * 60,
                    "cpus_per_task": config.machine.threads,
                    "gpus_per_node": int(config.machine.device == "cuda"),
                    "slurm_additional_parameters": extra,
                    **parameters,
                }
            )
            number = executor.submit(job(unit, folder)).job_id
            jobs |= {run.config.run_id: number for run in unit}
        except (RuntimeError, NameError, TypeError, submitit.core.utils.FailedSubmissionError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"--slurm must be given what submitit knows, on a machine with sbatch: {reason}"
            ) from None
    return jobs
