import pytest
import torch
from torch import nn

from tb_losslens.record.signals.amp import LossScale
from tb_losslens.record.signals.micro_batches import MicroBatches
from tests.record.recorded_signals import Told, data, moments, step


class Training:
    """Mixed precision on the CPU; some batches have an inf among their inputs."""

    def __init__(self, **scaler):
        torch.manual_seed(0)
        self.model = nn.Linear(6, 3)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.05)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3, **scaler)
        self.told = Told(LossScale(lambda: self.scaler), MicroBatches(lambda: [self.optimizer], lambda: self.scaler))
        self.number = 0

    def epoch(self, bad=(), batches=8):
        inputs, targets = data()
        self.told.each("epoch_begins", self.number)
        skipped = []
        for i in range(batches):
            row = self.told.row()
            x = inputs[8 * i : 8 * i + 8].clone()
            if i in bad:
                x[0, 0] = torch.inf
            self.optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = moments(self.told, row, self.model, nn.CrossEntropyLoss(), x, targets[8 * i : 8 * i + 8])
            before = self.model.weight.detach().clone()
            self.scaler.scale(loss).backward()
            step(self.told, row, self.optimizer, self.scaler)
            skipped.append(float(torch.equal(before, self.model.weight)))
        ends = self.told.each("epoch_ends", self.number)
        self.number += 1
        return ends, skipped


def test_the_scale_and_the_steps_that_were_left_out():
    training = Training()
    (scale, left), skipped = training.epoch(bad=(2, 6))
    assert skipped == [0, 0, 1, 0, 0, 0, 1, 0]
    assert scale == {"amp_skipped": 2}
    assert left is None
    told = training.told
    # what the row before left out is told with the next row
    assert told.column("amp_scale")[:4] == [1024, 1024, 1024, 512]
    assert told.column("amp_skipped") == [None, 0, 0, 1, 0, 0, 0, 1]
    assert told.column("micro_batches") == [1, 1, None, 1, 1, 1, None, 1]


@pytest.mark.parametrize(("bad", "batches"), [((0, 1, 4), 8), ((0,), 1)])
def test_the_first_steps_are_left_out_where_a_scaler_begins_too_high(bad, batches):
    training = Training()
    (scale, _), skipped = training.epoch(bad=bad, batches=batches)
    assert sum(skipped) == len(bad)
    assert scale == {"amp_skipped": len(bad)}
    assert training.told.column("amp_skipped")[1:] == skipped[:-1]


def test_the_last_step_of_an_epoch_is_counted_once_and_no_leak():
    training = Training()
    ends, _ = training.epoch(bad=(7,))
    assert ends == [{"amp_skipped": 1}, None]
    ends, skipped = training.epoch()
    assert skipped == [0] * 8
    assert ends == [{"amp_skipped": 0}, None]
    assert training.told.column("amp_skipped")[8] == 1  # with the row after it, all the same


def test_a_scale_that_grows_is_no_skipped_step():
    training = Training()
    ends, _ = training.epoch()
    assert training.told.column("amp_scale")[-1] > 1024
    assert ends[0] == {"amp_skipped": 0}


@pytest.mark.parametrize("scaler", [{"enabled": False}, {"backoff_factor": 0.999999}])
def test_scalers_that_tell_little(scaler):
    training = Training(**scaler)
    (scale, _), skipped = training.epoch(bad=(2,))
    if not scaler.get("enabled", True):
        assert scale is None
        assert training.told.column("amp_scale") == [None] * 8
    else:
        assert scale == {"amp_skipped": sum(skipped)}


def test_another_scaler_with_a_lower_scale_is_no_skipped_step():
    training = Training()
    training.epoch()
    training.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    ends, _ = training.epoch()
    assert ends[0] == {"amp_skipped": 0}


def test_without_a_scaler():
    told = Told(LossScale(lambda: None))
    told.each("epoch_begins", 0)
    told.each("forward_begins", told.row(), (torch.ones(1),), {})
    assert told.each("epoch_ends", 0) == [None]
    assert told.rows[0].values == {}
