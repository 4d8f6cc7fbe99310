"""A second writer in a directory: the newer session wins from its first batch on, what it overtook is kept and marked."""

import signal

import numpy as np
import pytest

from tb_losslens.analysis.causes import log_overlap
from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs, read_recording
from tests.analysis.contexts import findings
from tests.record.kills import LOG, Counted, check_logged


def write(logdir, first, value, rows=50, **kwargs):
    with LossLensWriter(str(logdir), **kwargs) as writer:
        for step in range(first, first + rows):
            writer.log_batch(value, step=step, sample_ids=[step])


def rows_on_disk(logdir):
    """Batches of each session, in the order of their names, which is that of their starts."""
    rows = {}
    for chunk in read_recording(logdir).chunks:
        rows[chunk.session] = rows.get(chunk.session, 0) + chunk.count
    return [rows[session] for session in sorted(rows)]


@pytest.mark.parametrize("purged", [False, True])
def test_a_resume_that_goes_back(purged, tmp_path):
    for first, value in ((0, 1.0), (30, 2.0), (60, 3.0)):
        write(tmp_path / "run", first, value, purge_step=first if purged and first else None)
    run = load_runs(tmp_path)["run"]
    np.testing.assert_array_equal(run.step, np.arange(110))
    np.testing.assert_array_equal(run.loss, np.repeat([1.0, 2.0, 3.0], [30, 30, 50]))
    assert [run.ragged["sample_ids"][row].tolist() for row in range(110)] == [[step] for step in range(110)]
    assert run.superseded == 40
    assert [(part["first_step"], part["last_step"], part["batches"]) for part in run.sessions] == [
        (0, 49, 50),
        (30, 79, 50),
        (60, 109, 50),
    ]
    assert rows_on_disk(tmp_path / "run") == [50, 50, 50]
    # it is marked as what it is: asked for, or not
    assert run.facts.get("purge_step") == (60 if purged else None)
    assert bool(findings(log_overlap, run)) != purged


def test_a_resume_after_kill_9(server, tmp_path):
    """The tail of the dead process goes into the event file, and what the new session overtakes stays there."""
    training = Counted(server, tmp_path / "one", LOG)
    training.wait_for(400)
    training.script.send(signal.SIGKILL)
    training.script.finish(-signal.SIGKILL)
    check_logged(training.run(), training.done)
    written = len(training.run())
    write(training.logs / "run", 300, -1.0, rows=200)
    run = training.run()
    np.testing.assert_array_equal(run.step, np.arange(500))
    np.testing.assert_array_equal(run.loss, np.r_[np.arange(300) / 8, np.full(200, -1.0)])
    assert run.superseded == written - 300
    assert run.problems == ()
    assert [part["closed"] for part in run.sessions] == [False, True]
    assert list((training.logs / "run").glob("*.tail")) == []
    for reading in (run, training.through_tensorboard()):
        assert [part["batches"] for part in reading.sessions] == [written, 200]
