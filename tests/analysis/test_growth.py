"""Ten times as many boundaries take ten times as long, and not a hundred, in the time of the processor."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run, RunEvent


def seconds(run: Run) -> float:
    start = time.process_time()
    diagnose(run)
    return time.process_time() - start


def short_epochs(epochs: int) -> Run:
    rng = np.random.default_rng(0)
    return Run.from_arrays(
        loss=1 + 0.1 * rng.random(epochs), batch_size=np.full(epochs, 64), lr=np.full(epochs, 0.1),
        input_mean=rng.normal(0, 0.01, epochs), input_std=rng.lognormal(0, 0.01, epochs), epoch_length=1,
    )  # fmt: skip


def weights_that_change(epochs: int, length: int = 20) -> Run:
    """The weights are other ones at the begin of each epoch than at the end of the one before."""
    events = []
    for epoch in range(epochs):
        for kind, row in (("epoch_begin", epoch * length), ("epoch_end", epoch * length + length)):
            state = [{"class": "Adam", "step": [row, row], "with_state": 2}]
            fields = {"epoch": epoch, "parameters": f"{kind} {epoch}", "optimizer_state": state}
            events.append(RunEvent(kind, row, row, float(row), "", fields))
    loss = 1 + 0.1 * np.random.default_rng(1).random(epochs * length)
    return replace(Run.from_arrays(loss=loss, epoch_length=length), events=tuple(events))


def test_epochs_of_one_batch() -> None:
    diagnose(short_epochs(100))
    assert seconds(short_epochs(50_000)) < 25 * seconds(short_epochs(5_000))


def test_weights_that_change_at_each_boundary() -> None:
    diagnosis = diagnose(weights_that_change(40))
    assert any(f.cause == "resume_discontinuity" for f in diagnosis.findings)
    assert seconds(weights_that_change(2_000)) < 25 * seconds(weights_that_change(200))
