"""A disk that is full for a while, stood in for by a limit on the size of files."""

import resource
import signal
from contextlib import contextmanager

import pytest

from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session
from tb_losslens.store.logdir import load_runs


@contextmanager
def no_room(path):
    """The file at `path` cannot grow by more than a few bytes; other files of its size neither."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.fixture
def recording(tmp_path):
    """A session whose tail could be made, or not; and what it warned of."""

    def make(*, tail):
        warnings = []
        file = EventFile(tmp_path / "run", warn=warnings.append)
        session = Session(tmp_path / "run", file, warnings.append)
        if not tail:
            session._buffer._ring._remove()
        return session, file, warnings

    return make


def put(session, file, epochs):
    """An epoch of 20 batches each, closed by a flush, so that each is a chunk of its own."""
    for epoch in epochs:
        for i in range(20):
            session.put({"loss": epoch + i / 20, "epoch": epoch, "index": i})
        session.record("epoch_end", fields={"epoch": epoch, "order_hash": f"order {epoch}"})
        file.flush()


@pytest.mark.parametrize("tail", [True, False])
def test_recording_goes_on_when_there_is_room_again(recording, tmp_path, tail):
    session, file, warnings = recording(tail=tail)
    put(session, file, range(2))
    with no_room(tmp_path / "run" / file.path):
        put(session, file, range(2, 12))
        assert file.trouble == "File too large"
    file._attempts.due = 0.0  # it is time to try again
    put(session, file, range(12, 14))
    assert file.trouble == ""
    session.close()
    file.close()
    run = load_runs(tmp_path)["run"]
    kept = [e.epoch for e in run.epochs]
    assert kept == [0, 1, *range(kept[2], 14)]
    lost = 20 * (kept[2] - 2)
    assert 0 < lost < 200
    assert [(gap.row, gap.batches) for gap in run.gaps] == [(40, lost)]
    assert run.problems[0].startswith(f"{lost} of 280 batches could not be written (File too large)")
    assert [(e.epoch, e.fields["order_hash"]) for e in run.epochs] == [(epoch, f"order {epoch}") for epoch in kept]
    assert sorted(e.fields["epoch"] for e in run.events if e.kind == "epoch_end") == list(range(14))
    assert len(warnings) == 2
    assert "batches are lost until that works again" in warnings[0]
    assert warnings[1] == f"LossLens could not write {lost} of 280 batches (File too large)."
    assert not list((tmp_path / "run").glob("*.tail"))


def test_a_short_trouble_costs_nothing(recording, tmp_path):
    session, file, warnings = recording(tail=True)
    put(session, file, range(2))
    with no_room(tmp_path / "run" / file.path):
        put(session, file, range(2, 5))
    put(session, file, range(5, 6))
    session.close()
    file.close()
    run = load_runs(tmp_path)["run"]
    assert len(run) == 120
    assert run.problems == ()
    assert run.gaps == ()
    assert len(warnings) == 1


def test_the_newest_batches_stay_in_the_tail_of_a_disk_that_stays_full(recording, tmp_path):
    session, file, warnings = recording(tail=True)
    put(session, file, range(2))
    with no_room(tmp_path / "run" / file.path):
        put(session, file, range(2, 12))
        session.close()
        file.close()
    run = load_runs(tmp_path)["run"]
    assert [e.epoch for e in run.epochs][-1] == 11
    missing = 240 - len(run)
    assert 0 < missing < 200
    assert sum(gap.batches for gap in run.gaps) == missing
    assert warnings[-1] == f"LossLens could not write {missing} of 240 batches (File too large)."


def test_where_nothing_failed_nothing_is_said(recording, tmp_path):
    session, file, warnings = recording(tail=True)
    put(session, file, range(12))
    session.close()
    file.close()
    assert load_runs(tmp_path)["run"].problems == ()
    assert warnings == []
