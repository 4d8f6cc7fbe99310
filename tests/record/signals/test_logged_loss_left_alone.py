"""Losses that are none of the functions, loops that do something else than most, and what is kept of them: nothing."""

import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tb_losslens.analysis.loss_function import loss_function
from tb_losslens.record.signals import logged_loss
from tests.record.signals.logged import Returns, Samples, log_batch, names, nothing_of, scalar, train


def twice(model, x, y):
    return (F.cross_entropy(model(x), y) + F.cross_entropy(model(x + 0.1), y)) / 2


def penalised(model, x, y):
    return F.cross_entropy(model(x), y) + 1e-2 * sum(p.square().sum() for p in model.parameters())


def mixed(model, x, y):
    other = torch.randperm(len(y))
    out = model(0.6 * x + 0.4 * x[other])
    return 0.6 * F.cross_entropy(out, y) + 0.4 * F.cross_entropy(out, y[other])


def focal(model, x, y):
    loss = F.cross_entropy(model(x), y, reduction="none")
    return ((1 - (-loss).exp()) ** 2 * loss).mean()


@pytest.mark.parametrize("loss_of", [twice, penalised, mixed, focal])
@pytest.mark.parametrize("log", [scalar, log_batch])
def test_nothing_is_said_of_other_losses(recorded, loss_of, log):
    assert nothing_of(train(recorded(), loss_of=loss_of, log=log, epochs=6))


def test_a_loss_with_further_terms_is_soon_left_alone(recorded, monkeypatch):
    computed, losses_by = [], logged_loss.losses_by

    def counted(functions, *given):
        computed.append(functions)
        return losses_by(functions, *given)

    monkeypatch.setattr(logged_loss, "losses_by", counted)
    train(recorded(), loss_of=penalised, epochs=10)
    assert logged_loss.TRIES <= len(computed) <= logged_loss.TRIES + 3  # that of the first rows is known later
    computed.clear()
    train(recorded(), epochs=10)
    assert len(computed) == 70
    assert set(computed[8:]) == {("cross_entropy",)}


def test_a_running_mean_is_the_loss_in_its_first_batch_only(recorded):
    losses = []

    def log(writer, loss, step):
        losses.append(loss.item())
        writer.add_scalar("Loss/train", sum(losses) / len(losses), step)

    run = train(recorded(), log=log, epochs=6)
    found = names(run)
    assert found.pop(0) == "cross_entropy/mean"
    assert logged_loss.TRIES <= len(found) < 2 * logged_loss.TRIES  # then no more are compared
    assert list(found.values()).count("") >= len(found) - 1  # a number may be near that of another function
    assert loss_function(run, least=1) is None


def test_another_function_from_some_batch_on(recorded):
    step = iter(range(1000))

    def loss_of(model, x, y):
        return F.cross_entropy(model(x), y, reduction="mean" if next(step) < 14 else "sum") + 0

    found = names(train(recorded(), loss_of=loss_of))
    assert [found[row] for row in range(21)] == ["cross_entropy/mean"] * 14 + ["cross_entropy/sum"] * 7

    step = iter(range(1000))
    smoothed = train(recorded(), loss_of=lambda m, x, y: F.cross_entropy(m(x), y, label_smoothing=0.1 * (next(step) >= 14)))
    found = names(smoothed)
    assert [found[row] for row in range(13, 17)] == ["cross_entropy/mean", "", *["cross_entropy_smoothed/mean"] * 2]


@pytest.mark.parametrize("given", ["same", "longer"])
def test_targets_that_log_batch_is_given(recorded, given):
    """A loop over tensors, without a loader; and a loader whose second part is no target."""
    data = Samples()
    batches = list(zip(data.x.split(20), data.y.split(20), strict=True))

    def log(writer, loss, step):
        writer.log_batch(loss, targets=batches[step % 5][1])

    one = recorded()
    loader = batches
    if given == "longer":
        loader = one.writer.wrap(DataLoader([(x, torch.zeros(20, 4), y) for x, y in batches], None))
    run = train(one, loader=loader, log=log, parts=lambda batch: (batch[0], batch[-1]), epochs=10)
    found = names(run)
    assert set(found.values()) == {"cross_entropy/mean"}
    if given == "same":
        assert list(found) == [0, 16, 32, 48]  # without epochs none is near a boundary
    else:
        assert list(found) == list(range(1, 50))  # of the first batch it was not known that there would be any
    assert run.has("class_losses")


def test_targets_that_the_loop_changes_in_their_place(recorded):
    def loss_of(model, x, y):
        y[:2] = -100
        return F.cross_entropy(model(x), y)

    run = train(recorded(), loss_of=loss_of)
    assert set(names(run).values()) == {"cross_entropy/mean"}
    assert not run.ragged["per_sample"][0][:2].any()


def test_targets_of_which_only_a_copy_is_left(recorded):
    def parts(batch):
        x, y = batch[0].clone(), batch[1].clone()
        batch.clear()  # as where both were moved to a device
        return x, y

    run = train(recorded(), parts=parts)
    assert set(names(run).values()) == {"cross_entropy/mean"}
    assert run.has("class_losses")


def test_a_criterion_that_is_watched_and_not_used(recorded):
    run = train(recorded(), criterion=nn.MSELoss(), epochs=6)
    assert set(names(run).values()) == {"cross_entropy/mean"}


def test_an_optimiser_that_evaluates_the_loss_several_times(recorded):
    torch.manual_seed(0)
    model, data, one = Returns(), Samples(), recorded()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    one.writer.watch(model, optimizer)
    for x, y in one.writer.wrap(DataLoader(data, 25)):

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        one.writer.log_batch(optimizer.step(closure))
    assert nothing_of(one.run())


@pytest.mark.parametrize("wrapped", [True, False])
def test_no_graph_and_no_output_is_kept(recorded, wrapped):
    class Saved:
        def __init__(self, tensor):
            self.tensor = tensor

    data, graphs, left = Samples(), [], []

    def pack(tensor):
        saved = Saved(tensor)
        graphs.append(weakref.ref(saved))
        return saved

    def loss_of(model, x, y):
        left.append(sum(graph() is not None for graph in graphs))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
            return F.cross_entropy(model(x), y)

    one = recorded()
    (collector,) = [c for c in one.writer._watch.collectors._all if isinstance(c, logged_loss.LoggedLoss)]
    kept = []

    def log(writer, loss, step):
        graph_of_loss = loss.detach()
        kept.append(collector._kept)
        writer.log_batch(graph_of_loss, targets=data.y[:16] if step > 3 else None)
        assert collector._kept is None
        assert len(collector._rows) <= 1

    loader = None if wrapped else [(data.x[:16], data.y[:16])] * 7
    train(one, loader=loader, loss_of=loss_of, log=log, epochs=2)
    assert graphs
    assert not any(left[1:])
    assert any(one is not None for one in kept)
    assert not len(collector._targets)
