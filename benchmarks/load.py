"""How long it takes to read a run: `python -m benchmarks.load [--steps N] [--json]`.

Two runs of as many batches, of five columns each: a thousand steps a second, and one step a second, whose chunks are closed by
time and hold few batches. The second is written as fast as it goes, under a clock that is told to move on; with
`--steps 2592000` it is the month of a real one. Beside them is the same loss by `add_scalar` of torch's `SummaryWriter`.
Each is read by LossLens, from the files alone, and by TensorBoard's own loader in Python, as its server does where it has no
faster one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from torch.utils.tensorboard import SummaryWriter

from benchmarks.figures import Figure, show
from tb_losslens import load_runs
from tb_losslens.record.disk import session as session_module
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session

EPOCH = 10_000
TURNS = 3
MOST = 100_000
"""Steps of the run of scalars: what one of them takes does not depend on their number."""
ALL = {"losslens": 0, "scalars": 0}
"""So many points of a plugin TensorBoard keeps: all of them, for both."""


class Clock:
    """Stands for the module `time` while a run is written: its seconds pass when it is told so."""

    def __init__(self) -> None:
        self.passed, self._begin = 0.0, time.time()

    def monotonic(self) -> float:
        """Seconds since the begin."""
        return self.passed

    def time(self) -> float:
        """Seconds since 1970."""
        return self._begin + self.passed

    perf_counter = monotonic


def record(folder: Path, steps: int, seconds: float) -> None:
    """Writes a run of so many steps, so many seconds apart."""
    clock, real = Clock(), session_module.time
    session_module.time = clock  # type: ignore[attr-defined]
    try:
        file = EventFile(folder)
        session = Session(folder, file)
        for step in range(steps):
            values = {"step": step, "time": clock.time(), "loss": (step * 7919 % 10007) / 10007}
            session.put({**values, "epoch": step // EPOCH, "index": step % EPOCH})
            if step % EPOCH == EPOCH - 1:
                session.record("epoch_end", step=step, fields={"epoch": step // EPOCH})
            clock.passed += seconds
        session.close()
        file.close()
    finally:
        session_module.time = real  # type: ignore[attr-defined]


def scalars(folder: Path, steps: int) -> None:
    """Writes the same loss as a scalar of each step."""
    with SummaryWriter(str(folder)) as writer:
        for step in range(steps):
            writer.add_scalar("Loss/train", (step * 7919 % 10007) / 10007, step)


def by_tensorboard(folder: Path) -> None:
    """Reads a log directory as TensorBoard's server in Python does."""
    EventMultiplexer(tensor_size_guidance=ALL).AddRunsFromDirectory(str(folder)).Reload()


def microseconds(read: Callable[[Path], object], folder: Path, steps: int) -> float:
    """Time that `read` takes for a batch, the median of some turns."""
    times = []
    for _ in range(TURNS):
        begin = time.perf_counter()
        read(folder)
        times.append(time.perf_counter() - begin)
    return median(times) / steps * 1e6


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    unit, figures = "us a batch", {}
    with tempfile.TemporaryDirectory() as place:
        peer = Path(place, "scalars")
        least = min(args.steps, MOST)
        scalars(peer, least)
        theirs = {"a scalar of each step, by TensorBoard": microseconds(by_tensorboard, peer, least)}
        for name, seconds in (("a_thousand_steps_a_second", 1e-3), ("one_step_a_second", 1.0)):
            folder = Path(place, name)
            record(folder, args.steps, seconds)
            run = load_runs(folder)["."]
            if len(run) != args.steps or run.problems:
                raise RuntimeError(f"{len(run)} of {args.steps} batches were read: {run.problems}")
            figures[f"{name}, by LossLens"] = Figure(microseconds(load_runs, folder, args.steps), unit, theirs)
            figures[f"{name}, by TensorBoard"] = Figure(microseconds(by_tensorboard, folder, args.steps), unit, theirs)
            size = sum(path.stat().st_size for path in folder.iterdir()) / args.steps
            figures[f"{name}, on disk"] = Figure(size, "bytes a batch")
    show(figures)


if __name__ == "__main__":
    main()
