"""What the model is given changes at an epoch, on real trainings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tb_losslens.analysis.causes import input_shift
from tb_losslens.analysis.epoch_levels import levels, shifts
from tb_losslens.store.run import Epoch, Run, RunEvent
from tests.analysis.contexts import checked, findings, skipped
from tests.trainings import train

Change = Callable[[Tensor, int, int], Tensor]


def scaled(low: float, high: float) -> Callable[[Tensor], Tensor]:
    """A random factor for each sample."""
    return lambda x: x * torch.empty(len(x), 1).uniform_(low, high)


def from_five(change: Callable[[Tensor], Tensor], before: Callable[[Tensor], Tensor] = lambda x: x) -> Change:
    return lambda x, step, epoch: before(x) if epoch < 5 else change(x)


@pytest.mark.parametrize(
    ("model", "data", "lr"), [("linear", "plane", 0.02), ("mlp", "regression", 0.03), ("mlp", "digits", 0.1)]
)
def test_other_constants_that_nothing_proves_get_no_map(model: str, data: str, lr: float) -> None:
    run = train(model=model, data=data, lr=lr, epochs=10, change_inputs=from_five(lambda x: 2 * x + 0.3))
    (finding,) = findings(input_shift, run)
    assert (finding.kind, finding.detail, finding.strength) == ("fault", "", "likely")
    assert finding.boundaries == (4,)
    assert finding.steps == (run.epochs[5].first,)
    assert any("no proof" in line for line in finding.evidence)
    assert "x = " not in finding.fix
    exec(finding.fix, {"x": torch.ones(4, 3), "epoch": 5})


def test_inputs_that_are_nearly_constant_are_called_so() -> None:
    run = train(data="digits", lr=0.1, epochs=10, change_inputs=from_five(lambda x: x / 255))
    (finding,) = findings(input_shift, run)
    assert (finding.detail, finding.title) == ("constant", "Inputs became nearly constant")
    assert "note" not in finding.advice + finding.fix


def test_a_linear_model_jumps_with_its_inputs() -> None:
    run = train(model="linear", data="plane", lr=0.02, batch_size=64, epochs=10, change_inputs=from_five(lambda x: 2 * x))
    (finding,) = findings(input_shift, run)
    assert finding.explains_jump
    assert finding.share is not None
    assert finding.share > 0.8
    assert any("the loss moves by +" in line for line in finding.evidence)


@pytest.mark.parametrize(("data", "batch_size"), [("digits", 32), ("gaussian", 8), ("plane", 64)])
@pytest.mark.parametrize(
    "change", [from_five(scaled(0.2, 2), scaled(0.8, 1.2)), from_five(lambda x: x + torch.randn_like(x) * x.std())]
)
def test_something_random_is_an_augmentation(data: str, batch_size: int, change: Change) -> None:
    run = train(data=data, lr=0.02, epochs=10, batch_size=batch_size, change_inputs=change)
    (finding,) = findings(input_shift, run)
    assert (finding.kind, finding.detail) == ("fault", "augmentation")
    assert finding.boundaries == (4,)


def test_a_noted_change_is_planned() -> None:
    run = train(data="digits", epochs=10, change_inputs=from_five(scaled(0.2, 2), scaled(0.8, 1.2)))
    note = RunEvent("config_change", run.epochs[5].first, text="wider scaling")
    (finding,) = findings(input_shift, replace(run, events=(*run.events, note)))
    assert finding.kind == "planned"
    assert any("wider scaling" in line for line in finding.evidence)
    swapped = replace(note, text="scheduler replaced: now StepLR", fields={"scheduler": {"class": "StepLR"}})
    (finding,) = findings(input_shift, replace(run, events=(*run.events, swapped)))
    assert finding.kind == "fault"


def test_another_data_set_is_told_by_its_size() -> None:
    run = train(data="plane", epochs=10, change_inputs=from_five(lambda x: 1.5 * x))
    events = tuple(
        replace(
            e, fields={**e.fields, "loader": {**e.fields["loader"], "dataset_size": 1600 if e.fields["epoch"] < 5 else 2200}}
        )
        if e.kind == "epoch_end"
        else e
        for e in run.events
    )
    (finding,) = findings(input_shift, replace(run, events=events))
    assert finding.detail == "data"
    assert any("2,200 samples instead of 1,600" in line for line in finding.evidence)


@pytest.mark.parametrize(
    "change",
    [
        None,
        lambda x, step, epoch: scaled(0.5, 1.5)(x),  # steady, per sample
        lambda x, step, epoch: x * float(torch.empty(1).uniform_(0.7, 1.3)),  # steady, per batch
        lambda x, step, epoch: x * (1 + 0.1 * epoch),  # drifts by as much at each boundary
        lambda x, step, epoch: x * 5 if 200 <= step < 215 else x,  # a span of bad batches
        from_five(lambda x: 1.02 * x),  # too small to matter
    ],
)
@pytest.mark.parametrize(("data", "batch_size"), [("digits", 32), ("gaussian", 4)])
def test_no_shift(data: str, batch_size: int, change: Change | None) -> None:
    run = train(data=data, samples=800, lr=0.02, epochs=8, batch_size=batch_size, change_inputs=change)
    assert "from epoch to epoch the inputs move by" in checked(input_shift, run)


def test_sorted_data_has_no_shift() -> None:
    """Within each epoch the inputs drift from one end to the other, and jump back at each boundary."""
    run = train(data="regression", epochs=6)
    index = run.float("index") / run.float("index").max()
    sorted_run = replace(run, columns={**run.columns, "input_mean": run.float("input_mean") + index})
    assert "inputs move by" in checked(input_shift, sorted_run)


def test_a_change_inside_an_epoch_is_not_laid_to_its_boundary() -> None:
    run = train(data="gaussian", epochs=8, change_inputs=lambda x, step, epoch: x if step < 270 else 2 * x)
    (finding,) = findings(input_shift, run)
    assert (finding.boundaries, finding.steps) == ((), (270,))
    assert "step 270" in finding.fix


def test_one_epoch_alone_names_both_its_boundaries() -> None:
    run = train(data="gaussian", lr=0.02, epochs=9, change_inputs=lambda x, step, epoch: 2 * x if epoch == 5 else x)
    (finding,) = findings(input_shift, run)
    assert finding.boundaries == (4, 5)


def test_one_epoch_is_too_few() -> None:
    assert "one epoch" in skipped(input_shift, train(epochs=1)).why


def test_levels_and_shifts_of_a_plain_series() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 600) + np.repeat([0, 0, 3, 3, 3, 0], 100)
    epochs = tuple(Epoch(k, 100 * k, 100 * k + 100) for k in range(6))
    seen = levels(values, np.ones(600), epochs)
    twin = [np.median(values[a : a + 100]) for a in range(0, 600, 100)]
    assert np.allclose(seen.middle, twin)
    assert np.allclose(seen.total, values.reshape(6, 100).mean(axis=1))
    assert shifts(seen, least=0.5) == [1, 4]
    assert shifts(seen, least=5.0) == []


def test_no_false_alarm_on_400_steady_runs() -> None:
    rng = np.random.default_rng(1)
    epochs = tuple(Epoch(k, 30 * k, 30 * k + 30) for k in range(10))
    for _ in range(400):
        values = rng.standard_t(3, 300)
        assert shifts(levels(values, np.ones(300), epochs), least=0.05) == []


def test_an_input_without_spread_is_survived() -> None:
    run = Run.from_arrays(loss=np.ones(60), input_mean=np.zeros(60), input_std=np.zeros(60), epoch_length=20)
    assert checked(input_shift, run) == "the inputs have no spread"


def test_a_shift_of_a_few_batches_has_no_name() -> None:
    """Ten batches an epoch and one epoch a side leave open whether a scale or a random range changed."""
    run = train(
        data="gaussian", model="mlp", lr=0.05, samples=400, batch_size=32, epochs=2, drop_last=False,
        change_inputs=lambda x, step, epoch: x * (3.0 if epoch else 1.0),
    )  # fmt: skip
    for finding in findings(input_shift, run):
        assert finding.detail == ""
        assert any("no proof of one" in line for line in finding.evidence)
        assert finding.advice
    assert findings(input_shift, run)


def _with_loader(run: Run, data: Callable[[int], int]) -> Run:
    """The epochs of `run`, each over the data set of this number."""
    events = tuple(
        replace(e, fields={**e.fields, "loader": {**e.fields["loader"], "data": data(e.fields["epoch"])}})
        if e.kind == "epoch_end"
        else e
        for e in run.events
    )
    return replace(run, events=events)


def test_another_data_set_is_told_by_its_number_within_one_process() -> None:
    run = _with_loader(train(data="plane", epochs=10, change_inputs=from_five(lambda x: 1.5 * x)), lambda epoch: int(epoch > 4))
    (finding,) = findings(input_shift, run)
    assert finding.detail == "data"
    assert any("the loader reads another data set" in line for line in finding.evidence)
    resumed = replace(run, sessions=({"first_step": 0}, {"first_step": int(run.step[run.epochs[5].first])}))
    (finding,) = findings(input_shift, resumed)
    assert finding.detail != "data"


def test_where_the_model_is_replaced_inputs_explain_no_jump() -> None:
    run = train(model="linear", data="plane", lr=0.02, epochs=10, change_inputs=from_five(lambda x: 2.0 * x + 0.5))
    (finding,) = findings(input_shift, run)
    assert (finding.kind, finding.explains_jump) == ("fault", True)
    fields = {"model": {"class": "Net"}}
    swapped = RunEvent("config_change", run.epochs[5].first, text="model replaced: now Net", fields=fields)
    (finding,) = findings(input_shift, replace(run, events=(*run.events, swapped)))
    assert (finding.kind, finding.explains_jump, finding.share) == ("benign", False, None)
    assert any("the model was replaced by another one at boundary 5" in line for line in finding.against)
    elsewhere = replace(swapped, batch=run.epochs[3].first)
    (finding,) = findings(input_shift, replace(run, events=(*run.events, elsewhere)))
    assert (finding.kind, finding.explains_jump) == ("fault", True)


def test_an_index_that_gives_another_input_of_the_same_kind_may_be_another_sample() -> None:
    run = train(data="gaussian", epochs=8)
    counts = {k: {"inputs_compared": 800, "inputs_changed": 800 if k == 4 else 0} for k in range(1, 8)}
    events = tuple(
        replace(e, fields={**e.fields, **counts.get(e.fields["epoch"], {})}) if e.kind == "epoch_end" else e for e in run.events
    )
    (finding,) = findings(input_shift, replace(run, events=events))
    assert (finding.kind, finding.strength) == ("benign", "proved")
    assert finding.text.startswith("Some indices give another input at boundary 4")
    assert any("draws or orders its samples anew" in line for line in finding.against)


def test_levels_of_what_is_none_of_the_loaders_are_no_fault_without_an_effect() -> None:
    run = train(data="digits", epochs=10, change_inputs=from_five(scaled(0.2, 2), scaled(0.8, 1.2)))
    told = {of_loader: replace(run, facts={**run.facts, "inputs_of_loader": of_loader}) for of_loader in (False, True)}
    (finding,) = findings(input_shift, told[True])
    assert (finding.kind, finding.explains_jump) == ("fault", False)
    (finding,) = findings(input_shift, told[False])
    assert (finding.kind, finding.explains_jump) == ("benign", False)
    assert any("no tensor of the loader's batch" in line for line in finding.against)
    loud = train(model="linear", data="plane", lr=0.02, epochs=10, change_inputs=from_five(lambda x: 2.0 * x + 0.5))
    (finding,) = findings(input_shift, replace(loud, facts={**loud.facts, "inputs_of_loader": False}))
    assert (finding.kind, finding.explains_jump) == ("fault", True)
