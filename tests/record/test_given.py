"""Which of the tensors that a model is called with is its input: the loader's, and not what another network makes."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens.record import cadence
from tests.record.training import loader, two_classes


@pytest.fixture(autouse=True)
def every_batch_is_read(monkeypatch):
    monkeypatch.setattr(cadence, "GRANT", 1e9)
    monkeypatch.setattr(cadence, "DEEP_GRANT", 1e9)


def critic(one, *, real_first, detached=True):
    """A critic that is called twice a batch; gives the means of the real batches and the run."""
    torch.manual_seed(0)
    generator, net, truth = nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)), []
    optimizer = torch.optim.RMSprop(net.parameters(), 5e-4)
    one.writer.watch(net, optimizer)
    for _ in range(3):
        for (real,) in one.writer.wrap(DataLoader(TensorDataset(torch.randn(96, 2) + 2), 24, shuffle=True)):
            made = generator(torch.randn(24, 4))
            pair = [real, made.detach() if detached else made]
            scores = [net(batch).mean() for batch in (pair if real_first else pair[::-1])]
            optimizer.zero_grad()
            (scores[1] - scores[0]).backward()
            optimizer.step()
            one.writer.add_scalar("critic_loss", (scores[1] - scores[0]).item(), len(truth))
            truth.append(real.mean().item())
    return truth, one.run()


@pytest.mark.parametrize("real_first", [True, False])
@pytest.mark.parametrize("detached", [True, False])
def test_of_two_calls_the_one_that_gets_the_batch(real_first, detached, recorded):
    truth, run = critic(recorded(), real_first=real_first, detached=detached)
    np.testing.assert_allclose(run.float("input_mean"), truth, rtol=1e-5)
    assert run.float("input_relation").tolist() == [0] * 12
    assert run.facts["inputs_of_loader"] is True


def head(one, change):
    torch.manual_seed(0)
    encoder, net, criterion = nn.Linear(8, 6), nn.Linear(6, 2), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam([*encoder.parameters(), *net.parameters()], 0.01)
    one.writer.watch(net, optimizer, criterion=criterion)
    for _ in range(2):
        for inputs, targets in one.writer.wrap(loader(two_classes())):
            loss = criterion(net(change(encoder, inputs)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return one.run()


def test_features_that_are_learned_are_no_input(recorded):
    run = head(recorded(), lambda encoder, inputs: encoder(inputs))
    assert not run.has("input_mean")
    assert not run.has("input_sketch")
    assert not run.has("sample_level_max")
    assert (run.float("train_mode") == 1).all()


def test_features_that_are_cut_off_are_known_to_be_none_of_the_loaders(recorded):
    run = head(recorded(), lambda encoder, inputs: encoder(inputs).detach())
    assert run.has("input_mean")
    assert run.facts["inputs_of_loader"] is False


@pytest.mark.parametrize("prepare", [lambda x: x, lambda x: x.view(len(x), -1), lambda x: x.requires_grad_()])
def test_the_batch_itself_is_the_input_even_where_its_gradient_is_wanted(prepare, recorded):
    """The near miss: an adversarial step asks for the gradient of the data."""
    one = recorded()
    net, criterion, truth = nn.Linear(8, 2), nn.CrossEntropyLoss(), []
    one.writer.watch(net, torch.optim.SGD(net.parameters(), 0.1), criterion=criterion)
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        criterion(net(prepare(inputs)), targets).backward()
        truth.append(inputs.mean().item())
    run = one.run()
    np.testing.assert_allclose(run.float("input_mean"), truth, rtol=1e-5)
    assert run.facts["inputs_of_loader"] is True


def test_a_scaled_copy_is_recorded_as_before(recorded):
    run = head(recorded(), lambda encoder, inputs: 2 * inputs[:, :6])
    assert np.isfinite(run.float("input_mean")).all()
    assert run.facts["inputs_of_loader"] is False


@pytest.mark.parametrize("kind", ["autoencoder", "language"])
def test_targets_that_the_loop_makes_of_the_inputs(kind, recorded):
    """A loader of inputs alone has no targets; the criterion is given them."""
    one, words = recorded(), kind == "language"
    torch.manual_seed(0)
    data = torch.randint(0, 7, (96, 9)) if words else torch.randn(96, 6) * 3 + 1
    net = nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 7)) if words else nn.Sequential(nn.Linear(6, 2), nn.Linear(2, 6))
    optimizer, criterion = torch.optim.SGD(net.parameters(), 0.01), nn.CrossEntropyLoss() if words else nn.MSELoss()
    one.writer.watch(net, optimizer, criterion=criterion)
    truth = []
    for _ in range(2):
        for (batch,) in one.writer.wrap(DataLoader(TensorDataset(data), 24, shuffle=True)):
            output = net(batch[:, :-1]).flatten(0, 1) if words else net(batch)
            target = batch[:, 1:].flatten() if words else batch
            loss = criterion(output, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            truth.append(np.bincount(target).tolist() if words else [target.mean().item(), target.std(correction=0).item()])
    run = one.run()
    if words:
        classes = run.ragged["classes"]
        given = [dict(np.asarray(classes[row]).reshape(-1, 2).tolist()) for row in range(len(run))]
        assert given == [{word: count for word, count in enumerate(counts) if count} for counts in truth]
    else:
        np.testing.assert_allclose(np.stack([run.float("target_mean"), run.float("target_std")], 1), truth, rtol=1e-5)
