"""While the mark of a configuration is equal, so is the configuration."""

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.signals.config_values import config_mark, config_values


class Centred(nn.Module):
    """A loss with a running centre that is renewed where no graph is wanted."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(3))

    def forward(self, output, target):
        return ((output - self.centre) ** 2).mean() + 0 * target.sum()

    @torch.inference_mode()
    def renew(self):
        self.centre = self.centre + 1


class Parts:
    def __init__(self):
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 3))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 10)
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(3))
        self.loader = {"class": "DataLoader", "batch_size": 8, "worker_seed": "1"}

    def given(self):
        return [self.model], [self.optimizer], [self.scheduler], [self.criterion], self.loader


def halve(parts):
    parts.model[3].weight.data = parts.model[3].weight.data[:, :4].clone()


def weights_by_numpy(parts):
    parts.criterion.weight.numpy()[1] = 5.0


CHANGES = {
    "weight decay": lambda p: p.optimizer.param_groups[0].update(weight_decay=0.3),
    "betas": lambda p: p.optimizer.param_groups[0].update(betas=(0.8, 0.9)),
    "a group": lambda p: p.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]}),
    "dropout": lambda p: setattr(p.model[2], "p", 0.5),
    "momentum": lambda p: setattr(p.model[1], "momentum", None),
    "momentum of numpy": lambda p: setattr(p.model[1], "momentum", np.float32(0.5)),
    "frozen": lambda p: p.model[0].weight.requires_grad_(False),
    "a layer more": lambda p: p.model.append(nn.ReLU()),
    "a smaller weight": halve,
    "label smoothing": lambda p: setattr(p.criterion, "label_smoothing", 0.1),
    "class weight": lambda p: p.criterion.weight.data.__setitem__(0, 9.0),
    "class weight by numpy": weights_by_numpy,
    "no class weight": lambda p: setattr(p.criterion, "weight", None),
    "gamma": lambda p: setattr(p.scheduler, "gamma", 0.5),
    "batch size": lambda p: p.loader.update(batch_size=16),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_the_values_is_one_of_the_mark(name):
    parts = Parts()
    mark, values = config_mark(*parts.given()), config_values(*parts.given())
    assert mark is not None
    assert config_mark(*parts.given()) == mark
    CHANGES[name](parts)
    assert config_values(*parts.given()) != values
    now = config_mark(*parts.given())
    assert now is None or now != mark


@pytest.mark.parametrize("change", [lambda p: p.loader.update(worker_seed="2"), lambda p: p.scheduler.step()])
def test_what_is_no_setting_leaves_the_mark_as_it_is(change):
    parts = Parts()
    parts.optimizer.step()
    mark, values = config_mark(*parts.given()), config_values(*parts.given())
    change(parts)
    assert config_values(*parts.given()) == values
    assert config_mark(*parts.given()) == mark


def test_a_buffer_that_was_made_without_a_graph_is_no_error():
    criterion = Centred()
    for _ in range(2):
        criterion.renew()
        assert config_mark([], [], [], [criterion]) is not None


@pytest.mark.parametrize("model", [nn.LazyLinear(3), torch.jit.script(nn.Linear(2, 2))])
def test_what_cannot_be_compared_has_no_mark(model):
    assert config_mark([model], []) is None


def test_a_tensor_among_the_settings_has_no_mark():
    layer = nn.Linear(2, 2)
    assert config_mark([layer], [torch.optim.Adam(layer.parameters(), torch.tensor(1e-3))]) is None
