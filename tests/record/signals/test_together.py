"""All signals of state, configuration, input and loss in one real training, read back from disk."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens.record.signals.loss_functions import IDENTITIES
from tests.record.training import Recorded, events


def train(recorded=None, epochs=3):
    """A CNN with BatchNorm, dropout and mixed precision; a label, dropout and the scale of the input change after an epoch."""
    torch.manual_seed(0)
    inputs, labels = torch.rand(64, 3, 6, 6), torch.randint(0, 4, (64,))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    criterion = nn.CrossEntropyLoss()
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    loader = DataLoader(TensorDataset(inputs, labels), 8, shuffle=True)
    if recorded is not None:
        recorded.writer.watch(model, optimizer, criterion=criterion, scaler=scaler)
        loader = recorded.writer.wrap(loader)
    for epoch in range(epochs):
        if epoch == 1:
            labels[17] = (labels[17] + 1) % 4
            model[4].p = 0.5
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x * (2.0 if epoch else 1.0)), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    state = [*model.state_dict().values(), *(v for s in optimizer.state_dict()["state"].values() for v in s.values())]
    return state, torch.get_rng_state()


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    recorded = Recorded(tmp_path_factory.mktemp("signals"))
    trained = train(recorded)
    return recorded.run(), trained


def test_the_training_is_the_same_to_the_bit(result):
    state, rng = train()
    assert all(torch.equal(a, b) for a, b in zip(state, result[1][0], strict=True))
    assert torch.equal(rng, result[1][1])


def test_columns(result):
    run, _ = result
    columns = run.columns
    assert len(columns["loss"]) == 24
    assert (columns["micro_batches"] == 1).all()
    assert (columns["grads_before_backward"][1:] == 0).all()
    assert np.nanmax(columns["amp_scale"]) == 256
    assert np.nansum(columns["amp_skipped"]) == 0
    known = columns["loss_identity"][~np.isnan(columns["loss_identity"])]
    assert len(known)
    assert {IDENTITIES[int(code)] for code in known} == {"cross_entropy/mean"}
    relation, slope = columns["input_relation"], columns["input_slope"]
    assert np.nanmax(relation[:8]) == 0
    assert np.nanmin(relation[8:]) == np.nanmax(relation[8:]) == 1
    assert np.nanmedian(slope[8:]) == pytest.approx(2, rel=1e-5)
    assert np.nanmax(columns["sample_level_max"]) > np.nanmin(columns["sample_level_min"])
    sketches = run.ragged["input_sketch"]
    assert {len(sketches[i]) for i in range(24)} <= {0, 64}
    assert len(sketches[0]) == 64
    ratio = sketches[8].astype(float).mean() / sketches[0].astype(float).mean()  # the input was doubled
    assert 1.7 < ratio < 2.3


def test_records_of_epochs(result):
    run, _ = result
    begins, ends = events(run, "epoch_begin"), events(run, "epoch_end")
    assert [len(begins), len(ends)] == [3, 3]
    for before, after in zip(ends, begins[1:], strict=False):
        assert before.fields["parameters"] == after.fields["parameters"]
        assert before.fields["buffers"] == after.fields["buffers"]
    assert len({event.fields["parameters"] for event in ends}) == 3
    assert all(event.fields["rng_used"]["torch"] for event in ends)
    assert not any(event.fields["rng_used"]["numpy"] for event in ends)
    assert begins[0].fields["config"]["dropout of 4"] == 0.2
    assert ends[1].fields["targets_changed"] == 1
    assert ends[1].fields["target_changes"][0][0] == 17
    assert ends[2].fields["targets_changed"] == 0
    assert all("backwards_left" not in event.fields for event in ends)


def test_the_change_of_dropout_is_an_event(result):
    (change,) = events(result[0], "config_change")
    assert change.fields["changes"] == {"dropout of 4": [0.2, 0.5]}
    assert change.text == "dropout of 4 0.2 -> 0.5"
    assert change.batch == 8
