"""Trains demo runs side by side in worker processes, each into a directory of its own."""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

LEFTOVERS = ("events.out.tfevents.*", "losslens.*")
"""Files of an earlier training, which would look like a second writer in the same directory."""


@dataclass(frozen=True)
class Trained:
    """One training: its name, how long it took (seconds), and the traceback of what stopped it or ""."""

    run: str
    seconds: float
    error: str = ""


def train_all(
    train: Callable[[str, str], None],
    runs: Sequence[str],
    logdir: Path,
    *,
    jobs: int = 2,
) -> Iterator[Trained]:
    """Calls `train(directory, run)` for every run in `jobs` processes and yields each as it ends.

    Args:
        train: a function at the top of a module, so that a new process can find it.
        runs: names, each of which becomes a directory of `logdir`; what an earlier training left there is removed.
        logdir: made if it is missing.
        jobs: worker processes, each with one thread of torch.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max_workers=min(jobs, len(runs)) or 1, mp_context=context, initializer=_start_worker)
    with pool:
        pending = [pool.submit(_train_one, train, run, str(logdir / run)) for run in runs]
        try:
            for future in as_completed(pending):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    torch.set_num_threads(1)


def _train_one(train: Callable[[str, str], None], run: str, directory: str) -> Trained:
    started = time.perf_counter()
    try:
        _clear(Path(directory))
        train(directory, run)
    except Exception:  # noqa: BLE001 - one broken run is reported by the caller and must not take the others along
        return Trained(run, time.perf_counter() - started, traceback.format_exc())
    return Trained(run, time.perf_counter() - started)


def _clear(directory: Path) -> None:
    """Removes what an earlier training wrote into `directory`, and nothing else."""
    for pattern in LEFTOVERS:
        for path in directory.glob(pattern):
            path.unlink()
