"""A gradient that is not finite before its loss is: a root at 0, beside a loss that is NaN itself and one that comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import bad_batch
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.lost_gradient import lost_by_gradient
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings

AT = 130


class _Root(nn.Module):
    """Root of the mean square: at 0 it is 0 and its derivative is not finite."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return ((output - target) ** 2).mean().sqrt()


def record(directory: Path, *, perfect: bool = True, guarded: bool = False, spoil: bool = False) -> Run:
    """A regression in which the targets of batch AT equal what the model says (`perfect`), or are NaN (`spoil`)."""
    torch.manual_seed(3)
    torch.set_num_threads(1)
    x = torch.randn(2000, 16)
    y = x[:, :4].sum(1, keepdim=True)
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 1))
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    criterion = _Root()
    step = 0
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, opt, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True))
        for _ in range(6):
            for inputs, given in loader:
                output = net(inputs)
                targets = given
                if step == AT and perfect:
                    targets = output.detach().clone()
                elif step == AT and spoil:
                    targets = given * float("nan")
                loss = criterion(output, targets)
                opt.zero_grad()
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 100.0) if guarded else torch.zeros(())
                if torch.isfinite(norm):
                    opt.step()
                step += 1
    return load_runs(directory)["."]


def dense(run: Run) -> Run:
    """The run with the gradient read in each row, whatever the machine let the recorder read."""
    norm = run.float("grad_norm").copy()
    after = np.arange(len(run)) > AT
    norm[~np.isfinite(norm) & np.isfinite(run.loss) & (np.arange(len(run)) != AT) & ~after] = 1.0
    return replace(run, columns={**run.columns, "grad_norm": norm, "dense": np.ones(len(run))})


def test_the_step_whose_gradient_is_not_finite_is_named(tmp_path: Path) -> None:
    run = dense(record(tmp_path))
    (finding,) = findings(bad_batch, run)
    assert (finding.strength, finding.detail, finding.steps) == ("proved", "nonfinite", (AT,))
    assert f"The gradient of step {AT} is not finite while its loss still is (0)" in finding.text
    assert f"from step {AT + 1} on" in finding.text
    assert "error_if_nonfinite=False" in finding.fix
    assert "if torch.isfinite(norm)" in finding.fix
    assert "before the loss" in diagnose(run).verdict


def test_a_step_that_was_left_out_loses_nothing(tmp_path: Path) -> None:
    run = dense(record(tmp_path, guarded=True))
    assert np.isfinite(run.loss).all()
    checked(bad_batch, run)


def test_a_loss_that_is_not_finite_itself_names_its_own_batch(tmp_path: Path) -> None:
    run = dense(record(tmp_path, perfect=False, spoil=True))
    (finding,) = findings(bad_batch, run)
    assert finding.steps == (AT,)
    assert finding.title == "The loss stops being finite"
    assert "before that step" in finding.advice


def test_the_healthy_twin_has_none(tmp_path: Path) -> None:
    run = dense(record(tmp_path, perfect=False))
    checked(bad_batch, run)


def test_a_gradient_that_was_not_read_proves_nothing(tmp_path: Path) -> None:
    run = record(tmp_path)
    norm, looked = run.float("grad_norm").copy(), np.ones(len(run))
    norm[AT], looked[AT] = np.nan, 0.0
    unread = replace(run, columns={**run.columns, "grad_norm": norm, "dense": looked}, ragged={})
    assert lost_by_gradient(unread, AT + 1) is None
    (finding,) = findings(bad_batch, unread)
    assert any("was not read" in line for line in finding.against)


def test_a_step_that_the_loss_scaler_left_out_is_none(tmp_path: Path) -> None:
    run = dense(record(tmp_path))
    assert lost_by_gradient(run, AT + 1) == AT
    skipped = np.zeros(len(run))
    skipped[AT + 1] = 1.0
    assert lost_by_gradient(replace(run, columns={**run.columns, "amp_skipped": skipped}), AT + 1) is None


def test_a_loss_that_the_updates_threw_off_blames_no_batch(tmp_path: Path) -> None:
    """A recurrent net that adds up over 40 steps: the first update makes the loss huge, and the gradient of that overflows."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x = torch.randn(1600, 40, 2)
    y = x[:, :, 0].sum(1, keepdim=True) / 8
    rnn, head = nn.RNN(2, 48, batch_first=True, nonlinearity="relu"), nn.Linear(48, 1)
    nn.init.eye_(rnn.weight_hh_l0)

    class _Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = rnn, head

        def forward(self, given: Tensor) -> Tensor:
            out: Tensor = self.head(self.rnn(given)[0][:, -1])
            return out

    net, criterion = _Last(), nn.MSELoss()
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    with LossLensWriter(str(tmp_path)) as writer:
        writer.watch(net, opt, criterion=criterion)
        for _ in range(2):
            for inputs, targets in writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)):
                loss = criterion(net(inputs), targets)
                opt.zero_grad()
                loss.backward()
                opt.step()
    run = load_runs(tmp_path)["."]
    assert 1e20 < run.loss[1] < np.inf
    assert lost_by_gradient(run, 2) == 1
    assert "thrown off by the updates" in checked(bad_batch, run)
    assert [one.cause for one in diagnose(run).findings if one.kind == "fault"] == ["lr_too_high"]
    large = run.float("input_std").copy()
    large[1] = 1e12  # the batch itself is why
    spoilt = replace(run, columns={**run.columns, "input_std": large})
    assert findings(bad_batch, spoilt)[0].steps == (1,)
    unknown = replace(run, columns={name: run.columns[name] for name in run.columns if not name.startswith("target_")})
    assert "its targets were not recorded: it was thrown off by them or by the updates before" in checked(bad_batch, unknown)
