"""How long a flush holds the training thread: `python -m benchmarks.pause [--steps N] [--json]`.

The thread logs a batch of 24 columns and 128 ids, and spins, 2,000 times a second: the background thread closes,
compresses and writes chunks meanwhile, and contends for the GIL with pure Python, the worst that it can meet. A step that
takes longer than its 500 us was held up.

Steps in which the system took the processor away for another process are left out (an involuntary switch of the thread; to wait
for the GIL is a voluntary one). The same loop without recording, in turns, tells what is left of the machine itself, and
of each way the median of the turns counts. A turn of 4,000 steps closes 16 chunks, so the 0.1 % of its steps that are held up
longest are those of chunks.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.figures import Figure, show
from tb_losslens import LossLensWriter

STEP = 500e-6
TURNS = 7
SHARES = {"pause_median": 50.0, "pause_p99": 99.0, "pause_p99_9": 99.9, "pause_longest": 100.0}
COLUMNS = tuple(f"signal_{i}" for i in range(22))


def preempted() -> int:
    """How often the system took the processor away from this thread; 0 where it does not say."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw if hasattr(resource, "RUSAGE_THREAD") else 0


def late_ms(log: Callable[[int], object], steps: int) -> np.ndarray:
    """Milliseconds by which each of `steps` steps was late, NaN where the processor was taken away; shape (steps,)."""
    late = np.empty(steps)
    for step in range(steps):
        before = preempted()
        begin = perf_counter()
        log(step)
        until = begin + STEP
        while perf_counter() < until:
            pass
        late[step] = (perf_counter() - until) * 1e3
        if preempted() != before:
            late[step] = np.nan
    return late


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4_000, help="steps of a turn")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    random = np.random.default_rng(0)
    rows = [dict(zip(COLUMNS, values, strict=True)) for values in random.lognormal(size=(1000, 22)).tolist()]
    ids = random.integers(0, 1 << 20, (1000, 128))
    with tempfile.TemporaryDirectory() as folder, LossLensWriter(folder) as writer:

        def log(step: int) -> None:
            writer.log_batch(0.5, step=step, sample_ids=ids[step % 1000], **rows[step % 1000])

        late_ms(log, 1000)  # threads start, memory is taken
        turns = [(late_ms(log, args.steps), late_ms(lambda _: None, args.steps)) for _ in range(TURNS)]
    figures = {}
    for name, share in SHARES.items():
        ours, alone = (median(float(np.nanpercentile(times, share)) for times in way) for way in zip(*turns, strict=True))
        figures[name] = Figure(ours, "ms", {"the loop alone": alone})
    show(figures)


if __name__ == "__main__":
    main()
