"""Networks with BatchNorm whose running statistics are spoilt in one way or another before a validation: recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.causes import batchnorm_drift
from tb_losslens.analysis.engine import build_context
from tb_losslens.analysis.held_out_curve import held_out_curve
from tb_losslens.analysis.held_out_spikes import unit_of
from tb_losslens.store.run import Ragged, Run
from tests.analysis.contexts import checked, findings, skipped
from tests.once import once
from tests.toys import dataset

EPOCHS = 7
BATCHES = 50


def network(momentum: float | None) -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 64), nn.BatchNorm1d(64, momentum=momentum), nn.ReLU(),
        nn.Linear(64, 64), nn.BatchNorm1d(64, momentum=momentum), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


Touch = Callable[[nn.Module, int], None]
"""(model, epoch), after each epoch and before its validation."""


def nothing(model: nn.Module, epoch: int) -> None:
    pass


@once
def trained(
    directory: Path,
    touch: Touch = nothing,
    *,
    momentum: float | None = 0.1,
    samples: int = 1600,
    held_scale: float = 1.0,
    scale: float = 1.0,
    frozen: bool = False,
    train_mode: bool = False,
    probe: bool = True,
) -> Run:
    """7 epochs of 50 batches, a validation after each, and a probe of two fixed batches of 256."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, held_x, held_y = dataset("gaussian")
    x, y, held_x = scale * x[:samples], y[:samples], held_x * held_scale * scale
    model, criterion = network(momentum), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        if probe:
            writer.set_probe(train_batch=(x[:256], y[:256]), heldout_batch=(held_x[:256], held_y[:256]))
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        held_out = writer.wrap(DataLoader(TensorDataset(held_x, held_y), batch_size=100), split="val")
        step = 0
        for epoch in range(EPOCHS):
            model.train()
            for module in model.modules():
                if isinstance(module, nn.BatchNorm1d) and frozen:
                    module.eval()
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = criterion(model(inputs), targets)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            touch(model, epoch)
            model.train(train_mode)
            with torch.no_grad():
                value = sum(criterion(model(a), b).item() for a, b in held_out) / len(held_out)
            writer.add_scalar("Loss/val", value, epoch)
    return load_runs(directory)["."]


def once(touch: Touch, at: int = 4) -> Touch:
    return lambda model, epoch: touch(model, epoch) if epoch == at else None


def set_back(model: nn.Module, epoch: int) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.reset_running_stats()


