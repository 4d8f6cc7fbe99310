"""A training with the probe ends with the same bits, in everything that is random or kept, as one without LossLens."""
# ruff: noqa: NPY002 - trainings draw from the global generator

import copy
import hashlib
import random
import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from tests.record.no_trace import CLASSES, Cnn, Lstm, same
from tests.record.training import events

POINTS = ["t0", "before_validation", "after_validation", "t1", "u1", "u2", "u5"]


class Mlp(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, CLASSES))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.2), 2)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.head(self.body(self.embed(x.squeeze(1))).mean(1))


class Noisy(nn.Module):
    """Draws numbers in evaluation, too, from three streams, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.body, self.calls = Cnn(), 0
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.seen += x.mean().detach()
        return self.body(x + 0.01 * torch.randn_like(x) * random.random() * np.random.rand())


class Stateful(nn.Module):
    """Goes on from the hidden state of its last call."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head, self.hidden = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, CLASSES), None

    def forward(self, x):
        hidden = self.hidden if self.hidden is not None and self.hidden[0].shape[1] == len(x) else None
        output, hidden = self.rnn(x.squeeze(1), hidden)
        self.hidden = tuple(tensor.detach() for tensor in hidden)
        return self.head(output[:, -1])


class Renormed(nn.Module):
    """Its embedding writes to its own weight when it is called."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(50, 8, max_norm=0.5), nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.head(self.embed((x.flatten(1).abs() * 20).long().clamp(max=49)).mean(1))


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, CLASSES)
        self.body = nn.Sequential(nn.Linear(32, 32), nn.Dropout(0.3), nn.BatchNorm1d(32, momentum=None))

    def forward(self, x):
        return self.last(checkpoint(self.body, self.first(x.flatten(1)), use_reentrant=False))


class Spectral(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Flatten(),
            nn.utils.spectral_norm(nn.Linear(64, 32)),
            nn.utils.parametrizations.spectral_norm(nn.Linear(32, 32)),
            nn.utils.parametrizations.weight_norm(nn.Linear(32, CLASSES)),
        )


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def distributed():
    return nn.parallel.DistributedDataParallel(Cnn())


def train(model_class, one=None, *, compiled=None, half=False, accumulate=1, epochs=2, workers=0, evaluation=True):
    """Everything that a trace would show in."""
    torch.manual_seed(5), random.seed(6), np.random.seed(7)
    data = TensorDataset(torch.randn(120, 1, 8, 8), torch.randint(0, CLASSES, (120,)))
    model, criterion = model_class(), nn.CrossEntropyLoss()
    if compiled is not None:
        model = torch.compile(model, **compiled)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    loader, held_out = DataLoader(data, 10, shuffle=True, num_workers=workers), DataLoader(data, 40)
    if one is not None:
        one.writer.watch(model, optimizer, criterion=criterion, scheduler=scheduler)
        one.writer.set_probe()
        one.writer._watch.probe.budget.share = 100.0  # these take milliseconds, and every point is wanted
        loader, held_out = one.writer.wrap(loader), one.writer.wrap(held_out, split="val")
    order, kept = hashlib.sha256(), []

    def forward(inputs, targets):
        with torch.autocast("cpu", dtype=torch.bfloat16) if half else nullcontext():
            return criterion(model(inputs), targets)

    for _ in range(epochs):
        model.train()
        for position, (inputs, targets) in enumerate(loader):
            order.update(inputs.numpy().tobytes())
            (forward(inputs, targets) / accumulate).backward()
            if (position + 1) % accumulate == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                kept.append([p.grad is not None and p.grad.sum().item() for p in model.parameters()])
                optimizer.zero_grad()
        scheduler.step()
        if evaluation:
            model.eval()
        with torch.no_grad():
            kept.append([forward(inputs, targets).item() for inputs, targets in held_out])
        kept.append([module.training for module in model.modules()])
    state = copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    streams = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2:]
    return state, order.hexdigest(), streams, kept, getattr(model, "calls", 0)


def check(run, epochs=2, updates=12):
    """The probe looked at everything that there was."""
    found = events(run, "probe")
    seen = [(event.fields["when"], event.fields["epoch"]) for event in found]
    assert len(seen) == len(set(seen))
    for epoch in range(epochs):
        for when in POINTS:
            expected = when != "t1" or epoch > 0  # its batch is the first one that is trained on
            assert ((when, epoch) in seen) == expected, (when, epoch)
    assert [event.fields["updates"] for event in found if event.fields["when"] == "t0"] == [updates, 2 * updates]
    assert all(event.fields["train_eval"] > 0 for event in found)
    assert all(event.fields["heldout_eval"] > 0 for event in found[6:])


@pytest.mark.parametrize("options", [{}, {"half": True}, {"evaluation": False}], ids=["plain", "bfloat16", "no eval()"])
@pytest.mark.parametrize("model", [Mlp, Cnn, Lstm, Transformer, Noisy])
def test_bit_identical(model, options, recorded):
    one = recorded()
    assert same(train(model, **options), train(model, one, **options))
    check(one.run())


def test_bit_identical_with_accumulation_and_workers(recorded):
    for model in (Cnn, Transformer):
        one = recorded()
        options = {"accumulate": 2, "workers": 2 if model is Cnn else 0}
        assert same(train(model, **options), train(model, one, **options))
        check(one.run(), updates=6)


@pytest.mark.parametrize("model", [Stateful, Renormed, Checkpointed, Spectral])
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.spectral_norm`:FutureWarning")
def test_models_that_keep_more_than_weights(model, recorded):
    one = recorded()
    assert same(train(model), train(model, one))
    check(one.run())


def test_a_distributed_model(process_group, recorded):
    one = recorded()
    assert same(train(distributed), train(distributed, one))
    check(one.run())


def graphs(model, one=None, **options):
    """The result of a training, and how many graphs were compiled in it."""
    torch._dynamo.reset()
    made = []

    def backend(graph, examples):
        made.append(graph)
        return graph.forward

    return train(model, one, compiled={"backend": backend, **options}), len(made)


@pytest.mark.parametrize("model", [Cnn, Transformer])
def test_nothing_is_compiled_anew(model, recorded):
    one = recorded()
    assert same(graphs(model), graphs(model, one))
    check(one.run())


class Inside(nn.Module):
    """Compiled in its parts, each in one of the ways there are."""

    def __init__(self):
        super().__init__()
        self.body = torch.compile(nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32)), backend="eager")
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, CLASSES))
        self.head.compile(backend="eager")

    def forward(self, x):
        return self.head(self.body(x))


def test_a_model_with_compiled_parts(recorded):
    from torch._dynamo.utils import counters

    found = []
    for one in (None, recorded()):
        torch._dynamo.reset()
        counters.clear()
        found.append((train(Inside, one), counters["stats"]["unique_graphs"]))
    assert same(*found)
    check(one.run())


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a compiler")
def test_bit_identical_with_the_default_compiler(recorded):
    one = recorded()
    results = []
    for writer in (None, one):
        torch._dynamo.reset()
        results.append(train(Mlp, writer, compiled={}))
    assert same(*results)
    check(one.run())
