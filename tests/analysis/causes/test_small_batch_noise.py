"""Batches of a few samples, on trainings that have them, beside larger batches and noise of another make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from tb_losslens.analysis.causes import small_batch_noise
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.few_samples import batch_noise_of, share_of_sampling
from tb_losslens.store.run import Ragged, Run
from tests.analysis.contexts import checked, findings, skipped
from tests.analysis.recorded import record
from tests.once import once
from tests.trainings import train

FEW: dict[str, dict[str, Any]] = {
    "clouds": {"data": "gaussian", "model": "mlp", "optimizer": "sgd", "lr": 0.02},
    "plane": {"data": "plane", "model": "linear", "optimizer": "sgd", "lr": 2e-3},
    "tokens": {"data": "tokens", "model": "lstm", "optimizer": "adam", "lr": 2e-3},
}


@once
def trained(name: str, batch_size: int = 2, seed: int = 0) -> Run:
    options = {**FEW[name], "samples": 1000, "epochs": 3 if batch_size < 8 else 20}
    if options["optimizer"] == "sgd":
        options["lr"] *= min(16.0, batch_size / 2)  # as far in an epoch
    return train(**options, batch_size=batch_size, seed=seed, per_sample=True)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", FEW)
def test_batches_of_two(name: str, seed: int) -> None:
    run = trained(name, seed=seed)
    (found,) = findings(small_batch_noise, run)
    assert (found.kind, found.strength, found.explains_jump) == ("benign", "likely", False)
    assert "was 2" in found.fix
    diagnosis = diagnose(run)
    assert diagnosis.kind != "fault"
    assert found.cause in [f.cause for f in diagnosis.findings]


def test_the_batch_that_is_advised_shows_the_trend() -> None:
    run = trained("plane")
    (found,) = findings(small_batch_noise, run)
    size = int(found.fix.split("batch_size=")[1].split(",")[0])
    larger = trained("plane", size)
    before, after = batch_noise_of(run), batch_noise_of(larger)
    assert before is not None
    assert after is not None
    parts = [one.noise / one.level for one in (before, after)]  # a square loss strays as far as it is high
    assert 0.5 < parts[1] / parts[0] * (size / 2) ** 0.5 < 2
    assert not findings(small_batch_noise, larger)


@pytest.mark.parametrize("name", FEW)
def test_usual_batches_are_left_alone(name: str) -> None:
    assert not findings(small_batch_noise, trained(name, 32))


def drawn(
    *, samples: int = 4, batches: int = 1200, fall: float = 1.0, spread: float = 1.0, shared: float = 0.0, single: bool = True
) -> Run:
    """Single losses around a level that falls from `fall` + 1 to 1; `shared` is noise that all samples of a batch have."""
    rng = np.random.default_rng(3)
    level = 1 + fall * np.exp(-np.arange(batches) / (batches / 4))
    each = level[:, None] + spread * rng.normal(size=(batches, samples)) + shared * rng.normal(size=(batches, 1))
    run = Run.from_arrays(loss=each.mean(axis=1), batch_size=np.full(batches, float(samples)), epoch_length=batches // 6)
    lists = Ragged(each.ravel(), np.arange(0, each.size + 1, samples))
    return replace(run, ragged={"per_sample": lists} if single else {})


def test_the_two_variances_are_those_that_were_drawn() -> None:
    ratio, read = share_of_sampling(drawn())
    assert read == 1200
    assert ratio == pytest.approx(1.0, abs=0.1)
    ratio, _ = share_of_sampling(drawn(shared=1.0))
    assert ratio == pytest.approx(1 + 4, abs=0.6)
    seen = batch_noise_of(drawn())
    assert seen is not None
    assert seen.noise == pytest.approx(0.5, rel=0.1)
    assert seen.pooled == pytest.approx(0.5, abs=0.06)
    assert seen.learned == pytest.approx(1 - np.exp(-4), abs=0.25)


def test_the_two_variances_are_compared_where_the_samples_were_read() -> None:
    """A loss that falls while its spread falls with it, and samples that were read of the first batches of each epoch only."""
    rng = np.random.default_rng(4)
    level = 0.4 + 4 * np.exp(-np.arange(1200) / 40)
    each = level[:, None] * rng.chisquare(1, size=(1200, 4))
    run = Run.from_arrays(loss=each.mean(axis=1), batch_size=np.full(1200, 4.0), epoch_length=400)
    read = np.arange(1200) % 400 < 40
    lists = Ragged(each[read].ravel(), np.concatenate([[0], np.cumsum(np.where(read, 4, 0))]))
    run = replace(run, ragged={"per_sample": lists})
    ratio, count = share_of_sampling(run)
    assert count == 120
    assert ratio == pytest.approx(1.0, abs=0.3)
    (found,) = findings(small_batch_noise, run)
    assert found.strength == "likely"


def test_noise_that_all_samples_of_a_batch_share_is_another() -> None:
    assert "the variance between batches is ×" in checked(small_batch_noise, drawn(shared=1.0, fall=3.0))


def test_noise_that_lasts_from_batch_to_batch_is_another() -> None:
    """As of samples that come in an order: neighbouring batches stray together."""
    run = drawn(single=False)
    wave = 0.5 * np.sin(np.arange(1200) / 2.5)
    said = checked(small_batch_noise, replace(run, columns={**run.columns, "loss": run.loss + wave}))
    assert "single draws half as far" in said


def test_without_single_losses_it_is_possible() -> None:
    (found,) = findings(small_batch_noise, drawn(single=False))
    assert found.strength == "possible"
    assert any("per_sample" in line for line in found.missing)


def test_batches_of_one_need_no_more() -> None:
    (found,) = findings(small_batch_noise, drawn(samples=1, single=False))
    assert found.strength == "likely"


def test_without_a_trend_nothing_is_hidden() -> None:
    assert "no trend that it hides" in checked(small_batch_noise, drawn(fall=0.0))


def test_a_trend_that_shows_is_no_matter() -> None:
    assert "the trend shows" in checked(small_batch_noise, drawn(spread=0.1))


def test_larger_batches_are_not_judged() -> None:
    assert findings(small_batch_noise, drawn(samples=8))
    assert "more than 8 samples" in checked(small_batch_noise, drawn(samples=16, spread=2.0))


def test_a_short_run_is_skipped() -> None:
    assert "too few" in skipped(small_batch_noise, drawn(batches=60)).why


def test_the_slope_that_is_left_on_the_next_batch_is_said() -> None:
    with TemporaryDirectory() as directory:
        run = record(Path(directory), **FEW["plane"], batch_size=2, epochs=3, samples=600)
    (found,) = findings(small_batch_noise, run)
    assert found.strength == "likely"
    assert "is left on the next one" in " ".join(found.evidence)
