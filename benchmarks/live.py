"""How late a batch is seen while a training runs: `python -m benchmarks.live [--seconds N] [--batches N] [--json]`.

A training of 50 batches a second is recorded as any is, TensorBoard serves it with its default flags (it loads new data each
5 s), and the tab is open in Chromium. Measured is, for each batch, the time from when it was handed to the recorder to when the
timeline that holds it is on the screen. `--batches` is how many the run has before the tab is opened.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from bisect import bisect_left
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, show
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session
from tests.e2e.browser import missing, scenario
from tests.tensorboard_process import tensorboard

RUN = "live"
PER_EPOCH = 500
APART = 0.02
DEFAULT_RELOAD = "5"


class Training:
    """Records a batch each 20 ms until it is stopped; `at[n]` is when batch n was recorded."""

    def __init__(self, folder: Path, batches: int) -> None:
        self.at: list[float] = []
        self._file = EventFile(folder)
        self._session = Session(folder, self._file)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        for _ in range(batches):
            self._step()
        self._session.flush()
        self._file.flush()

    def __enter__(self) -> Training:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._session.close()
        self._file.close()

    def _run(self) -> None:
        while not self._stop.wait(APART):
            self._step()

    def _step(self) -> None:
        step, now = len(self.at), time.time()
        epoch, index = divmod(step, PER_EPOCH)
        if index == 0:
            self._session.record("epoch_begin", step=step, fields={"epoch": epoch}, when=now)
        self._session.put({"step": step, "time": now, "loss": 1 + 1 / (1 + step), "epoch": epoch, "index": index, "lr": 0.1})
        self.at.append(now)


def delays(recorded: list[float], seen: list[tuple[float, int]]) -> list[float]:
    """Seconds from recording to sight of each batch that was recorded after the first sight and seen by the last.

    Args:
        recorded: when each batch was recorded, rising.
        seen: when the page showed how many batches, rising.
    """
    out = []
    shown = [count for _, count in seen]
    for batch in range(shown[0], shown[-1]):
        at, _ = seen[bisect_left(shown, batch + 1)]
        if recorded[batch] >= seen[0][0]:
            out.append(at - recorded[batch])
    return out


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    reason = missing()
    if reason:
        parser.error(reason)
    with (
        tempfile.TemporaryDirectory() as place,
        Training(Path(place, RUN), args.batches) as training,
        tensorboard(Path(place), "--reload_interval", DEFAULT_RELOAD) as server,
    ):
        server.wait_for_runs([RUN])
        seen = json.loads(scenario("live_sights", server.base, timeout=args.seconds + 120, run=RUN, seconds=args.seconds))
        late = sorted(delays(training.at, [(at, count) for at, count in seen]))
    if not late:
        parser.exit(1, "the page showed no new batch\n")
    show(
        {
            "delay, median": Figure(median(late), "s"),
            "delay, longest": Figure(late[-1], "s"),
            "measured over": Figure(len(late), "batches"),
        }
    )


if __name__ == "__main__":
    main()
