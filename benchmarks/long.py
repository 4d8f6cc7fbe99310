"""What a long run takes of memory and disk: `python -m benchmarks.long [--steps N] [--json]`.

A batch has 24 columns, and 128 ids of a million samples; the steps are logged as fast as they go. Memory is what the process
has grown by between a tenth of the steps and all of them, and in all since before the writer was made. Bytes a step do not
depend on the length of a run, so that those of a million steps follow from fewer.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, show
from tb_losslens import LossLensWriter

COLUMNS = tuple(f"signal_{i}" for i in range(22))
BATCH, SAMPLES = 128, 1_000_000


def resident() -> int:
    """Bytes of this process in memory now; where the system does not say, the most that there ever were."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def size(folder: str) -> int:
    """Bytes of the files of a run."""
    return sum(path.stat().st_size for path in Path(folder).iterdir())


def record(steps: int, *, ids: bool) -> tuple[float, float, float]:
    """Bytes of disk a step, and MB by which memory grew: after a tenth of the steps, and since the beginning."""
    random = np.random.default_rng(0)
    # numbers as a training has them: single precision, every one different
    rows = [dict(zip(COLUMNS, values, strict=True)) for values in random.lognormal(size=(1000, 22)).astype("f4").tolist()]
    order, at = random.permutation(SAMPLES), 0
    begin, tenth = resident(), 0
    with tempfile.TemporaryDirectory() as folder:
        with LossLensWriter(folder) as writer:
            for step in range(steps):
                if step == steps // 10:
                    tenth = resident()
                given = None
                if ids:
                    if at + BATCH > SAMPLES:
                        random.shuffle(order)
                        at = 0
                    given, at = order[at : at + BATCH], at + BATCH
                writer.log_batch(0.5, step=step, sample_ids=given, **rows[step % 1000])
            end = resident()
        return size(folder) / steps, (end - tenth) / 1e6, (end - begin) / 1e6


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    figures = {}
    for name, ids in (("without_ids", False), ("with_ids", True)):
        disk, growth, held = record(args.steps, ids=ids)
        figures[f"disk_{name}"] = Figure(disk, f"bytes a step of 24 columns ({disk:.3g} MB a million steps)")
        figures[f"memory_{name}"] = Figure(held, f"MB held after {args.steps:,} steps")
        figures[f"growth_{name}"] = Figure(growth, f"MB more after {args.steps:,} steps than after {args.steps // 10:,}")
    show(figures)


if __name__ == "__main__":
    main()
