"""What a rise of the LR is comes before whether somebody meant it, and what is said of it follows the loss at its own row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tb_losslens.analysis.causes import lr_increase
from tb_losslens.analysis.engine import build_context
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.causes.test_lr_increase import COSINE, RESTARTS, each_epoch, every_third, plane, raised_and_cut
from tests.analysis.contexts import findings


def noted(run: Run, *epochs: int) -> Run:
    notes = [RunEvent("config_change", run.epochs[k].first, text="on purpose") for k in epochs]
    return replace(run, events=(*run.events, *notes))


def test_a_restart_that_was_noted_is_a_restart() -> None:
    run = plane(schedule=every_third, facts=RESTARTS)
    (finding,) = findings(lr_increase, noted(run, 6))
    assert (finding.kind, finding.detail) == ("planned", "warm_restart")
    assert finding.boundaries == (2, 5, 8)
    (step,) = findings(lr_increase, noted(plane(schedule=raised_and_cut, facts=RESTARTS), 4))
    assert (step.kind, step.detail) == ("planned", "step")  # to a level that was never there


def test_one_note_does_not_make_all_resets_planned() -> None:
    found = findings(lr_increase, noted(plane(schedule=each_epoch, facts=COSINE), 5))
    assert [(f.kind, f.detail, len(f.boundaries)) for f in found] == [
        ("fault", "scheduler_reset", 10),
        ("planned", "scheduler_reset", 1),
    ]


@pytest.mark.parametrize("down", [0.35, 0.0])
def test_a_rise_after_the_boundary_is_not_said_to_be_at_it(down: float) -> None:
    """The loss drops at every boundary, as of samples seen again; after the restart it rises within ten batches."""
    rng = np.random.default_rng(0)
    row = np.arange(600)
    loss = 1.5 + 0.05 * rng.standard_normal(600) - down * (row // 50 > 0) + down * (row % 50) / 50
    loss += 0.8 * np.clip((row - (405 if down else 399)) / 5, 0, 1)
    lr = np.where((row // 50) % 8 < 4, 0.3, 0.03) if down else np.where(row < 400, 0.03, 0.3)
    columns: dict[str, Any] = {"loss": loss, "lr": lr}
    context = build_context(Run.from_arrays(epoch_length=50, **columns))
    (finding,) = (f for f in findings(lr_increase, context.run) if 400 in f.steps)
    assert ("over the batches that follow" in finding.text) == (context.boundaries[7].jump < 0) == bool(down)
    assert finding.explains_jump == (not down)
