"""What is kept of a scheduler, and how a run's text summary shows it."""

from functools import partial

import pytest
import torch
from torch import nn

from tb_losslens.record.facts import model_facts, optimizer_facts, scheduler_facts
from tb_losslens.record.summary import markdown

LR = torch.optim.lr_scheduler


def warm_up(n, steps):
    return min(1.0, n / steps)


def adam():
    return torch.optim.Adam(nn.Linear(1, 1).parameters(), lr=0.25)


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (lambda o: LR.StepLR(o, 7, gamma=0.3), {"step_size": 7, "gamma": 0.3, "base_lrs": [0.25]}),
        (lambda o: LR.MultiStepLR(o, [9, 3, 3]), {"milestones": [3, 3, 9], "gamma": 0.1, "base_lrs": [0.25]}),
        (
            lambda o: LR.SequentialLR(o, [LR.ConstantLR(o, 0.5, 5), LR.StepLR(o, 2)], [5]),
            {
                "milestones": [5],
                "0 class": "ConstantLR", "0 factor": 0.5, "0 total_iters": 5, "0 base_lrs": [0.25],
                "1 class": "StepLR", "1 step_size": 2, "1 gamma": 0.1, "1 base_lrs": [0.25],
            },
        ),
        (
            lambda o: LR.OneCycleLR(o, 0.5, 100, pct_start=0.25, cycle_momentum=False, anneal_strategy="linear"),
            {
                "max_lr": [0.5], "total_steps": 100, "pct_start": 0.25, "anneal_strategy": "linear",
                "three_phase": False, "cycle_momentum": False, "base_lrs": [0.02],
            },
        ),
        (
            lambda o: LR.CyclicLR(o, 0.1, 0.5, 7, 3, cycle_momentum=False),
            {
                "base_lr": [0.1], "max_lr": [0.5], "step_size_up": 7.0, "step_size_down": 3.0, "mode": "triangular",
                "gamma": 1.0, "scale_mode": "cycle", "cycle_momentum": False, "base_lrs": [0.1],
            },
        ),
        (
            lambda o: LR.ReduceLROnPlateau(o, factor=0.3, patience=4, min_lr=1e-4),
            {
                "mode": "min", "factor": 0.3, "patience": 4, "threshold": 1e-4, "threshold_mode": "rel", "cooldown": 0,
                "min_lr": [1e-4], "eps": 1e-8,
            },
        ),
        (
            lambda o: LR.LambdaLR(o, partial(warm_up, steps=30)),
            {"lr_lambda": ["warm_up(steps=30)"], "base_lrs": [0.25]},
        ),
        (lambda o: LR.CosineAnnealingWarmRestarts(o, 4, 2), {"T_0": 4, "T_mult": 2, "eta_min": 0.0, "base_lrs": [0.25]}),
    ],
)
def test_a_scheduler_is_kept_as_the_settings_it_was_made_with(make, known):
    scheduler = make(adam())
    assert scheduler_facts(scheduler) == {"class": type(scheduler).__name__, **known}


def test_a_scheduler_of_the_users_own():
    class Mine:
        def __init__(self, optimizer, warmup, shape=len):
            self.warmup, self.shape, self.rate, self._count = warmup, shape, 0.1, 3

        def step(self):
            pass

    assert scheduler_facts(Mine(adam(), 100)) == {"class": "Mine", "warmup": 100}


def test_the_summary_has_a_short_line_for_each_setting():
    facts = {"optimizer": optimizer_facts(adam()), "scheduler": scheduler_facts(LR.OneCycleLR(adam(), 0.5, total_steps=90))}
    lines = markdown("exp", facts).splitlines()[2:]
    assert lines[:2] == ["| fact | value |", "|---|---|"]
    rows = dict(line.strip("| ").split(" | ") for line in lines[2:])
    assert rows["optimizer"] == "Adam"
    assert rows["optimizer lr"] == "0.25"
    assert rows["scheduler"] == "OneCycleLR"
    assert rows["scheduler total_steps"] == "90"
    assert "optimizer foreach" not in rows  # not set
    assert not [name for name in rows if name.split()[-1].startswith("_")]
    assert max(len(line) for line in lines) < 60


def test_modules_that_can_carry_state_are_counted():
    model = nn.Sequential(nn.Embedding(9, 4), nn.LSTM(4, 4, 2, dropout=0.1), nn.GRUCell(4, 4), nn.Dropout(0.5))
    known = model_facts(model)
    assert (known["recurrent"], known["dropout"], known["batchnorm"]) == (2, 2, 0)
    assert model_facts(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))["recurrent"] == 0
