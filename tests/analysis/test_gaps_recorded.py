"""A real recording out of whose file one chunk of batches was cut, judged by every cause."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event

from tb_losslens import diagnose, load_runs
from tb_losslens.analysis.causes import running_mean
from tb_losslens.analysis.mean_curve import de_averaged
from tb_losslens.analysis.orders import ids_of
from tb_losslens.analysis.whole import is_whole, lost_before, unbroken_start
from tb_losslens.store.records import Damage, scan_records
from tb_losslens.store.run import Epoch, Gap, Run
from tests.analysis.contexts import findings
from tests.analysis.recorded_images import record


def cut_a_chunk(directory: Path, which: int) -> Run:
    """Takes the record of one chunk of batches out of the event file, and reads the rest."""
    (file,) = directory.glob("events.*")
    data = file.read_bytes()
    whole, chunks, start = [], [], 0
    for begin, end in scan_records(data, Damage()):
        tags = [value.tag for value in Event.FromString(data[begin:end]).summary.value]
        if any(tag.startswith("losslens/") and "/b/" in tag for tag in tags):
            chunks.append(len(whole))
        whole.append(data[start : end + 4])
        start = end + 4
    del whole[chunks[which]]
    file.write_bytes(b"".join(whole))
    (run,) = load_runs(str(directory)).values()
    return run


@pytest.mark.parametrize("seed", [0, 1])
def test_a_healthy_recording_without_one_chunk_has_no_fault(tmp_path: Path, seed: int) -> None:
    whole = record(tmp_path, seed=seed, lr=0.02)
    run = cut_a_chunk(tmp_path, 3)
    assert run.gaps
    assert len(run) < len(whole)
    diagnosis = diagnose(run)
    assert [f.text for f in diagnosis.findings if f.kind in ("fault", "unknown")] == []
    assert not [s for s in diagnosis.skipped if s.why.startswith("failed")]
    assert int(lost_before(run)[-1]) == len(whole) - len(run)
    for epoch in run.epochs:
        (twin,) = (e for e in whole.epochs if e.epoch == epoch.epoch)
        same = len(epoch) == len(twin)
        assert is_whole(run, epoch) == same
        assert np.array_equal(ids_of(run, epoch), ids_of(whole, twin)[: len(ids_of(run, epoch))])
        assert len(ids_of(run, epoch)) == 800 or not same


def holed(run: Run, first: int, last: int) -> Run:
    kept = np.r_[0:first, last : len(run)]
    return Run("run", {k: v[kept] for k, v in run.columns.items()}, gaps=(Gap(first, last - first),))


@pytest.mark.parametrize("since", ["epoch", "training"])
def test_a_running_mean_goes_on_over_a_hole(since: str) -> None:
    raw = 1 + np.random.default_rng(0).exponential(size=400)
    parts = np.split(raw, 8) if since == "epoch" else [raw]
    logged = np.concatenate([np.cumsum(part) / np.arange(1, len(part) + 1) for part in parts])
    run = holed(Run.from_arrays(loss=raw, logged_loss=logged, epoch_length=50), 120, 135)
    (finding,) = findings(running_mean, run)
    assert finding.strength == "proved"
    columns = {**run.columns, "loss": run.columns["logged_loss"]}
    back = de_averaged(Run("run", columns, gaps=run.gaps), since).loss
    assert np.allclose(np.delete(back, 120), np.delete(run.loss, 120))
    assert np.isclose(back[120], raw[120:136].mean())


def test_where_an_epoch_is_whole() -> None:
    run = Run.from_arrays(loss=np.ones(100), epoch_length=50)
    inside, between = (Run("run", run.columns, gaps=(Gap(row, 5),)) for row in (20, 50))
    assert [is_whole(inside, e) for e in run.epochs] == [False, True]
    assert [is_whole(between, e) for e in run.epochs] == [False, False]
    assert is_whole(between, Epoch(1, 50, 100, {"batches": 50}))
    assert unbroken_start(inside, run.epochs[0]) == 20
    assert unbroken_start(run, run.epochs[0]) == 50