def zeroed(model: nn.Module, epoch: int) -> None:
    """The same without a count: only the checksum of the buffers shows it."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.zero_()
            module.running_var.fill_(1.0)


def other_data(model: nn.Module, epoch: int) -> None:
    """Samples that are drawn, as for pictures, in training mode."""
    model.train()
    generator = torch.Generator().manual_seed(epoch)
    with torch.no_grad():
        for _ in range(20):
            model(3 * torch.randn(64, 20, generator=generator) + 2)


@pytest.mark.parametrize("touch", [set_back, zeroed, other_data])
def test_statistics_that_no_step_made(tmp_path: Path, touch: Touch) -> None:
    """A spike of the held-out loss, and no probe."""
    run = trained(tmp_path, once(touch), probe=False)
    (finding,) = findings(batchnorm_drift, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "likely", "updated_outside")
    assert finding.steps == (5 * BATCHES - 1,)
    assert not finding.explains_jump
    assert "after epoch 4" in finding.text
    assert "writer.set_probe" in finding.missing[0]
    assert next(f.cause for f in diagnose(run).findings if f.kind == "fault") == "batchnorm_drift"


def test_the_probe_shows_it_by_experiment(tmp_path: Path) -> None:
    run = trained(tmp_path, once(set_back, 1))
    (finding,) = findings(batchnorm_drift, run)
    assert (finding.strength, finding.detail, finding.steps) == ("proved", "updated_outside", (2 * BATCHES - 1,))
    first, share = finding.evidence[:2]
    assert "by experiment, after epoch 1" in first
    assert "with the same weights" in first
    assert "that reproduces" in share
    rows = [e.fields for e in run.events if e.kind == "probe" and e.batch == 2 * BATCHES]
    before = next(fields for fields in rows if fields["when"] == "before_validation")
    assert f"is {before['heldout_eval']:.3g} in evaluation mode and {before['heldout_batchstat']:.3g} with" in first
    assert any("between the end of the epoch and the validation the loss of that training batch" in e for e in finding.evidence)


def test_a_last_batch_of_two_samples_is_all_of_the_statistics(tmp_path: Path) -> None:
    (finding,) = findings(batchnorm_drift, trained(tmp_path, momentum=1.0, samples=1570))
    assert (finding.detail, finding.strength) == ("last_batch", "proved")
    assert "drop_last=True" in finding.fix
    assert "the last batch before the validation has 2 samples, the others 32" in " ".join(finding.evidence)


def test_a_momentum_that_lags_behind(tmp_path: Path) -> None:
    (finding,) = findings(batchnorm_drift, trained(tmp_path, momentum=0.001))
    assert (finding.kind, finding.detail) == ("fault", "momentum_low")
    assert "was 0.001" in finding.fix


def test_without_a_probe_the_statistics_of_the_layers_show_it(tmp_path: Path) -> None:
    """Where no validation was read next to it, nothing is said."""
    run = trained(tmp_path, momentum=0.001, probe=False)
    assert np.isfinite([v.value for v in run.validations]).all()
    read = [v.batch for v in run.validations if v.batch < len(run) and len(run.ragged["bn_mean_gap"][v.batch])]
    found = findings(batchnorm_drift, run)
    assert bool(found) == (len(read) >= 3)
    for finding in found:
        assert (finding.detail, finding.strength) == ("momentum_low", "likely")
        assert "standard deviations of the batch from its mean" in " ".join(finding.evidence)
    blind = replace(run, ragged={k: v for k, v in run.ragged.items() if not k.startswith("bn_")})
    assert "set_probe" in skipped(batchnorm_drift, blind).how


def with_lacks(run: Run, lacks: tuple[float, ...]) -> Run:
    """The same with a held-out loss that lacks these parts of what the training loss had learned by then."""
    curve = held_out_curve(build_context(run))
    assert curve is not None
    values = iter([t + part * unit_of(curve.start, t) for t, part in zip(curve.train.tolist(), lacks, strict=True)])
    ends = {id(e) for e in run.events if e.kind == "validation_end" and e.fields.get("value") is not None}
    events = tuple(replace(e, fields={**e.fields, "value": next(values)}) if id(e) in ends else e for e in run.events)
    return replace(run, events=events)


@pytest.mark.parametrize(("lacks", "told"), [((0.5, 0.5, 0.2, 0.4, 0.2, 0.4, 0.2), True), ((0.2,) * 7, False)])
def test_a_noisy_held_out_loss_is_judged_in_the_middle(tmp_path: Path, lacks: tuple[float, ...], told: bool) -> None:
    run = trained(tmp_path, momentum=0.001, probe=False)
    read = [v.batch for v in run.validations if v.batch < len(run) and len(run.ragged["bn_mean_gap"][v.batch])]
    assert bool(findings(batchnorm_drift, with_lacks(run, lacks))) == (told and len(read) >= 3)


@pytest.mark.parametrize(
    ("lacks", "told"), [((0.9, 0.6, 0.4, 0.3, 0.1, 0.05, 0.0), True), ((0.0, 0.05, 0.1, 0.1, 0.3, 0.4, 0.6), False)]
)
def test_a_lack_that_shrinks_with_what_the_averages_began_with(tmp_path: Path, lacks: tuple[float, ...], told: bool) -> None:
    """One that grows is that of a model that fits its samples too well, though the averages are off as well."""
    run = trained(tmp_path, momentum=0.001, probe=False)
    read = [v.batch for v in run.validations if v.batch < len(run) and len(run.ragged["bn_mean_gap"][v.batch])]
    assert bool(findings(batchnorm_drift, with_lacks(run, lacks))) == (told and len(read) >= 4)


def test_a_variance_from_before_the_training_is_no_matter_of_a_few_large_samples(tmp_path: Path) -> None:
    """It begins at 1, which is far too large here, and the momentum keeps most of it for the whole run."""
    run = trained(tmp_path, momentum=0.001, probe=False, scale=0.1)
    read = [v.batch for v in run.validations if v.batch < len(run) and len(run.ragged["bn_mean_gap"][v.batch])]
    found = findings(batchnorm_drift, run)
    assert bool(found) == (len(read) >= 3)
    assert all((f.detail, f.strength) == ("momentum_low", "likely") for f in found)
    # two and a half times the variance of the batch: enough while the momentum says that it is from before the training
    gaps, ratios = run.ragged["bn_mean_gap"], run.ragged["bn_log_var_ratio"]
    less = {
        "bn_mean_gap": replace(gaps, values=np.zeros_like(gaps.values)),
        "bn_log_var_ratio": replace(ratios, values=np.full_like(ratios.values, np.log(2.5))),
    }
    assert bool(findings(batchnorm_drift, replace(run, ragged={**run.ragged, **less}))) == (len(read) >= 3)


def test_healthy_twin_is_fine(tmp_path: Path) -> None:
    run = trained(tmp_path)
    assert "evaluation mode costs the same held-out batch up to" in checked(batchnorm_drift, run)
    assert [f.cause for f in diagnose(run).findings if f.kind == "fault"] == []


def test_held_out_data_of_another_kind_are_no_drift(tmp_path: Path) -> None:
    """The statistics of the batch mend it, and yet those of the training are right: the training batch tells."""
    run = trained(tmp_path, held_scale=0.1)
    probes = [e.fields for e in run.events if e.kind == "probe" and e.fields["when"] == "before_validation"]
    assert all(p["heldout_eval"] > 1.25 * p["heldout_batchstat"] for p in probes)
    assert "it costs the training batch up to" in checked(batchnorm_drift, run)


def test_frozen_statistics_are_left_alone(tmp_path: Path) -> None:
    assert "frozen on purpose" in checked(batchnorm_drift, trained(tmp_path, frozen=True))


def test_a_validation_in_training_mode_is_wrong_mode(tmp_path: Path) -> None:
    run = trained(tmp_path, once(set_back), train_mode=True, probe=False)
    assert [f.cause for f in diagnose(run).findings if f.kind == "fault"] == ["wrong_mode"]


def test_statistics_that_are_gathered_anew_before_each_validation_are_fine(tmp_path: Path) -> None:
    x = dataset("gaussian")[0]

    def gathered(model: nn.Module, epoch: int) -> None:
        loader = DataLoader(TensorDataset(x), batch_size=32)
        torch.optim.swa_utils.update_bn(((batch,) for (batch,) in loader), model)

    assert findings(batchnorm_drift, trained(tmp_path, gathered)) == []


def test_what_was_not_recorded_is_said(tmp_path: Path) -> None:
    run = trained(tmp_path, probe=False)
    bare = replace(run, events=tuple(e for e in run.events if not e.kind.startswith("validation")))
    assert "val_loader" in skipped(batchnorm_drift, bare).how
    columns = {k: v for k, v in run.columns.items() if k != "bn_updates"}
    assert "writer.watch" in skipped(batchnorm_drift, replace(run, columns=columns, ragged={}, facts={})).how


def test_small_batches_tell_nothing_of_the_layers(tmp_path: Path) -> None:
    """Means of few samples stray: the same distances that count in batches of 32 do not in those of 4."""
    run = trained(tmp_path, probe=False)
    rows = len(run)
    wide = {
        "bn_mean_gap": Ragged.from_lists([[0.9, 0.9]] * rows),
        "bn_log_var_ratio": Ragged.from_lists([[0.6, 0.6]] * rows),
    }
    events = tuple(
        replace(e, fields={**e.fields, "value": 2.5}) if e.kind == "validation_end" else e for e in run.events
    )
    off = replace(run, ragged={**run.ragged, **wide}, events=events)
    assert len(findings(batchnorm_drift, off)) == 1
    few = replace(off, columns={**off.columns, "batch_size": np.full(rows, 4)})
    assert findings(batchnorm_drift, few) == []
