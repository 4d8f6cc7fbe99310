"""Trains the demo runs: `python -m demo.run [--logdir demo/runs] [--only NAME ...] [--jobs 2]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo.training import train_all


def train(directory: str, run: str) -> None:
    """Trains one run of the catalogue into `directory`."""
    from demo.catalogue import MODULE_OF

    MODULE_OF[run].train(directory, run)


def main(arguments: list[str] | None = None) -> int:
    """Trains all runs, or those of --only, and returns the exit status: 1 if one of them failed."""
    from demo.catalogue import MODULE_OF

    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument("--logdir", type=Path, default=Path("demo/runs"), help="where the runs go (default: demo/runs)")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=sorted(MODULE_OF), help="train these runs only")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs must be 1 or more, got {options.jobs}")

    runs = options.only or list(MODULE_OF)
    console = Console()
    failed = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("training", total=len(runs))
        for done in train_all(train, runs, options.logdir, jobs=options.jobs):
            progress.update(bar, advance=1, description=f"trained {done.run}")
            if done.error:
                failed.append(done)
        progress.update(bar, description="trained")
    for done in failed:
        console.print(f"[bold red]{done.run} failed[/]")
        console.print(done.error, markup=False, highlight=False)
    console.print(f"{len(runs) - len(failed)} of {len(runs)} runs are in {options.logdir}", highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
