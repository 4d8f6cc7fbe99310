"""A training with everything that a writer offers, and what it ends with."""

import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader

from tb_losslens.record.writer import LossLensWriter
from tests.record.training import two_classes


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
