import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tb_losslens.record.cadence import DEEP, SPARSE
from tb_losslens.record.cadences import Cadences
from tb_losslens.record.lane import Lane
from tb_losslens.record.lane_rows import LaneRows
from tb_losslens.record.signals import fingerprints
from tests.record.test_loops import Loop
from tests.record.training import events, loader, mlp, two_classes

CLOCKS = {"time", "data_wait"}
SPARED = {"micro_batches", "grads_before_backward"}  # sparse rows of the short way are without them


@pytest.fixture(params=[(0, True), (1, True), (2, True), (3, True), (1, False), (2, False)], ids=str)
def sparse(request, monkeypatch, half):
    """Rows are dense by a fixed pattern that has nothing to do with the clock, never near boundaries only."""
    pattern, compiled = request.param
    half(compiled)
    random = np.random.default_rng(pattern)
    dense = random.random(100_000) < (0.0, 0.05, 0.3, 0.6)[pattern]

    deep = random.random(100_000) < 0.5

    def following(self, index, length):
        row = self.__dict__["row"] = self.__dict__.get("row", -1) + 1
        return SPARSE if not dense[row] else 1 | DEEP if deep[row] else 1

    monkeypatch.setattr(Cadences, "next", following)
    monkeypatch.setattr(fingerprints, "MOST_LEFT_OUT", 0)  # which passes are left out depends on the clock


def same(one, other):
    assert len(one) == len(other)
    assert set(one.columns) == set(other.columns)
    for name, values in one.columns.items():
        if name in CLOCKS:
            continue
        known = (np.isfinite(values) | np.isin(one.float("dense"), (1, 2))) if name in SPARED else slice(None)
        np.testing.assert_array_equal(values[known], other.columns[name][known], err_msg=name)
    for name in set(one.ragged) | set(other.ragged):
        mine, theirs = one.ragged[name], other.ragged[name]
        np.testing.assert_array_equal(mine.offsets, theirs.offsets, err_msg=name)
        np.testing.assert_array_equal(mine.values, theirs.values, err_msg=name)
    kinds = [[(e.kind, e.batch, e.step, e.text) for e in run.events] for run in (one, other)]
    assert kinds[0] == kinds[1]
    for kind in ("epoch_begin", "epoch_end", "validation_end"):
        for mine, theirs in zip(events(one, kind), events(other, kind), strict=True):
            assert mine.fields.keys() == theirs.fields.keys()
            for name in mine.fields:
                assert mine.fields[name] == theirs.fields[name], name


class Counted:
    """Counts the rows that went the short way."""

    def __init__(self, monkeypatch):
        self.rows = 0
        kept = LaneRows._tell

        def counted(rows, losses, steps, ids):
            kept(rows, losses, steps, ids)
            self.rows += len(losses)

        monkeypatch.setattr(LaneRows, "_tell", counted)


@pytest.fixture(scope="module")
def long_runs():
    """What the long way has recorded, by test, parameters and pattern."""
    return {}


@pytest.fixture
def both(request, sparse, monkeypatch, long_runs):
    """Gives the run of `make()` with and without the short way, and the rows that went it.

    The one without is made once for a pattern: each half of the short way has to record what the long way does.
    """

    def record(make):
        params = dict(request.node.callspec.params)
        pattern, _ = params.pop("sparse")
        key = request.node.originalname, pattern, repr(sorted(params.items()))
        counted = Counted(monkeypatch)
        state = torch.get_rng_state()
        short = make()
        if key not in long_runs:
            torch.set_rng_state(state)
            with monkeypatch.context() as patch:
                patch.setattr(Lane, "begins", lambda lane, *_: False)
                long_runs[key] = make()
        return short, long_runs[key], counted.rows

    return record


