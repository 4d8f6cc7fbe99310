"""Spikes inside epochs and losses that stop being numbers: said where nothing explains them, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tb_losslens.analysis.engine import build_context, diagnose
from tb_losslens.analysis.unexplained import spikes
from tb_losslens.store.run import Ragged, Run
from tests.analysis.series import healthy


def _unknown(run: Run, detail: str):
    return [f for f in diagnose(run).findings if f.cause == "unknown" and f.detail == detail]


def _with_loss(run: Run, loss: np.ndarray) -> Run:
    return replace(run, columns={**run.columns, "loss": loss})


def test_a_spike_is_named_with_its_step_and_length() -> None:
    run = healthy(np.random.default_rng(0))
    loss = run.loss.copy()
    loss[123:126] *= 8
    diagnosis = diagnose(_with_loss(run, loss))
    (found,) = [f for f in diagnosis.findings if f.cause == "unknown"]
    assert (found.kind, found.detail, found.steps) == ("unknown", "spike", (123, 124, 125))
    assert diagnosis.headline == "Spike at step 123, 3 batches"
    assert diagnosis.kind == "unknown"
    assert "writer.watch" in " ".join(found.missing)


@pytest.mark.parametrize("seed", range(20))
def test_a_heavy_tail_has_no_spikes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    run = healthy(np.random.default_rng(seed))
    loss = run.loss * (1 + rng.pareto(3, size=len(run)))
    assert _unknown(_with_loss(run, loss), "spike") == []
    assert _unknown(run, "spike") == []


def test_a_level_that_lasts_is_no_spike() -> None:
    run = healthy(np.random.default_rng(1))
    loss = run.loss.copy()
    loss[123:] *= 8
    assert _unknown(_with_loss(run, loss), "spike") == []


def test_a_run_that_diverges_is_not_called_fine() -> None:
    run = healthy(np.random.default_rng(2))
    loss = run.loss.copy()
    loss[190:200] *= 4.0 ** np.arange(10)
    loss[200:] = np.nan
    diagnosis = diagnose(_with_loss(run, loss))
    (found,) = [f for f in diagnosis.findings if f.detail == "nonfinite"]
    assert (found.kind, found.steps) == ("unknown", (200,))
    assert diagnosis.kind == "unknown"
    assert diagnosis.headline == "The loss stops being finite at step 200"
    assert "from step 200 on" in " ".join(found.evidence)


def test_the_loss_before_anything_was_learned_is_no_spike() -> None:
    loss = 0.1 * (1 + 0.1 * np.random.default_rng(4).normal(size=400))
    loss[:2] = 5.0
    assert not [f for f in diagnose(Run.from_arrays(loss=loss, epoch_length=40)).findings if f.detail == "spike"]
    loss[215:217] = 5.0
    (found,) = [f for f in diagnose(Run.from_arrays(loss=loss, epoch_length=40)).findings if f.detail == "spike"]
    assert found.steps == (215, 216)


def test_the_sample_that_is_in_every_spike_is_named() -> None:
    """One of 400 samples has a loss far above all others; batches of 10 in a new order in each of 6 epochs."""
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(400) for _ in range(6)]).reshape(-1, 10)
    loss = 1.0 + 0.05 * rng.standard_normal(len(order)) + 20.0 * (order == 123).any(axis=1)
    ids = Ragged(order.ravel().astype(np.int64), np.arange(0, order.size + 1, 10))
    run = Run.from_arrays(loss=loss, epoch_length=40)
    (found,) = spikes(build_context(replace(run, ragged={"sample_ids": ids})))
    assert "sample 123 is in them each time" in found.text
