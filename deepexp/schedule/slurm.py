"""Submit the runs of a plan to SLURM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepexp.recipes.plan import PlannedRun
from deepexp.schedule.execute import job


def submit(
    todo: Sequence[Sequence[PlannedRun]], folder: Path, parameters: Mapping[str, Any]
) -> dict[str, str]:
    """Submit units to SLURM, so that each unit starts once the runs that it needs are complete.

    Parameters
    ----------
    todo : sequence of sequences of PlannedRun
        The units, each listed after the units that it needs; the runs of a unit train together.
    folder : Path
        The folder of the runs.
    parameters : mapping
        Parameters of submitit, such as 'timeout_min' and 'slurm_partition'.

    Returns
    -------
    dict of str
        The job number of each run, by run_id.

    Raises
    ------
    ValueError
        If submitit or SLURM is missing, or submitit does not know a parameter.
    """
    try:
        import submitit
    except ImportError:
        raise ValueError("--slurm needs the package submitit; run pip install 'signflow[cluster]'") from None
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
                f"--slurm needs a machine with sbatch, and parameters that submitit knows: {reason}"
            ) from None
    return jobs
