"""What is known of a loss that a function computed and that was only logged, in real trainings."""

import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tb_losslens.analysis.loss_function import loss_function
from tb_losslens.record.signals import logged_loss
from tb_losslens.record.signals.loss_functions import IDENTITIES, KINDS
from tests.record.training import mlp

LISTS = ("per_sample", "class_losses")
NUMBERS = ("loss_identity", "output_kind", "sample_loss_max", "sample_loss_max_id")


class Samples(Dataset):
    """Inputs and three classes, or amounts, that follow from them; as `form` puts them together."""

    def __init__(self, samples=100, amounts=False, form=lambda x, y: (x, y)):
        self.x = torch.randn(samples, 8, generator=torch.Generator().manual_seed(1))
        self.y = self.x[:, :3].sum(1) if amounts else self.x[:, :3].argmax(1)
        self.form = form

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.form(self.x[index], self.y[index])


class Returns(nn.Module):
    """A small network, and `form` of what comes out of it."""

    def __init__(self, form=lambda out: out, classes=3):
        super().__init__()
        self.net, self.form = mlp(8, classes), form

    def forward(self, x):
        return self.form(self.net(x))


def scalar(writer, loss, step):
    writer.add_scalar("Loss/train", loss.item(), step)


def log_batch(writer, loss, step):
    writer.log_batch(loss, step=step)


def train(
    one,
    *,
    model=None,
    data=None,
    loss_of=lambda model, x, y: F.cross_entropy(model(x), y),
    log=scalar,
    criterion=None,
    epochs=3,
    loader=None,
    backward=lambda loss: loss.backward(),
    parts=lambda batch: batch,
):
    """The run of a plain training; 7 batches an epoch, of which the last one has 4 samples."""
    torch.manual_seed(0)
    model = model if model is not None else Returns()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    writer, step = one.writer, 0
    writer.watch(model, optimizer, criterion=criterion)
    loader = loader if loader is not None else writer.wrap(DataLoader(data or Samples(), 16, shuffle=True))
    for _ in range(epochs):
        for batch in loader:
            loss = loss_of(model, *parts(batch))
            optimizer.zero_grad()
            backward(loss)
            optimizer.step()
            log(writer, loss, step)
            step += 1
    return one.run()


def names(run):
    """What the loss of each tested row was found to be."""
    codes = run.float("loss_identity")
    return {row: IDENTITIES[int(codes[row])] if codes[row] >= 0 else "" for row in np.flatnonzero(np.isfinite(codes))}


def kinds(run):
    codes = run.float("output_kind")
    return {KINDS[int(code)] for code in codes[np.isfinite(codes)]}


def nothing_of(run):
    return not any(run.has(name) for name in (*NUMBERS, *LISTS))


@pytest.mark.parametrize("log", [scalar, log_batch])
@pytest.mark.parametrize("kind", [nn.CrossEntropyLoss, None])
def test_all_that_a_watched_criterion_tells(recorded, log, kind):
    """The loss is that of a function, or of a module that is not watched."""
    criterion = nn.CrossEntropyLoss()
    watched = train(recorded(), criterion=criterion, loss_of=lambda model, x, y: criterion(model(x), y))
    compute = F.cross_entropy if kind is None else kind()
    run = train(recorded(), log=log, loss_of=lambda model, x, y: compute(model(x), y))
    assert len(names(run)) == len(run) == 21  # all of them are near a boundary
    assert set(names(run).values()) == {"cross_entropy/mean"}
    for name in NUMBERS:
        assert np.allclose(run.float(name), watched.float(name), rtol=1e-5), name
    for name in LISTS:
        for row in range(len(run)):
            assert np.allclose(run.ragged[name][row], watched.ragged[name][row], rtol=1e-4, atol=1e-6), (name, row)
    assert len(run.ragged["per_sample"][6]) == 4
    assert set(run.columns) | set(run.ragged) == (set(watched.columns) | set(watched.ragged)) - {"logged_loss"}


def test_the_cadence_is_that_of_a_criterion(recorded):
    run = train(recorded(), data=Samples(1600), epochs=1)
    assert list(names(run)) == [*range(10), 16, 32, 48, 64, 80, *range(90, 100)]


