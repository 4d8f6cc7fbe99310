"""Places of a sample that are exchanged, in all samples or at random, and noise that moves none of them: recorded trainings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tb_losslens.analysis.causes import input_shift
from tb_losslens.analysis.epoch_levels import shifts
from tb_losslens.analysis.input_levels import InputLevels, Moved, input_levels, moved, place_moves
from tb_losslens.record import cadence
from tb_losslens.store.run import Run
from tests.analysis.contexts import findings
from tests.analysis.recorded_images import Change, record, thinned


@pytest.fixture(autouse=True)
def every_batch_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cadence, "GRANT", 1e9)
    monkeypatch.setattr(cadence, "DEEP_GRANT", 1e9)


def from_four(change: Callable[[Tensor], Tensor], before: Callable[[Tensor], Tensor] = lambda x: x) -> Change:
    return lambda x, epoch: before(x) if epoch < 4 else change(x)


def flipped(x: Tensor) -> Tensor:
    return x.flip(-1)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_flip_of_some_samples_is_random(tmp_path: Path, seed: int) -> None:
    def some(x: Tensor) -> Tensor:
        return torch.where((torch.rand(len(x)) < 0.5)[:, None, None, None], flipped(x), x)

    (finding,) = findings(input_shift, record(tmp_path, seed=seed, on_device=from_four(some)))
    assert (finding.detail, finding.boundaries) == ("augmentation", (3,))
    assert any("some of them at random" in line for line in finding.evidence)


@pytest.mark.parametrize("seed", [0, 1])
def test_added_noise_is_an_augmentation_and_a_curved_map_keeps_no_means(tmp_path: Path, seed: int) -> None:
    (noisy,) = findings(
        input_shift, record(tmp_path / "noise", seed=seed, on_device=from_four(lambda x: x + torch.randn_like(x)))
    )
    assert (noisy.detail, noisy.boundaries) == ("augmentation", (3,))
    assert any("64 places of a sample keep their means while the spread grows" in line for line in noisy.evidence)
    (ended,) = findings(
        input_shift, record(tmp_path / "ended", seed=seed, on_device=from_four(lambda x: x, lambda x: x + torch.randn_like(x)))
    )
    assert any("while the spread shrinks" in line for line in ended.evidence)
    (curved,) = findings(input_shift, record(tmp_path / "curve", seed=seed, on_device=from_four(lambda x: x**3)))
    assert not any("keep their means" in line for line in curved.evidence)


def test_places_are_counted_against_the_boundary_that_some_of_them_show(tmp_path: Path) -> None:
    """One by one, hardly a place of batches that were rarely read moves for certain."""
    run = record(tmp_path, on_device=from_four(flipped))
    (_, full), (levels, few) = (_moves(thinned(run, every)) for every in (1, 7))
    alone = sum(3 in shifts(place, least=0.05 * levels.unit) for place in levels.places)
    assert full.places[3] > 45
    assert alone < 0.6 * full.places[3] < few.places[3] <= full.places[3]
    (still,) = (_moves(record(tmp_path / "still")),)
    assert not still[1].places
    assert np.isfinite(place_moves(still[0], 3, [])).sum() <= 1


def _moves(run: Run) -> tuple[InputLevels, Moved]:
    levels = input_levels(run, run.epochs)
    return levels, moved(levels, least=0.05)
