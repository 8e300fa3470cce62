"""`deepexp bench` and `gpu-check`: measure how fast this machine trains, and check its GPU against a CPU."""

from __future__ import annotations

import argparse

from deepexp.cli.common import device_of
from signflow import command_line, sections
from signflow.messages import Failure


def bench_options(bench: argparse.ArgumentParser) -> None:
    """Add the options of `deepexp bench`."""
    bench.add_argument("--dataset", default="cifar10")
    bench.add_argument("--model", default="resnet20")
    bench.add_argument(
        "--images",
        type=command_line.integer,
        help="number of images for each loop (default: 5000 on a CPU, no limit on a GPU)",
    )
    bench.add_argument("--batch", type=command_line.integer, default=128)
    bench.add_argument(
        "--seconds", type=float, default=45.0, help="time limit in seconds for all loops together"
    )
    bench.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    bench.add_argument("--precision", default="float32", choices=["float32", "tf32", "bf16"])
    bench.add_argument("--threads", type=command_line.integer, default=2)
    bench.add_argument(
        "--compile",
        action="store_true",
        help="also measure compiled loops, a minute each (always measured on a GPU)",
    )
    bench.add_argument(
        "--into",
        type=command_line.path,
        metavar="FILE",
        help="write the tables into the marked section of FILE",
    )


def run_bench(options: argparse.Namespace) -> None:
    """Measure this machine's training speed and print the tables; with --into, also write them to a file."""
    from deepexp.benchmark import loops, report

    mark = "deepexp benchmark"
    if options.into:
        sections.section(options.into, mark)
    device = device_of(options.device)
    chosen = loops.settings(
        *(options.dataset, options.model, options.batch),
        device=device,
        threads=options.threads,
        precision=options.precision,
    )
    images = options.images or (5000 if device == "cpu" else 10**9)
    compiled = options.compile or device == "cuda"
    parts = []
    for part in report.report(chosen, images=images, seconds=options.seconds, compiled=compiled):
        print(part, end="\n\n", flush=True)
        parts.append(part)
    if options.into:
        sections.replace_section(options.into, mark, "\n\n".join(parts))
    command_line.say_next("plan a recipe at these speeds", "deepexp", "plan", "fig3", "--profile", "short")


def run_gpu_check(options: argparse.Namespace) -> None:
    """Check this machine's GPU against the CPU, and print the outcome of every check."""
    import torch

    if not torch.cuda.is_available():
        raise ValueError("gpu-check needs a CUDA device, but torch finds none; use a machine with a GPU")
    from deepexp import gpu_check

    failed, count = [], 0
    for found in gpu_check.run("cuda", options.out):
        count += 1
        failed += [found.check] if found.ok is False else []
        print(found, flush=True)
    print(options.out)
    if failed:
        raise Failure(f"{len(failed)} of {count} checks failed, starting with {failed[0]}")
    command_line.say_next("plan a recipe", "deepexp", "plan", "fig3", "--profile", "short")