@pytest.mark.parametrize(
    ("loss_of", "amounts", "name"),
    [
        (lambda model, x, y: F.cross_entropy(model(x), y, label_smoothing=0.1), False, "cross_entropy_smoothed/mean"),
        (lambda model, x, y: F.cross_entropy(model(x), y, reduction="sum"), False, "cross_entropy/sum"),
        (lambda model, x, y: F.cross_entropy(model(x).softmax(1), y), False, "cross_entropy_of_softmax/mean"),
        (lambda model, x, y: F.mse_loss(model(x)[:, 0], y), True, "mse/mean"),
        (lambda model, x, y: (model(x).squeeze(1) - y).abs().mean(), True, "mae/mean"),
        (lambda model, x, y: F.mse_loss(model(x), y), True, "mse_broadcast/mean"),
        (lambda model, x, y: F.binary_cross_entropy_with_logits(model(x)[:, 0], (y > 0).float()), False, ""),
        (lambda model, x, y: F.binary_cross_entropy_with_logits(model(x)[:, 0], y.clamp(0, 1).float()), False, ""),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_functions_by_name(recorded, loss_of, amounts, name):
    """Targets that the loop computes anew are not those of the loader: nothing is said of that loss."""
    model = Returns(classes=1 if amounts or not name else 3)
    run = train(recorded(), model=model, loss_of=loss_of, data=Samples(amounts=amounts))
    if name:
        assert set(names(run).values()) == {name}
        assert len(names(run)) == len(run)
    else:
        assert nothing_of(run)


@pytest.mark.parametrize("probable", [False, True])
def test_the_kind_of_the_output(recorded, probable):
    model = Returns(lambda out: out.softmax(1) if probable else out)
    assert kinds(train(recorded(), model=model)) == {"probabilities" if probable else "anything"}


@pytest.mark.parametrize(
    ("form", "chosen"),
    [
        (lambda out: {"logits": out, "hidden": out * 2}, lambda said: said["logits"]),
        (lambda out: SimpleNamespace(loss=None, logits=out), lambda said: said.logits),
        (lambda out: (out, None), lambda said: said[0]),
    ],
)
@pytest.mark.parametrize("key", ["labels", "label", "target", "targets", "y"])
def test_outputs_and_batches_of_other_forms(recorded, form, chosen, key):
    run = train(
        recorded(),
        model=Returns(form),
        data=Samples(form=lambda x, y: {"inputs": x, key: y}),
        parts=lambda batch: (batch["inputs"], batch[key]),
        loss_of=lambda model, x, y: F.cross_entropy(chosen(model(x)), y),
    )
    assert set(names(run).values()) == {"cross_entropy/mean"}
    assert run.has("class_losses")


def test_an_output_of_half_precision_whose_loss_is_not(recorded):
    def loss_of(model, x, y):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x)
            assert out.dtype is torch.bfloat16
            return F.cross_entropy(out, y)

    assert set(names(train(recorded(), loss_of=loss_of)).values()) == {"cross_entropy/mean"}


def test_a_loss_of_half_precision_is_left_out(recorded):
    model = Returns().bfloat16()
    run = train(recorded(), model=model, loss_of=lambda model, x, y: F.cross_entropy(model(x.bfloat16()), y), epochs=12)
    assert nothing_of(run)


@pytest.mark.parametrize("part", [1, 4])
def test_a_loss_that_is_divided_before_it_is_logged(recorded, part):
    run = train(recorded(), loss_of=lambda model, x, y: F.cross_entropy(model(x), y) / part)
    assert nothing_of(run) == (part > 1)


@pytest.mark.parametrize("rest", [0, 9])
def test_a_loss_that_is_logged_in_one_batch_of_ten(recorded, rest):
    def log(writer, loss, step):
        if step % 10 == rest:
            writer.add_scalar("Loss/train", loss.item(), step)

    one = recorded(loss_tag="Loss/train")
    run = train(one, data=Samples(1600), log=log, epochs=1)
    assert set(np.flatnonzero(np.isfinite(run.loss))) == set(range(rest, 100, 10))
    found = names(run)
    assert set(found.values()) == {"cross_entropy/mean"}
    assert len(found) >= 5


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
