"""Rows on both sides of a hole in a recording are no neighbours."""

from dataclasses import replace

import numpy as np

from tb_losslens.analysis.boundaries import find_cuts, nothing, refusal
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Gap, Run


def sawtooth(epochs=8, length=50):
    """A learning rate that falls a thousandfold in each epoch in steps of 13 % and is back up slowly, so that no row jumps."""
    rng = np.random.default_rng(0)
    n = epochs * length
    wave = np.abs((np.arange(n) / (2 * length)) % 1 - 0.5) * 2
    return Run.from_arrays(loss=1 + wave + 0.05 * rng.standard_normal(n), lr=0.1 * 10 ** (3 * (wave - 1)), epoch_length=length)


def without(run, first, last):
    """The run with rows `first <= row < last` lost."""
    kept = np.r_[0:first, last : len(run)]
    return replace(run, columns={k: v[kept] for k, v in run.columns.items()}, gaps=(Gap(first, last - first),))


def test_an_epoch_that_is_lost_makes_no_boundary_and_no_restart():
    whole = sawtooth()
    assert not any(b.significant for b in diagnose(whole).boundaries)
    for k in range(1, 6):
        run = without(whole, 50 * k + 10, 50 * k + 60)
        unaware = diagnose(replace(run, gaps=()))
        aware = diagnose(run)
        assert [f.cause for f in unaware.findings] == ["lr_increase" if k % 2 else "lr_decrease"]
        assert [f.cause for f in aware.findings] == ["batch_noise"]
        assert np.isnan(aware.boundaries[k].z)
        assert np.isfinite(unaware.boundaries[k].z)
        assert [b.epoch for b in aware.boundaries] == [b.epoch for b in unaware.boundaries]


def test_only_rows_between_the_hole_and_the_boundary_are_used():
    run = sawtooth()
    plain = find_cuts(run)
    inside = find_cuts(replace(run, gaps=(Gap(120, 7),)))
    assert inside.first.tolist() == [0, 50, 120, *plain.first[3:]]
    assert inside.end.tolist() == [100, 120, *plain.end[2:]]
    assert inside.length == plain.length
    at = find_cuts(replace(run, gaps=(Gap(100, 7),)))
    assert (at.last - at.first)[1] == 0
    assert (at.end - at.start)[1] == 0
    assert (at.last - at.first)[[0, 2, 3]].tolist() == [50, 50, 50]
    assert (at.end - at.start)[[0, 2, 3]].tolist() == [50, 50, 50]
    edges = find_cuts(replace(run, gaps=(Gap(0, 3), Gap(len(run), 3))))
    assert edges.first.tolist() == plain.first.tolist()
    assert edges.end.tolist() == plain.end.tolist()


def test_why_there_is_no_batch():
    newer = Run("r", problems=("p",), unread="Written by a newer LossLens (format 9): update tb_losslens to read it.")
    diagnosis = diagnose(newer)
    assert diagnosis.headline == diagnosis.verdict == newer.unread
    assert diagnosis.problems == ("p",)
    assert diagnosis.skipped == ()
    empty = diagnose(Run("r", facts={"empty_passes": 3}))
    assert empty.headline == "The loader gave no batch: it was iterated 3 times and is empty."
    assert diagnose(Run("r")).headline == "No batch has been recorded yet."
    assert nothing(Run.from_arrays(loss=[1.0])) == ""


def test_a_loss_that_is_never_a_number_was_recorded():
    rows = np.arange(60)
    run = Run.from_arrays(loss=np.full(60, np.nan), epoch_length=20)
    early = Run.from_arrays(step=rows, epoch_length=20)
    for one in (run, replace(early, facts={"loss_source": "log_batch"})):
        assert refusal(one, find_cuts(one)) == "The loss was recorded, and it is NaN in each of the 60 batches."
        assert any(item.why == "needs loss, which is NaN in every batch" for item in diagnose(one).skipped)
    assert "was not recorded" in refusal(early, find_cuts(early))
