"""What one recorded row costs the training thread, beside other writers: `python -m benchmarks.writer [--json]`."""

from __future__ import annotations

import csv
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from benchmarks.figures import Figure, show
from tb_losslens import LossLensWriter
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session

COLUMNS = tuple(f"signal_{i}" for i in range(24))


def median_us(call: Callable[[int], object], count: int, repeats: int = 5) -> float:
    """Median over `repeats` of the mean time of `call(i)`, in microseconds."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        for i in range(count):
            call(i)
        times.append((perf_counter() - start) / count * 1e6)
    return sorted(times)[repeats // 2]


def in_real_step(call: Callable[[int], object], count: int, step_us: float = 250) -> float:
    """Median time of `call(i)` in microseconds where 250 us of other work lie between two calls."""
    times = []
    ballast = list(range(5000))
    for i in range(count):
        until = perf_counter() + step_us * 1e-6
        while perf_counter() < until:
            sum(ballast)  # as a real step does: other code and other data pass through the caches
        start = perf_counter()
        call(i)
        times.append((perf_counter() - start) * 1e6)
    return sorted(times)[count // 2]


def main() -> None:
    """Measures and prints."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        # numbers as a training has them: single precision, every one different
        table = np.random.default_rng(0).lognormal(size=(1000, 24)).astype(np.float32).astype(float).tolist()
        dicts = [dict(zip(COLUMNS, values, strict=True)) for values in table]
        (root / "ours").mkdir()
        file = EventFile(root / "ours")
        session = Session(root / "ours", file)
        torch_writer, ours = SummaryWriter(str(root / "torch")), LossLensWriter(str(root / "scalars"))
        text = (root / "rows.csv").open("w", newline="")
        rows = csv.writer(text)

        def put(i: int) -> None:
            session.put(dicts[i % 1000])

        def add_24(i: int) -> None:
            for name, value in zip(COLUMNS, table[i % 1000], strict=True):
                torch_writer.add_scalar(name, value, i)

        def write_csv(i: int) -> None:
            rows.writerow([i, *table[i % 1000]])

        figures = {
            "row_vs_add_scalar": Figure(
                median_us(put, 20_000),
                "us a row of 24",
                {"24 add_scalar of torch": median_us(add_24, 300), "csv": median_us(write_csv, 20_000)},
            ),
            "row_in_a_250_us_step": Figure(
                in_real_step(put, 4_000), "us a row of 24", {"24 add_scalar of torch": in_real_step(add_24, 300)}
            ),
            "add_scalar": Figure(
                median_us(lambda i: ours.add_scalar("accuracy", 0.5, i), 20_000),
                "us a call",
                {"torch": median_us(lambda i: torch_writer.add_scalar("accuracy", 0.5, i), 5_000)},
            ),
        }
        for closing in (session, file, torch_writer, ours, text):
            closing.close()  # type: ignore[attr-defined]
        size = sum(p.stat().st_size for p in (root / "ours").iterdir())
        figures["bytes_a_row"] = Figure(size / session.batches, "bytes a row of 24")
        show(figures)


if __name__ == "__main__":
    main()
