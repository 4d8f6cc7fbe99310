"""What a hook of the user's own raises reaches the loop as it would have, and the recording goes on."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs
from tests.record.fault_training import same
from tests.record.training import mlp, two_classes


class OwnError(Exception):
    pass


@pytest.mark.parametrize("kind", ["register_forward_pre_hook", "register_forward_hook", "register_full_backward_hook"])
def test_a_hook_of_the_users_that_raises(kind, tmp_path):
    """It reaches the loop as it would have; the loop catches it and goes on."""

    def run(writer):
        torch.manual_seed(0)
        model, criterion = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        loader = DataLoader(two_classes(), 10, shuffle=True)
        if writer is not None:
            writer.watch(model, optimizer, criterion=criterion)
            loader = writer.wrap(loader)
        count = [0]

        def hook(*_):
            count[0] += 1
            if count[0] % 5 == 0:
                raise OwnError

        getattr(model[2], kind)(hook)
        caught = 0
        for _ in range(3):
            for inputs, targets in loader:
                optimizer.zero_grad()
                try:
                    criterion(model(inputs), targets).backward()
                except OwnError:
                    caught += 1
                    continue
                optimizer.step()
        assert caught == 7
        return list(model.state_dict().values())

    plain = run(None)
    with warnings.catch_warnings(), LossLensWriter(str(tmp_path / "run")) as writer:
        warnings.simplefilter("error")
        weights = run(writer)
    assert same(weights, plain)
    run = load_runs(tmp_path)["run"]
    assert run.problems == ()
    assert 29 <= len(run) <= 36
    assert np.isfinite(run.float("train_mode")[:-1]).all()


def test_a_hook_of_the_optimizers_that_raises(tmp_path):
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings(), LossLensWriter(str(tmp_path / "run")) as writer:
        warnings.simplefilter("error")
        writer.watch(model, optimizer, criterion=criterion)

        def hook(*_):
            raise OwnError

        handle = optimizer.register_step_pre_hook(hook)
        for step, (inputs, targets) in enumerate(writer.wrap(DataLoader(two_classes(), 20))):
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            if step == 2:
                handle.remove()
            if step < 2:
                with pytest.raises(OwnError):
                    optimizer.step()
            else:
                optimizer.step()
    run = load_runs(tmp_path)["run"]
    assert len(run) == 6
    assert np.isfinite(run.loss).all()
