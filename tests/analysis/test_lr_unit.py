"""A scheduler that counts batches where epochs were meant, on real trainings, and those that only look like it."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import lr_increase
from tb_losslens.analysis.engine import diagnose
from tests.analysis.contexts import checked, findings

EPOCHS, BATCHES = 8, 40


def trained(directory: Path, make, *, per_batch: bool, model: str = "mlp", epochs: int = EPOCHS):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x = torch.randn(BATCHES * 32, 16)
    y = (x @ torch.randn(16, 4) + 0.5 * torch.randn(len(x), 4)).argmax(1)
    net = nn.Linear(16, 4) if model == "linear" else nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.SGD(net.parameters(), 0.5, momentum=0.9)
    scheduler, criterion = make(optimizer), nn.CrossEntropyLoss()
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, optimizer, scheduler=scheduler, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        for _ in range(epochs):
            for inputs, targets in loader:
                optimizer.zero_grad()
                criterion(net(inputs), targets).backward()
                optimizer.step()
                if per_batch:
                    scheduler.step()
            if not per_batch:
                scheduler.step()
    (run,) = load_runs(str(directory)).values()
    return run


def cosine(length):
    return lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, length)


@pytest.mark.parametrize("model", ["mlp", "linear"])
@pytest.mark.parametrize("length", [5, EPOCHS, 20])
def test_a_cosine_in_epochs_that_is_stepped_in_batches(tmp_path, length, model):
    run = trained(tmp_path, cosine(length), per_batch=True, model=model)
    (finding,) = findings(lr_increase, run)
    assert (finding.kind, finding.detail, finding.strength) == ("fault", "stepping_unit", "likely")
    assert finding.steps == (length,)
    assert not finding.explains_jump
    assert any(f"T_max {length}, and counts {BATCHES} steps" in line for line in finding.evidence)
    assert f"T_max={EPOCHS} * {BATCHES})" in finding.fix
    assert diagnose(run).findings[0].detail == "stepping_unit"


def test_as_many_steps_as_epochs_is_said_where_an_epoch_is_short(tmp_path):
    run = trained(tmp_path, cosine(30), per_batch=True, epochs=30)
    (finding,) = findings(lr_increase, run)
    assert any("the number of epochs of this run, 30" in line for line in finding.evidence)


@pytest.mark.parametrize(
    ("make", "per_batch"),
    [
        (cosine(EPOCHS), False),  # its own unit
        (cosine(3), False),  # over before the run is, on purpose or not: in its unit all the same
        (cosine(EPOCHS * BATCHES), True),  # the length in batches
        (cosine(2 * BATCHES), True),  # down in two epochs, and up again: a cyclic schedule
        (lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 5), True),  # restarts in each epoch, on purpose
        (lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5), False),
        (lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=EPOCHS * BATCHES), True),
    ],
)
def test_a_schedule_in_its_unit_is_none(tmp_path, make, per_batch):
    run = trained(tmp_path, make, per_batch=per_batch)
    assert "stepping_unit" not in [finding.detail for finding in diagnose(run).findings]


def test_a_log_without_counts_of_the_scheduler_says_nothing(tmp_path):
    run = trained(tmp_path, cosine(5), per_batch=True)
    for epoch in run.epochs:
        assert epoch.fields["schedule"][0]["class"] == ["CosineAnnealingLR"]
    run.facts.pop("scheduler")
    assert "stepping_unit" not in [finding.detail for finding in diagnose(run).findings]
    assert checked(lr_increase, run) or findings(lr_increase, run)
