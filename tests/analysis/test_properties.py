"""What must hold of any run: of the loss in another unit, with a constant added, in another order, or with a signal missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from demo.gallery.properties import parts, without
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.finding import Diagnosis, Finding
from tb_losslens.store.run import Ragged, Run
from tests.trainings import train

TRAININGS: dict[str, Callable[[], Run]] = {
    "healthy": lambda: train(epochs=7, per_sample=True),
    "healthy regression": lambda: train(data="regression", optimizer="adam", lr=5e-3, epochs=7),
    "ragged": lambda: train(epochs=7, drop_last=False, batch_size=48),
    "one order": lambda: train(epochs=7, shuffle=False),
    "evaluation mode": lambda: train(model="dropout", epochs=7, training_mode=lambda step, epoch: epoch < 4),
    "LR raised": lambda: train(epochs=7, schedule=lambda step, total, per: 1.0 if step < 4 * per else 40.0),
    "inputs scaled": lambda: train(epochs=7, change_inputs=lambda x, step, epoch: x * 4 if epoch >= 4 else x),
    "targets changed": lambda: train(epochs=7, change_targets=lambda y, step, epoch: y % 5 if epoch >= 4 else y),
    "a bad batch": lambda: train(epochs=7, change_inputs=lambda x, step, epoch: x * 50 if step == 130 else x),
    "not a number": lambda: train(epochs=7, change_inputs=lambda x, step, epoch: x * torch.nan if step == 230 else x),
}
HEALTHY = ("healthy", "healthy regression")
ABSOLUTE = {"bad_init", "loss_misuse"}
"""Causes that compare the loss with a number of nats: with ln C, or the variance of the targets."""
NO_MATTER_WHAT_LEVEL = {
    "repeated_order", "wrong_mode", "optimizer_reset", "weights_swapped", "resume_discontinuity", "log_overlap",
    "partial_last_batch", "incomplete_shuffle", "input_shift", "target_shift", "hidden_nonfinite",
}  # fmt: skip
"""Causes that ask by how much the loss moves, and not how large it is."""
OF_THE_PLACE = ("step", "epoch", "index", "time", "lr")
_STRENGTH = {"proved": 2, "likely": 1, "possible": 0}
EACH = pytest.mark.parametrize("name", TRAININGS)


@cache
def trained(name: str) -> Run:
    return TRAININGS[name]()


@cache
def plain(name: str) -> Diagnosis:
    return diagnose(trained(name))


def faults(diagnosis: Diagnosis) -> dict[str, Finding]:
    return {f.cause: f for f in diagnosis.findings if f.kind in ("fault", "artifact")}


def said(diagnosis: Diagnosis) -> list[tuple[Any, ...]]:
    """What was decided, without the numbers."""
    return [
        (f.cause, f.detail, f.kind, f.strength, f.boundaries, f.explains_jump)
        for f in diagnosis.findings
        if f.cause not in ABSOLUTE
    ]


def with_loss(run: Run, change: Callable[[Any], Any]) -> Run:
    """`change` on all that has the unit of the loss."""
    columns = {**run.columns, "loss": change(run.loss)}
    ragged = dict(run.ragged)
    if "per_sample" in ragged:
        ragged["per_sample"] = Ragged(change(ragged["per_sample"].values.astype(np.float64)), ragged["per_sample"].offsets)
    events = tuple(
        replace(e, fields={**e.fields, "value": change(e.fields["value"])}) if "value" in e.fields else e for e in run.events
    )
    return replace(run, columns=columns, ragged=ragged, events=events)


@EACH
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_another_unit_of_the_loss_changes_no_verdict(name: str, factor: float) -> None:
    assert said(diagnose(with_loss(trained(name), lambda loss: loss * factor))) == said(plain(name))


@EACH
@pytest.mark.parametrize("constant", [20.0])
def test_a_constant_is_no_reason_for_another_fault(name: str, constant: float) -> None:
    """A loss that does not come near 0 any more is not judged by its logarithm, so what moves a little may be lost in noise."""
    moved = faults(diagnose(with_loss(trained(name), lambda loss: loss + constant)))
    known = faults(plain(name))
    exact = NO_MATTER_WHAT_LEVEL & known.keys()
    assert exact == NO_MATTER_WHAT_LEVEL & moved.keys()
    for cause in exact:
        a, b = known[cause], moved[cause]
        assert (a.detail, a.kind, a.strength, a.boundaries) == (b.detail, b.kind, b.strength, b.boundaries)


@pytest.mark.parametrize("name", [*HEALTHY, "ragged"])
@pytest.mark.parametrize("seed", range(2))
def test_healthy_batches_in_another_order_are_healthy(name: str, seed: int) -> None:
    """Batches of an epoch are exchangeable; the last one stays, since it may be smaller."""
    run, rng = trained(name), np.random.default_rng(seed)
    rows = np.arange(len(run))
    for epoch in run.epochs[1:]:  # within the first one the loss falls
        rows[epoch.first : epoch.last - 1] = rng.permutation(rows[epoch.first : epoch.last - 1])
    columns = {key: values if key in OF_THE_PLACE else values[rows] for key, values in run.columns.items()}
    ragged = {key: Ragged.from_lists([lists[row] for row in rows.tolist()]) for key, lists in run.ragged.items()}
    mixed = faults(diagnose(replace(run, columns=columns, ragged=ragged)))
    assert mixed.keys() <= faults(plain(name)).keys()


@EACH
def test_a_missing_signal_is_no_reason_for_another_or_a_surer_fault(name: str) -> None:
    known = faults(plain(name))
    for part in parts(trained(name)):
        diagnosis = diagnose(without(trained(name), part))
        for cause, finding in faults(diagnosis).items():
            assert cause in known, (part, finding)
            assert _STRENGTH[finding.strength] <= _STRENGTH[known[cause].strength], (part, finding)
        assert not [one for one in diagnosis.skipped if one.why.startswith("failed")]


@EACH
def test_what_was_put_in_is_what_these_runs_are_for(name: str) -> None:
    """Else the others would compare nothing with nothing."""
    found = {f.cause for f in plain(name).findings if f.kind in ("fault", "artifact", "planned")}
    expected = {
        "one order": "repeated_order", "evaluation mode": "wrong_mode", "LR raised": "lr_increase",
        "ragged": "partial_last_batch",
        "inputs scaled": "input_shift", "targets changed": "target_shift", "a bad batch": "bad_batch",
        "not a number": "bad_batch",
    }  # fmt: skip
    assert expected.get(name, "") in {*found, ""}
    assert not found or name not in HEALTHY
