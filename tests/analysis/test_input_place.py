"""A change of the inputs that is proved between several boundaries is placed by a loss that rises for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from tb_losslens.analysis.causes import input_shift
from tb_losslens.analysis.engine import build_context
from tb_losslens.analysis.epoch_pool import Levels
from tb_losslens.analysis.finding import Finding
from tb_losslens.analysis.input_place import loss_rises
from tb_losslens.store.run import Run
from tests.analysis.contexts import findings
from tests.trainings import train

COMPARED = {1: 0, 2: 0, 3: 0, 6: 800, 7: 0, 8: 0}
"""Samples that came back with another input, in the passes that were compared."""


def only_wrapped(data: str, batch_size: int, change: Callable[[Tensor, int, int], Tensor]) -> Run:
    """The model is not watched, so that nothing is measured of the inputs, and some passes are not compared."""
    run = train(data=data, samples=800, lr=0.01, batch_size=batch_size, epochs=9, change_inputs=change)
    events = tuple(
        replace(e, fields={**e.fields, "inputs_compared": 800, "inputs_changed": COMPARED[e.fields["epoch"]]})
        if e.kind == "epoch_end" and e.fields["epoch"] in COMPARED
        else e
        for e in run.events
    )
    columns = {name: values for name, values in run.columns.items() if not name.startswith("input_")}
    return replace(run, columns=columns, events=events)


def without_columns(x: Tensor, step: int, epoch: int) -> Tensor:
    if epoch < 5:
        return x
    out = x.clone()
    out[:, ::4] = 0
    return out


@pytest.mark.parametrize(("data", "batch_size"), [("regression", 4), ("regression", 8), ("plane", 4)])
def test_a_rise_for_good_that_noisy_batches_hide_places_it(data: str, batch_size: int) -> None:
    run = only_wrapped(data, batch_size, without_columns)
    context = build_context(run)  # as if no window around a boundary resolved it, whatever the measurement makes of it
    hidden = tuple(replace(boundary, significant=False) for boundary in context.boundaries)
    (finding,) = input_shift.find(replace(context, boundaries=hidden))
    assert isinstance(finding, Finding)
    assert (finding.kind, finding.strength, finding.boundaries) == ("fault", "likely", (4,))
    assert finding.explains_jump
    assert any("over whole epochs its median rises" in line for line in finding.evidence)
    assert any("between boundaries 4 and 6 not every epoch was compared" in line for line in finding.evidence)


@pytest.mark.parametrize(("data", "batch_size"), [("regression", 4), ("regression", 8), ("plane", 4), ("digits", 8)])
def test_what_no_loss_shows_is_left_open_and_no_fault(data: str, batch_size: int) -> None:
    run = only_wrapped(data, batch_size, lambda x, step, epoch: x if epoch < 5 else x.half().float())
    (finding,) = findings(input_shift, run)
    assert (finding.kind, finding.boundaries, finding.explains_jump) == ("benign", (), False)
    assert "between boundaries 4 and 6" in finding.text
    assert any("a small effect cannot be told" in line for line in finding.against)


def levels_of(middle: list[float], noise: float = 0.1) -> Levels:
    same = np.full(len(middle), 1.0)
    return Levels(np.array(middle), np.array(middle), noise * same, 50 * same, 0 * same)


def test_only_a_lasting_rise_beyond_the_other_rises_counts() -> None:
    assert loss_rises(levels_of([5, 3, 2, 1.5, 2.2, 2.1, 2.15])) == [3]
    assert loss_rises(levels_of([5, 3, 2, 1.5, 2.2, 1.4, 1.3])) == []  # back after one epoch
    assert loss_rises(levels_of([5, 4, 3, 2, 1, 0.9, 0.8])) == []
    assert loss_rises(levels_of([1, 1.4, 1.9, 2.3, 2.8, 3.2])) == []  # it drifts
    assert loss_rises(levels_of([5, 3, 2, 1.5, 1.55, 1.54, 1.53])) == []  # within its own noise
