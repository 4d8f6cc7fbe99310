"""Trains many runs in which nothing is wrong and counts the faults that are claimed: `python -m demo.healthy --logdir DIR`.

With `--logged` the criterion is not watched, as where the loss is a function such as `F.cross_entropy`: what is known of it is
its scalar.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo.training import train_all
from tb_losslens.analysis.finding import Diagnosis

if TYPE_CHECKING:
    from demo.combinations import Setup

SEEDS = 9


def runs(seeds: int = SEEDS) -> list[str]:
    """Names of all trainings, `combination_seed`."""
    return [f"{name}_{seed}" for name in _combinations() for seed in range(seeds)]


def _combinations() -> dict[str, Callable[[int], Setup]]:
    from demo.combinations import COMBINATIONS
    from demo.more_combinations import MORE

    return {**COMBINATIONS, **MORE}


def train(directory: str, run: str, *, watched: bool = True) -> None:
    """Trains one of `runs()` into `directory`; its criterion is `watched`, or else only its value is logged."""
    import torch
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    from tb_losslens import LossLensWriter

    name, _, seed = run.rpartition("_")
    torch.manual_seed(int(seed))
    job = _combinations()[name](int(seed))
    model, optimizer, criterion, scheduler = job.model, job.optimizer, job.criterion, job.scheduler
    with LossLensWriter(directory) as writer:
        writer.watch(model, optimizer, scheduler=scheduler, criterion=criterion if watched else None)
        train_loader, val_loader = writer.wrap(job.train_loader), writer.wrap(job.val_loader, split="val")
        step = 0
        for epoch in range(job.epochs):
            model.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                if job.clip is not None:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), job.clip)
                optimizer.step()
                if scheduler is not None and job.per_batch:
                    scheduler.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            model.eval()
            with torch.no_grad():
                held_out_loss = sum(criterion(model(x), y).item() for x, y in val_loader) / len(val_loader)
            writer.add_scalar("Loss/val", held_out_loss, epoch)
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(held_out_loss)
            elif scheduler is not None and not job.per_batch:
                scheduler.step()


def faults(diagnosis: Diagnosis) -> list[str]:
    """Causes that `diagnosis` calls a fault."""
    return [finding.cause for finding in diagnosis.findings if finding.kind == "fault"]


def _table(diagnoses: dict[str, Diagnosis]) -> Table:
    table = Table("run", "batches", "kind", "headline", "findings", "faults")
    for run, diagnosis in diagnoses.items():
        found = ", ".join(finding.cause for finding in diagnosis.findings)
        table.add_row(run, f"{diagnosis.batches:,}", diagnosis.kind, diagnosis.headline, found, ", ".join(faults(diagnosis)))
    return table


def main(arguments: list[str] | None = None) -> int:
    """Trains, diagnoses, prints, and returns the exit status: 1 if a training failed or a fault was claimed."""
    parser = argparse.ArgumentParser(prog="python -m demo.healthy", description=__doc__)
    parser.add_argument("--logdir", type=Path, required=True, help="where the runs go")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"trainings of each combination (default: {SEEDS})")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    parser.add_argument("--logged", action="store_true", help="watch no criterion: the loss is only logged")
    options = parser.parse_args(arguments)

    from tb_losslens import diagnose, load_runs

    console = Console()
    names = runs(options.seeds)
    job = partial(train, watched=not options.logged)
    trained = list(track(train_all(job, names, options.logdir, jobs=options.jobs), "training", len(names), console=console))
    for done in trained:
        if done.error:
            console.print(done.run, done.error, markup=False, highlight=False)
    loaded = load_runs(str(options.logdir))
    diagnoses = {name: diagnose(loaded[name]) for name in names if name in loaded}
    console.print(_table(diagnoses))
    claimed = sum(bool(faults(diagnosis)) for diagnosis in diagnoses.values())
    console.print(f"{claimed} of {len(diagnoses)} healthy trainings have a finding of kind fault", highlight=False)
    return 1 if claimed or len(diagnoses) < len(names) or any(done.error for done in trained) else 0


if __name__ == "__main__":
    sys.exit(main())
