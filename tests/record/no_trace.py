"""A training in which everything that could show a trace of the recorder is kept."""
# ruff: noqa: NPY002 - trainings draw from the global generators, and so do these

import copy
import hashlib
import random
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

CLASSES = 4
BATCH = 8


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout2d(0.2),
            nn.Conv2d(8, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(8 * 16, CLASSES))

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 12)
        self.rnn = nn.LSTM(12, 16, num_layers=2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.head(self.rnn(self.embed(x.flatten(1).reshape(-1, 8, 8)))[0][:, -1])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.2), 1)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.head(self.body(self.embed(x.squeeze(1))).mean(1))


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, CLASSES))


MODELS = {"mlp": mlp, "cnn": Cnn, "lstm": Lstm, "transformer": Transformer}
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


class Augmented(Dataset):
    """Images, each of them changed by a number of every global generator when it is asked for."""

    def __init__(self, samples):
        self.inputs, self.targets = torch.randn(samples, 1, 8, 8), torch.randint(0, CLASSES, (samples,))

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        noise = torch.randn(1, 8, 8) * np.random.rand() * random.random()
        return self.inputs[index] + 0.1 * noise, self.targets[index]


class Streams:
    """A digest of the three global generators, and of whatever else is added, moment by moment."""

    def __init__(self):
        self._digest = hashlib.sha256()
        self.moments = []

    def add(self, *tensors):
        """Adds tensors and the generators' states as they are now; a moment is the digest of all that came so far."""
        for tensor in tensors:
            self._digest.update(tensor.detach().numpy().tobytes() if tensor is not None else b"none")
        self._digest.update(torch.get_rng_state().numpy().tobytes())
        self._digest.update(str(random.getstate()).encode())
        self._digest.update(str(np.random.get_state(legacy=False)).encode() + np.random.get_state()[1].tobytes())
        self.moments.append(self._digest.hexdigest()[:16])


def train(
    one=None,
    *,
    model,
    optimizer,
    precision="float32",
    workers="none",
    log="criterion",
    accumulate=1,
    compiled=None,
    sampler="shuffle",
    watched="inner",
    criterion_watched=True,
    probe=False,
    epochs=3,
    samples=128,
):
    """Trains, recorded by `one` or not; gives everything that a trace would show in.

    Args:
        one: a `Recorded`, or None for the training without LossLens.
        model: a name of `MODELS`.
        optimizer: a name of `OPTIMIZERS`.
        precision: "float32", "bfloat16", or "scaled" for bfloat16 with a `GradScaler`.
        workers: "none", "two" (started in each epoch) or "persistent".
        log: who says what the loss is: "criterion", "scalar" (besides the criterion) or "log_batch".
        accumulate: batches per step.
        compiled: arguments of `torch.compile`, None if it is not called.
        watched: which is watched of a compiled model: the "inner" one, or the "outer" that `torch.compile` gave.
        criterion_watched: the recorder is told of the criterion; else it sees the loss in the log only.
        sampler: "shuffle" or "distributed".
        probe: the probe is on.
        epochs: passes over the training data.
        samples: of the training data; a `DistributedSampler` for the first of two processes takes half of twice as many.
    """
    torch.manual_seed(5), random.seed(6), np.random.seed(7)
    data = Augmented(samples * (2 if sampler == "distributed" else 1))
    net, criterion = MODELS[model](), nn.CrossEntropyLoss()
    called = net if compiled is None else torch.compile(net, **compiled)
    stepper = OPTIMIZERS[optimizer](net.parameters())
    schedule = torch.optim.lr_scheduler.StepLR(stepper, 1, 0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=7, enabled=precision == "scaled")
    order = {"sampler": DistributedSampler(data, 2, 0)} if sampler == "distributed" else {"shuffle": True}
    processes = {"num_workers": 0 if workers == "none" else 2, "persistent_workers": workers == "persistent"}
    loader, held_out = DataLoader(data, BATCH, **order, **processes), DataLoader(Augmented(40), 20)
    writer = one.writer if one is not None else None
    if writer is not None:
        more = {"scaler": scaler} if precision == "scaled" else {}
        if criterion_watched:
            more["criterion"] = criterion
        writer.watch(called if watched == "outer" else net, stepper, scheduler=schedule, config={"lr": 0.05}, **more)
        if probe:
            writer.set_probe()
            writer._watch.probe.budget.share = 100.0  # these take milliseconds, and every point is wanted
        loader, held_out = writer.wrap(loader), writer.wrap(held_out, split="val")
    streams, kept, step = Streams(), [], 0

    def forward(inputs, targets):
        with nullcontext() if precision == "float32" else torch.autocast("cpu", dtype=torch.bfloat16):
            return criterion(called(inputs), targets)

    for epoch in range(epochs):
        called.train()
        if sampler == "distributed":
            loader.sampler.set_epoch(epoch)
        for inputs, targets in loader:
            streams.add(inputs, targets)
            loss = forward(inputs, targets)
            scaler.scale(loss / accumulate).backward()
            step += 1
            if step % accumulate == 0:
                scaler.unscale_(stepper)
                nn.utils.clip_grad_norm_(net.parameters(), 0.5)
                scaler.step(stepper)
                scaler.update()
                streams.add(*(p.grad for p in net.parameters()), *net.state_dict().values())
                stepper.zero_grad()
            kept.append(loss.item())
            if writer is not None and log == "scalar":
                writer.add_scalar("Loss/train", loss.item(), step)
            elif writer is not None and log == "log_batch":
                writer.log_batch(loss, targets=targets, answer=42.0)
        schedule.step()
        called.eval()
        with torch.no_grad():
            kept.append(sum(forward(inputs, targets).item() for inputs, targets in held_out))
        if writer is not None:
            writer.add_scalar("Loss/val", kept[-1], epoch)
        streams.add()
        kept.append([module.training for module in net.modules()])
    things = {"model": net, "optimizer": stepper, "schedule": schedule, "scaler": scaler}
    state = copy.deepcopy({name: thing.state_dict() for name, thing in things.items()})
    return {"state": state, "streams": streams.moments, "kept": kept, "gradients": [p.grad for p in net.parameters()]}


def same(left, right):
    """True if both are equal to the bit; tensors of another dtype or shape are not."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right
