"""Rows survive the end of their process: by kill -9 at any moment, and in every other way that it may end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tb_losslens.store.logdir import load_runs
from tests.record.kills import CHUNK_SECONDS, HOOKS, LOG, SHORT, Counted, check_hooks, check_logged, check_short, late_in_file

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session
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


# --- trainings through the writer -----------------------------------------------------------------------------------

WAYS = pytest.mark.parametrize(
    ("body", "check"), [(LOG, check_logged), (HOOKS, check_hooks), (SHORT, check_short)], ids=["logged", "hooks", "short"]
)


@WAYS
def test_random_moments(body, check, server, tmp_path):
    """`make soak` has 200 of them."""
    random = np.random.default_rng(0)
    for number in range(10):
        training = Counted(server, tmp_path / str(number), body)
        if number:  # else before anything is there
            training.wait_for(1)
            time.sleep(random.uniform(0, 0.8))
        when, done = training.kill()
        run = training.run()
        check(run, done)
        if done:
            # one more interval for the thread that writes, where the machine is busy
            assert len(late_in_file(run, when - CHUNK_SECONDS, training.through_tensorboard())) == 0


ENDS = {
    "exception": ("raise RuntimeError('from the loop')", 1),
    "sys.exit": ("sys.exit(3)", 3),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)", -signal.SIGTERM),
    "SIGINT": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(20)", -signal.SIGINT),
}


def at_batch(body, condition, line):
    """`body` with a line that is done after the batches for which the condition holds."""
    (said,) = [text for text in body.splitlines() if text.strip() == "say(batch)"]
    indent = said.removesuffix("say(batch)")
    return body.replace(said, f"{said}\n{indent}if {condition}:\n{indent}    {line}")


@WAYS
@pytest.mark.parametrize("how", ENDS)
def test_other_ends_lose_nothing_at_all(how, body, check, server, tmp_path):
    line, code = ENDS[how]
    training = Counted(server, tmp_path / "one", at_batch(body, "batch == 257", line))
    training.script.finish(code)
    run = training.run()
    assert training.done == len(run) == 257
    check(run, 257)
    for reading in (run, training.through_tensorboard()):
        assert len(reading) == 257
        assert [session["closed"] for session in reading.sessions] == [how != "SIGTERM"]
    # after SIGTERM everything stands in the event file, but the process may go on: nothing says that it has ended
    assert list((training.logs / "run").glob("*.tail")) == [] or how == "SIGTERM"


@WAYS
def test_signals_that_come_at_any_moment(body, check, server, tmp_path):
    random = np.random.default_rng(1)
    for number in range(8):
        end = (signal.SIGTERM, signal.SIGINT)[number % 2]
        training = Counted(server, tmp_path / str(number), body)
        training.wait_for(1)
        time.sleep(random.uniform(0, 0.3))
        training.script.send(end)
        training.script.finish(-end)
        check(training.run(), training.done)
        assert len(training.through_tensorboard()) == len(training.run())


@WAYS
@pytest.mark.parametrize("leaves", ["os._exit(0)", "sys.exit(0)"])
def test_forks_take_nothing_and_add_nothing(leaves, body, check, server, tmp_path):
    line = "child = os.fork()\n{0}if not child: " + leaves + "\n{0}os.waitpid(child, 0)"
    (said,) = [text for text in body.splitlines() if text.strip() == "say(batch)"]
    indent = said.removesuffix("say(batch)") + "    "
    changed = at_batch(body, "batch in (7, 207)", line.format(indent))
    training = Counted(server, tmp_path / "one", at_batch(changed, "batch == 250", "sys.exit(0)"))
    training.script.finish(0)
    run = training.run()
    assert len(run) == 250
    assert len(run.sessions) == 1
    check(run, 250)
