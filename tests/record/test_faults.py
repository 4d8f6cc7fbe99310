"""Whatever goes wrong in LossLens or in front of it: the training ends with the weights that it has without LossLens."""

import copy
import io
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs
from tests.record.training import mlp, two_classes


def train(writer=None, *, model=None, optimizer=None, prepare=None, batches=None, epochs=2):
    """Weights after a training with BatchNorm, a scheduler, validation and everything that a writer offers."""
    torch.manual_seed(0)
    model = model() if model is not None else nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = (optimizer or (lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9)))(model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    criterion = nn.CrossEntropyLoss()
    loader, held_out = DataLoader(two_classes(), 20, shuffle=True), DataLoader(two_classes(seed=1), 40)
    if writer is not None:
        writer.watch(model, optimizer, scheduler=scheduler, criterion=criterion)
        writer.set_probe()
        loader, held_out = writer.wrap(loader), writer.wrap(held_out, split="val")
    if prepare is not None:
        prepare(model)
    step = 0
    for _ in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            if writer is not None:
                writer.add_scalar("Loss/train", loss.item(), step)
                writer.log_batch(loss, step=step, inputs=inputs, targets=targets)
            step += 1
        model.eval()
        with torch.no_grad():
            for inputs, targets in held_out:
                criterion(model(inputs), targets)
        model.train()
        scheduler.step()
        if writer is not None:
            writer.flush()
    if writer is not None:
        writer.close()
    return [*model.state_dict().values(), *_numbers(optimizer.state_dict()["state"]), torch.random.get_rng_state()]


def _numbers(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for item in value.values() for tensor in _numbers(item)] if isinstance(value, dict) else []


def dense(tensor):
    return tensor.to_dense() if tensor.is_sparse else tensor


def same(ours, theirs):
    return len(ours) == len(theirs) and all(torch.equal(dense(a), dense(b)) for a, b in zip(ours, theirs, strict=True))


def watched(tmp_path, **kwargs):
    """Weights with a writer, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weights = train(LossLensWriter(str(tmp_path / "run")), **kwargs)
    return weights, [str(one.message) for one in caught if "LossLens" in str(one.message)]


# --- each call into LossLens that the guard runs --------------------------------------------------------------------


def names(tmp_path):
    """Every name under which something runs in this training, in the order in which it comes up."""
    writer = LossLensWriter(str(tmp_path / "names"))
    found, call = {}, writer._guard.call

    def note(collector, function, *args):
        found[collector] = True
        return call(collector, function, *args)

    writer._guard.call = note
    train(writer)
    return list(found)


@pytest.mark.parametrize(
    "error", [MemoryError("no memory left"), RuntimeError("CUDA error: out of memory"), OSError(28, "No space left on device")]
)
def test_each_part_that_fails_is_one_warning_with_its_name_and_cause(error, tmp_path, monkeypatch):
    plain = train()
    known = names(tmp_path)
    assert len(known) > 15
    for number, name in enumerate(known):
        writer = LossLensWriter(str(tmp_path / str(number)))
        call = writer._guard.call

        def fails(collector, function, *args, name=name, call=call):
            def broken(*_):
                raise error

            return call(collector, broken if collector == name else function, *args)

        monkeypatch.setattr(writer._guard, "call", fails)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            weights = train(writer)
        said = [
            str(one.message) for one in caught if "LossLens" in str(one.message) and type(error).__name__ in str(one.message)
        ]
        assert same(weights, plain), name
        assert len(said) == 1, (name, said)
        assert name in said[0]
        assert str(error) in said[0]


class OutOfMemory:
    """Raises MemoryError in the call of one of the package's functions with number `at`, inside a collector."""

    def __init__(self, guard, at=-1):
        self.guard, self.at = guard, at
        self.places = []

    def __call__(self, frame, event, arg):
        name = frame.f_globals.get("__name__", "")
        if name.startswith("tb_losslens.") and name != "tb_losslens.record.guard" and self.guard.busy:
            self.places.append(f"{name}.{frame.f_code.co_name}")
            if len(self.places) == self.at:
                raise MemoryError


def traced(logdir, at=-1):
    """Weights, where memory ran out, and every place where it could have."""
    writer = LossLensWriter(str(logdir))
    tracer = OutOfMemory(writer._guard, at)
    sys.settrace(tracer)
    try:
        return train(writer), tracer.places
    finally:
        sys.settrace(None)


def test_out_of_memory_anywhere_in_a_collector(tmp_path):
    plain = train()
    _, places = traced(tmp_path / "count")
    known = list(dict.fromkeys(places))
    assert len(known) > 200
    random = np.random.default_rng(0)
    for name in random.choice(known, 60, replace=False):
        at = random.choice([number for number, place in enumerate(places, 1) if place == name])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            weights, _ = traced(tmp_path / str(at), int(at))
        said = [str(one.message) for one in caught if "MemoryError" in str(one.message)]
        assert same(weights, plain), name
        assert len(said) <= 1, (name, said)


# --- models and gradients that are not the usual ones ----------------------------------------------------------------


class Sparse(nn.Module):
    """Its embedding has sparse gradients."""

    def __init__(self):
        super().__init__()
        self.embed = nn.EmbeddingBag(64, 4, mode="sum", sparse=True)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(self.embed((inputs.abs() * 10).long().clamp(max=63)))


class Complex(nn.Module):
    """Its weights are complex numbers."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8, dtype=torch.complex64)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs):
        return self.head(self.inner(inputs.to(torch.complex64)).abs())


class Unused(nn.Module):
    """One layer never gets a gradient, another is frozen."""

    def __init__(self):
        super().__init__()
        self.unused, self.frozen, self.used = nn.Linear(3, 3), nn.Linear(8, 8).requires_grad_(False), mlp()

    def forward(self, inputs):
        return self.used(self.frozen(inputs))


class Empty(nn.Module):
    """One parameter has no elements, another is a number."""

    def __init__(self):
        super().__init__()
        self.none, self.scale, self.used = nn.Parameter(torch.empty(0)), nn.Parameter(torch.tensor(1.0)), mlp()

    def forward(self, inputs):
        return self.used(inputs) * self.scale + self.none.sum()


class PartlyMeta(nn.Module):
    """One layer is on the meta device, and not used."""

    def __init__(self):
        super().__init__()
        self.later, self.used = nn.Linear(8, 8, device="meta"), mlp()

    def forward(self, inputs):
        return self.used(inputs)


class Half(nn.Module):
    """Trains in bfloat16."""

    def __init__(self):
        super().__init__()
        self.used = mlp().bfloat16()

    def forward(self, inputs):
        return self.used(inputs.bfloat16()).float()


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        (Sparse, None),
        (Sparse, lambda ps: torch.optim.Adagrad(ps, lr=0.1)),
        (Complex, None),
        (Complex, lambda ps: torch.optim.AdamW(ps, lr=0.01)),
        (Unused, None),
        (Empty, lambda ps: torch.optim.Adam(ps, lr=0.01)),
        (PartlyMeta, None),
        (Half, None),
        (mlp, lambda ps: torch.optim.RMSprop(ps, lr=0.01, centered=True)),
    ],
)
def test_models_of_every_kind(model, optimizer, tmp_path):
    plain = train(model=model, optimizer=optimizer)
    weights, said = watched(tmp_path, model=model, optimizer=optimizer)
    on_cpu = [[w for w in ws if w.device.type != "meta"] for ws in (weights, plain)]
    assert same(*on_cpu)
    assert said == (
        ["LossLens: the probe is off: the model is on the meta device and has no numbers"] if model is PartlyMeta else []
    )
    run = load_runs(tmp_path)["run"]
    assert len(run) == 12
    assert np.isfinite(run.loss).all()
    assert np.isfinite(run.float("grad_norm")).all()


def test_a_whole_model_on_the_meta_device(tmp_path):
    with warnings.catch_warnings(), LossLensWriter(str(tmp_path / "run")) as writer:
        warnings.simplefilter("error")
        model, criterion = nn.Linear(8, 2, device="meta"), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        writer.watch(model, optimizer, criterion=criterion)
        for _ in range(3):
            optimizer.zero_grad()
            criterion(model(torch.empty(4, 8, device="meta")), torch.empty(4, 2, device="meta")).backward()
            optimizer.step()
    assert len(load_runs(tmp_path)["run"]) == 3


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


def test_copies_and_pickles_of_what_is_watched(tmp_path):
    """They are what they would be of a training that nobody watches, and training one of them is not recorded."""

    def prepare(model):
        twin = copy.deepcopy(model)
        loaded = pickle.loads(pickle.dumps(model))
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        for other in (twin, loaded, torch.load(buffer, weights_only=False)):
            assert same(list(other.state_dict().values()), list(model.state_dict().values()))
            other(torch.zeros(4, 8)).sum().backward()

    plain = train(prepare=prepare)
    weights, said = watched(tmp_path, prepare=prepare)
    assert same(weights, plain)
    assert said == []
    assert len(load_runs(tmp_path)["run"]) == 12


def test_a_copied_optimizer_and_loader(tmp_path):
    with LossLensWriter(str(tmp_path / "run")) as writer:
        loader = writer.wrap(DataLoader(two_classes(), 20))
        for other in (copy.deepcopy(loader), copy.copy(loader), pickle.loads(pickle.dumps(loader))):
            assert type(other) is DataLoader
            assert len(list(other)) == 6
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        writer.watch(model, optimizer)
        optimizer.zero_grad()
        model(torch.zeros(4, 8)).sum().backward()
        for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            other.step()
        optimizer.step()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no directory here that nobody may write to")
def test_a_directory_that_nobody_may_write_to(tmp_path):
    plain = train()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weights = train(LossLensWriter("/proc/self/runs/x"))
    assert same(weights, plain)
    (said,) = [str(one.message) for one in caught if "LossLens" in str(one.message)]
    assert "/proc/self/runs/x" in said
    assert "the training goes on without a record" in said