def plain(one, *, epochs=4, scalar=None, validate=False, stop=None, odd=None, accumulate=1, groups=1):
    torch.manual_seed(1)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    parameters = [{"params": [p], "lr": 0.1 / (i + 1)} for i, p in enumerate(model.parameters())]
    optimizer = torch.optim.SGD(parameters if groups > 1 else model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    one.writer.watch(model, optimizer, criterion=criterion)
    train, held_out = one.writer.wrap(loader(two_classes(400), shuffle=True)), loader(two_classes(40, seed=1))
    step = 0
    for epoch in range(epochs):
        for i, (inputs, targets) in enumerate(train):
            if odd is not None and (epoch, i) == (2, 7):
                odd(one.writer, model, criterion, inputs, targets)
            loss = criterion(model(inputs), targets)
            if scalar == "before":
                one.writer.add_scalar("Loss/train", loss.item(), 3 * step)
            loss.backward()
            if (i + 1) % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
            if scalar == "after":
                one.writer.add_scalar("Loss/train", loss.item(), step + 5)
            one.writer.add_scalar("accuracy", 0.5, step)
            step += 1
            if stop == i:
                break
        schedule.step()
        if validate:
            model.eval()
            with torch.no_grad():
                total = sum(criterion(model(x), y).item() for x, y in held_out)
            model.train()
            one.writer.add_scalar("Loss/val", total, epoch)
    return one.run()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"scalar": "after"},
        {"scalar": "before"},
        {"validate": True},
        {"stop": 11},
        {"accumulate": 2},
        {"accumulate": 5},
        {"groups": 4},
        {"scalar": "after", "validate": True, "stop": 13},
    ],
    ids=str,
)
def test_the_short_way_records_what_the_long_way_records(how, recorded, both):
    short, long, taken = both(lambda: plain(recorded(), **how))
    same(short, long)
    if "accumulate" not in how and (short.float("dense") == 0).all():
        assert taken > 0.7 * len(short)


def forward_twice(writer, model, criterion, inputs, targets):
    model(inputs)


def look_without_gradients(writer, model, criterion, inputs, targets):
    with torch.no_grad():
        model(inputs)


def loss_twice(writer, model, criterion, inputs, targets):
    criterion(model(inputs), targets).backward()


def note(writer, model, criterion, inputs, targets):
    writer.note("something happened")


def log(writer, model, criterion, inputs, targets):
    writer.log_batch(0.5, answer=42)


def validate(writer, model, criterion, inputs, targets):
    writer.log_validation(1.25)


def flush(writer, model, criterion, inputs, targets):
    writer.flush()


def spoil(writer, model, criterion, inputs, targets):
    inputs *= 1000


def config(writer, model, criterion, inputs, targets):
    writer.watch(config={"epochs": 4})


def load(writer, model, criterion, inputs, targets):
    model.load_state_dict(model.state_dict())


def evaluate(writer, model, criterion, inputs, targets):
    model.eval()


@pytest.mark.parametrize(
    "odd",
    [forward_twice, look_without_gradients, loss_twice, note, log, validate, flush, spoil, config, load, evaluate],
    ids=lambda odd: odd.__name__,
)
@pytest.mark.parametrize("scalar", [None, "after"])
def test_something_unusual_on_the_way(odd, scalar, recorded, both):
    short, long, _ = both(lambda: plain(recorded(), odd=odd, scalar=scalar))
    same(short, long)


def test_a_step_that_is_interrupted_by_a_call_has_the_rates_of_then(recorded, both):
    def make():
        def note_in_the_next_step(writer, model, criterion, inputs, targets):
            def begins(optimizer, args, kwargs):
                if not called:
                    called.append(True)
                    writer.note("in the middle of a step")

            handles.append(register_optimizer_step_pre_hook(begins))
            (optimizer,) = writer._watch.updates.optimizers
            optimizer.param_groups[0]["lr"] = 0.07

        handles, called = [], []
        run = plain(recorded(), odd=note_in_the_next_step)
        handles[0].remove()
        return run

    short, long, _ = both(make)
    same(short, long)
    per_epoch = len(short) // 4
    assert np.flatnonzero(short.columns["lr"] == 0.07)[0] == 2 * per_epoch + 7


@pytest.mark.parametrize("seed", range(12))
def test_loops_of_all_kinds(seed, recorded, both):
    def make():
        torch.manual_seed(seed)
        return Loop(recorded(), seed).run()

    short, long, _ = both(make)
    same(short, long)
