"""Rows survive the death of their process, by kill -9 and at any moment."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tb_losslens.store.logdir import load_runs

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from tb_losslens.record.event_file import EventFile
from tb_losslens.record.session import Session
logdir, pause = sys.argv[1], float(sys.argv[2])
file = EventFile(logdir)
session = Session(logdir, file)
import time
batch = 0
while True:
    row = {"loss": batch / 8, "step": batch, "a": -batch / 8, "epoch": batch // 500}
    if batch % 700 == 699:
        row["late"] = batch
    session.put(row, ids=range(batch, batch + 3))
    session.amend({"a": batch / 8})
    if batch % 500 == 499:
        session.record("epoch_end", fields={"epoch": batch // 500})
    batch += 1
    sys.stdout.write(f"{batch}\\n")
    sys.stdout.flush()
    if pause:
        time.sleep(pause)
"""


def killed(logdir, rows, pause=0.0):
    """Kills a recording process once it said that it has `rows` rows; returns how many it said in the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(logdir), str(pause)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    said = 0
    while said < rows:
        said = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split("\n")[:-1]
    process.wait()
    return int(rest[-1]) if rest else said


@pytest.mark.parametrize(("rows", "pause"), [(1, 0.0), (7, 0.01), (300, 0.0), (1023, 0.0), (5000, 0.0), (20_000, 0.0)])
def test_every_row_that_was_put_is_there(tmp_path, rows, pause):
    said = killed(tmp_path, rows, pause)
    run = load_runs(tmp_path)["."]
    assert said <= len(run) <= said + 1
    n = np.arange(len(run))
    np.testing.assert_array_equal(run.loss, n / 8)
    np.testing.assert_array_equal(run.columns["a"][:-1], n[:-1] / 8)  # the newest may not be amended yet
    np.testing.assert_array_equal(run.step, n)
    np.testing.assert_array_equal(run.ragged["sample_ids"].values.reshape(-1, 3), n[:, None] + np.arange(3))
    assert [event.batch for event in run.events] == list(range(500, len(run) + 1, 500))[: len(run.events)]
    assert len(run.events) >= (said - 1) // 500
    assert not [problem for problem in run.problems if "damaged" in problem or "could not be read" in problem]
    assert not run.sessions[0]["closed"]
    assert run.live


def test_the_tail_stays_and_the_run_is_live_for_a_minute_only(tmp_path):
    killed(tmp_path, 10)
    (tail,) = tmp_path.glob("*.tail")
    assert tail.stat().st_size > 1000
    from tb_losslens.store.assemble import assemble
    from tb_losslens.store.logdir import read_recording

    recording = read_recording(tmp_path)
    assert assemble("x", recording, now=time.time() + 30).live
    assert not assemble("x", recording, now=time.time() + 90).live
