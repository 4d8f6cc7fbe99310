"""How long a diagnosis takes, from a cold process: `python -m benchmarks.analysis [--batches N ...] [--json]`.

A run of 20 columns and epochs of 1,000 batches is written as a training would write it. Each figure is the time of a new
process that imports what it needs, reads the whole run and diagnoses it, beside one that only reads and sorts each column.
Modules are compiled before, as they are where a package is installed.
Growth is what ten times as many batches take, over ten.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.figures import Figure, show
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session

PER_EPOCH = 1000
MEASURED = ("grad_norm", "grad_norm_at_step", "update_ratio", "weight_norm", "input_mean", "input_std")
BESIDE = ("data_wait", "curvature", "moment1_norm", "moment2_norm")

_DIAGNOSE = """
import sys
from tb_losslens import diagnose, load_runs
(run,) = load_runs(sys.argv[1]).values()
print(len(run), len(list(run.columns)), diagnose(run).kind)
"""
_SORT = """
import sys
import numpy as np
from tb_losslens import load_runs
(run,) = load_runs(sys.argv[1]).values()
for name in run.columns:
    np.sort(run.columns[name])
print(len(run), len(list(run.columns)))
"""


def write(folder: Path, batches: int) -> None:
    """A healthy run: the loss falls and is noisy, everything else is noise around its level."""
    random = np.random.default_rng(0)
    loss = 2 * np.exp(-4 * np.arange(batches) / batches) + 0.3 + 0.05 * random.standard_normal(batches)
    names = (*MEASURED, *BESIDE)
    file = EventFile(folder)
    session = Session(folder, file)
    rest = {"batch_size": 128, "lr": 0.1, "train_mode": 1.0, "dense": 1, "cadence": 1}
    for epoch in range(-(-batches // PER_EPOCH)):
        session.record("epoch_begin", fields={"epoch": epoch})
        values = random.lognormal(0, 0.1, (PER_EPOCH, len(names))).astype(np.float32).astype(float).tolist()
        for index in range(PER_EPOCH):
            step = epoch * PER_EPOCH + index
            if step < batches:
                row = {"step": step, "epoch": epoch, "index": index, "time": 1.7e9 + step / 10, "loss": float(loss[step])}
                session.put({**row, **rest, **dict(zip(names, values[index], strict=True))})
        session.record("epoch_end", fields={"epoch": epoch, "batches": PER_EPOCH, "complete": True})
    session.close()
    file.close()


def cold(code: str, folder: Path, *, times: int = 3) -> float:
    """Seconds of a new process, the shortest of some; one before them compiles what it imports, beside `folder`."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = f"{folder}.compiled"
    taken = []
    for _ in range(times + 1):
        start = perf_counter()
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True, env=environment)
        taken.append(perf_counter() - start)
    return min(taken[1:])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    figures: dict[str, Figure] = {}
    seconds: dict[int, float] = {}
    for batches in args.batches:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "run"
            folder.mkdir()
            write(folder, batches)
            seconds[batches] = cold(_DIAGNOSE, folder)
            short = f"{batches // 1_000_000}m" if batches >= 1_000_000 else f"{batches // 1000}k"
            figures[f"diagnose_{short}_x20_cold_s"] = Figure(
                seconds[batches], "s", {"to read and sort it": cold(_SORT, folder)}
            )
    for fewer, more in pairwise(args.batches):
        figures[f"growth_to_{more}"] = Figure(seconds[more] / seconds[fewer] / (more / fewer), "x what is proportional")
    show(figures)


if __name__ == "__main__":
    main()
