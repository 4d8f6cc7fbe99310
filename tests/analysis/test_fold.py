"""The loss by epoch and position."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from scipy import stats

from tb_losslens.analysis.fold import fold, grouped, profile
from tb_losslens.analysis.fold_words import said, slopes, stripes
from tb_losslens.store.run import Run


def noise(epochs: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(2.0, 0.1, (epochs, length))


def run_of(loss: np.ndarray) -> Run:
    return Run.from_arrays(loss=loss.reshape(-1), epoch_length=loss.shape[1])


def test_cells_are_the_means_that_a_loop_finds() -> None:
    loss = noise(7, 1000)
    loss[2, 100:140], loss[3, 5] = np.nan, np.inf
    folded = fold(Run.from_arrays(loss=loss.reshape(-1)[:6400], epoch_length=1000), 90)
    edges = [*folded.position.tolist(), 1000]
    for row, (number, (a, b)) in itertools.product(range(7), enumerate(itertools.pairwise(edges))):
        end = 1000 if row < 6 else 400
        part = loss[row, a : min(b, end)]
        part = part[np.isfinite(part)]
        if len(part):
            assert folded.cells[row, number] == pytest.approx(part.mean())
        else:
            assert np.isnan(folded.cells[row, number])
    assert folded.whole.tolist() == [True] * 6 + [False]
    assert folded.level[6] == pytest.approx(loss[6, :400].mean())


def test_rows_between_epochs_belong_to_none() -> None:
    epoch = np.repeat([0, -1, 1], [10, 3, 10])
    loss = np.where(epoch < 0, 100.0, 1.0)
    folded = fold(Run.from_arrays(loss=loss, epoch=epoch, index=np.zeros(23, dtype=np.int64)))
    assert folded.cells.shape == (2, 10)
    assert np.all(folded.cells == 1.0)


def with_a_peak(*lost: tuple[int, slice]) -> Run:
    """Eight epochs of 60 batches with a high loss at the 20th; of each epoch in `lost` the named batches are missing."""
    epoch, index = np.repeat(np.arange(8), 60), np.tile(np.arange(60), 8)
    loss = noise(8, 60)
    loss[:, 20] += 3.0
    kept = np.ones((8, 60), dtype=bool)
    for number, batches in lost:
        kept[number, batches] = False
    rows = kept.reshape(-1)
    return Run.from_arrays(loss=loss.reshape(-1)[rows], epoch=epoch[rows], index=index[rows])


def test_batches_that_were_lost_leave_their_places_empty() -> None:
    folded = fold(with_a_peak((1, slice(0, 5)), (3, slice(0, 5)), (4, slice(10, 14))))
    assert folded.whole.all()
    assert folded.length == 60
    assert np.nanargmax(folded.cells, axis=1).tolist() == [20] * 8
    assert np.isnan(folded.cells[1, :5]).all()
    assert np.isnan(folded.cells).sum() == 14
    assert "Upright stripes" in said(folded)


def test_an_index_that_does_not_rise_or_has_mostly_holes_is_not_believed() -> None:
    run = with_a_peak((1, slice(0, 5)))
    assert fold(Run("run", {**run.columns, "index": np.zeros(len(run), dtype=np.int64)})).cells.shape == (8, 60)
    assert fold(Run("run", {**run.columns, "index": run.columns["index"] * 10})).length == 60
    unknown = np.where(np.arange(len(run)) < 60, np.nan, run.columns["index"])
    assert fold(Run("run", {**run.columns, "index": unknown})).length == 60


def test_many_epochs_share_rows() -> None:
    loss = noise(1000, 20)
    cells, level, first, every = grouped(fold(run_of(loss)), 96)
    assert every == 11
    assert cells.shape == (91, 20)
    np.testing.assert_allclose(cells[0], loss[:11].mean(axis=0))
    np.testing.assert_allclose(level[-1], loss[990:].mean())
    assert [epoch.epoch for epoch in first[:3]] == [0, 11, 22]


def test_the_interval_is_students() -> None:
    loss = noise(12, 50)
    found = profile(fold(run_of(loss)))
    deviations = loss - loss.mean(axis=1, keepdims=True)
    low, high = stats.t.interval(0.95, 11, loc=deviations.mean(axis=0), scale=stats.sem(deviations, axis=0))
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(found.high, high)
    assert np.isnan(profile(fold(run_of(noise(2, 50)))).mean).all()


def test_the_correlation_of_pairs_is_that_of_all_pairs() -> None:
    loss = noise(9, 60) + np.sin(np.arange(60))
    found = stripes(fold(run_of(loss)).deviations)
    assert found is not None
    x = np.arange(60)
    rest = np.stack([row - np.polyval(np.polyfit(x, row, 1), x) for row in loss])
    pairs = np.corrcoef(rest)[np.triu_indices(9, 1)]
    assert found.correlation == pytest.approx(pairs.mean())


def test_noise_shows_neither_slope_nor_stripes() -> None:
    false = 0
    for seed in range(200):
        told = said(fold(run_of(noise(12, 80, seed))))
        false += "no slope" not in told or "No position stands out" not in told
    assert false <= 4  # a slope is told of 1 % of them at most


def test_what_is_there_is_told() -> None:
    ramp = np.linspace(0, 0.5, 80)
    assert "rises from its first to its last quarter, in 12 of 12 epochs" in said(fold(run_of(noise(12, 80) + ramp)))
    assert "falls" in said(fold(run_of(noise(12, 80) - ramp)))
    order = np.random.default_rng(1).normal(0, 0.3, 80)
    assert "Upright stripes" in said(fold(run_of(noise(12, 80) + order)))
    assert np.median(slopes(fold(run_of(noise(12, 80) + ramp)).deviations)) == pytest.approx(0.375, abs=0.05)


def test_a_sawtooth_needs_a_step_down_between_epochs() -> None:
    ramp = np.linspace(0, 0.5, 80)
    assert "a sawtooth" in said(fold(run_of(noise(12, 80) + ramp)))
    falling = noise(12, 80) + ramp - 0.3 * np.arange(12)[:, None]
    assert "a sawtooth" in said(fold(run_of(falling)))
    rising = noise(12, 80) + ramp + 0.5 * np.arange(12)[:, None]
    told = said(fold(run_of(rising)))
    assert "rises from its first to its last quarter, in 12 of 12 epochs" in told
    assert "sawtooth" not in told


def test_few_epochs_have_no_slope_that_can_be_told() -> None:
    ramp = np.linspace(0, 5, 80)
    assert said(fold(run_of(noise(7, 80) + ramp))).startswith("7 whole epochs with a loss are too few to tell a slope")
    assert "in 8 of 8 epochs" in said(fold(run_of(noise(8, 80) + ramp)))


def moving_mean(n: int, part: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 2 + 0.1 * np.convolve(rng.normal(size=n + 400), part ** np.arange(400))[400 : 400 + n]


@pytest.mark.parametrize("part", [0.9, 0.98])
@pytest.mark.parametrize("epochs", [3, 5, 10])
def test_a_loss_that_is_a_moving_mean_has_no_stripes(part: float, epochs: int) -> None:
    told = [said(fold(run_of(moving_mean(epochs * 100, part, seed).reshape(epochs, 100)))) for seed in range(100)]
    assert sum("Upright" in each for each in told) <= 1


@pytest.mark.parametrize("epochs", [5, 10])
def test_stripes_of_a_smooth_loss_are_found_all_the_same(epochs: int) -> None:
    order = np.convolve(np.random.default_rng(1).normal(0, 1, 120), 0.7 ** np.arange(20))[20:120]
    loss = moving_mean(epochs * 100, 0.7, 0).reshape(epochs, 100) + order
    assert "Upright stripes" in said(fold(run_of(loss)))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (Run("empty"), "No epoch is known"),
        (Run.from_arrays(loss=np.ones(9)), "No epoch is known"),
        (run_of(noise(1, 20)), "1 whole epoch so far"),
        (run_of(noise(2, 20)), "2 whole epochs so far"),
        (run_of(np.ones((5, 20))), "a straight line within nearly all epochs"),
        (run_of(np.full((5, 20), np.nan)), "No loss is known"),
        (run_of(noise(5, 1)), "Too few positions"),
    ],
)
def test_little_is_said_of_little(run: Run, words: str) -> None:
    assert words in said(fold(run))


def test_a_million_batches_of_a_thousand_epochs_are_folded_in_one_pass(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(noise(1000, 1000).astype(np.float32))
    fold(run)
    start = time.perf_counter()
    folded = fold(run)
    said(folded)
    profile(folded)
    with capsys.disabled():
        print(f"\na million batches are folded in {1000 * (time.perf_counter() - start):.0f} ms")
    assert folded.cells.shape == (1000, 143)
