"""Jumps and placebos against a twin in plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.analysis.boundaries import find_cuts
from tb_losslens.analysis.contrast import contrast
from tb_losslens.store.run import Run
from tests.analysis.series import healthy


def twin(loss: np.ndarray, first: int, cut: int, end: int, m: int) -> tuple[float, list[float]]:
    """The jump at `cut`, and the same contrast at every cut of both epochs at least 2m away from it."""

    def move(at: int) -> float:
        return float(loss[at : at + m].mean() - loss[at - m : at].mean())

    places = [c for c in range(first + m, end - m + 1) if abs(c - cut) >= 2 * m]
    return move(cut), [move(c) for c in places if c + m <= cut or c - m >= cut]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("m", [1, 3, 5])
def test_every_boundary_is_that_of_the_twin(seed: int, m: int) -> None:
    run = healthy(np.random.default_rng(seed))
    cuts = find_cuts(run)
    got = contrast(run.loss, cuts, m)
    for k in range(len(cuts)):
        jump, placebos = twin(run.loss, int(cuts.first[k]), int(cuts.last[k]), int(cuts.end[k]), m)
        assert got.jump[k] == pytest.approx(jump)
        spread = 1.4826 * np.median(np.abs(placebos - np.median(placebos)))
        if m < 6:  # every cut is taken (a third of a window is below 2), so the twin agrees to the last digit
            assert got.count[k] == len(placebos)
            assert got.centre[k] == pytest.approx(np.median(placebos))
            assert got.low[k] == pytest.approx(np.quantile(placebos, 0.025))
        assert got.scale[k] >= spread * (1 - 1e-9)  # the floor from batch noise may lift it


def test_thinned_placebos_say_the_same_as_all_of_them() -> None:
    rng = np.random.default_rng(3)
    loss = 1 + 0.1 * rng.normal(size=3000)
    cuts = find_cuts(Run.from_arrays(loss=loss, epoch_length=1500))
    got = contrast(loss, cuts, 30)
    _, placebos = twin(loss, 0, 1500, 3000, 30)
    assert got.count[0] < len(placebos) / 5
    assert got.centre[0] == pytest.approx(np.median(placebos), abs=0.003)
    assert got.high[0] == pytest.approx(np.quantile(placebos, 0.975), rel=0.15)


def test_windows_never_leave_the_two_epochs() -> None:
    loss = np.concatenate([np.full(20, 100.0), np.ones(40), np.full(20, -100.0)])
    cuts = find_cuts(Run.from_arrays(loss=loss, epoch_length=20))
    got = contrast(loss, cuts, 5)
    assert got.jump.tolist() == [-99.0, 0.0, -101.0]
    assert got.centre.tolist() == [0.0, 0.0, 0.0]
    assert got.high.tolist() == [0.0, 0.0, 0.0]


def test_a_short_last_epoch_has_no_jump_and_no_warning() -> None:
    loss = np.ones(43)
    got = contrast(loss, find_cuts(Run.from_arrays(loss=loss, epoch_length=20)), 5)
    assert np.isnan(got.jump).tolist() == [False, True]
