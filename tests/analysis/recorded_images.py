"""Real little trainings that the writer itself records, read back from disk: what the causes see of a user's run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from tb_losslens import LossLensWriter, Run, load_runs
from tb_losslens.store.run import Ragged

Change = Callable[[Tensor, int], Tensor]
"""(inputs, epoch) -> inputs."""


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Eight classes of 1 x 8 x 8 images; `change(image, epoch)` is the preprocessing of the data set, image by image."""

    def __init__(self, samples: int, *, seed: int = 0, change: Change | None = None) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.y = torch.arange(samples) % 8
        centres = 0.7 * torch.randn(8, 1, 8, 8, generator=draw) + 0.5 * torch.linspace(-1, 1, 8)
        self.x = centres[self.y] + torch.randn(samples, 1, 8, 8, generator=draw)
        self.change, self.epoch = change, 0

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        x = self.x[k]
        return (self.change(x, self.epoch) if self.change else x), self.y[k]


def network(name: str) -> nn.Module:
    """A perceptron ("mlp") or a small convolution ("cnn")."""
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 8))


def record(
    directory: Path | str,
    *,
    model: str = "mlp",
    samples: int = 800,
    batch_size: int = 16,
    epochs: int = 8,
    lr: float | Callable[[int], float] = 0.02,
    optimizer: str = "sgd",
    seed: int = 0,
    in_data: Change | None = None,
    on_device: Change | None = None,
    ranks: int = 1,
    noted: int | None = None,
) -> Run:
    """Trains and reads the recording.

    Args:
        lr: of each step, or one for all.
        in_data: what the data set does to an image in each epoch; fingerprints see it.
        on_device: what is done to a batch after the loader.
        ranks: of a training on so many processes, only the first is run, with its part of the samples.
        noted: epoch before which a `config_change` is noted.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    data = Samples(samples, seed=seed, change=in_data)
    net = network(model)
    made: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    at = lr if callable(lr) else lambda step: lr
    opt = made[optimizer](net.parameters(), lr=at(0))
    criterion = nn.CrossEntropyLoss()
    sampler = DistributedSampler(data, ranks, 0, seed=seed) if ranks > 1 else None
    step = 0
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, opt, criterion=criterion)
        loader = writer.wrap(DataLoader(data, batch_size=batch_size, shuffle=sampler is None, sampler=sampler))
        for epoch in range(epochs):
            data.epoch = epoch
            if sampler is not None:
                sampler.set_epoch(epoch)
            if noted == epoch:
                writer.note("other inputs", kind="config_change")
            for x, y in loader:
                opt.param_groups[0]["lr"] = at(step)
                given = on_device(x, epoch) if on_device else x
                opt.zero_grad()
                loss = criterion(net(given), y)
                loss.backward()
                opt.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
    (run,) = load_runs(str(directory)).values()
    return run


def thinned(run: Run, every: int) -> Run:
    """The run as if what is read off the inputs had been read of each `every`-th batch only."""
    keep = np.arange(len(run)) % every == 0
    names = [name for name in run.columns if name.startswith(("input_", "sample_level"))]
    columns = {**run.columns, **{name: np.where(keep, run.float(name), np.nan) for name in names}}
    sketch = run.ragged["input_sketch"]
    lists = [sketch[k] if keep[k] else [] for k in range(len(run))]
    return replace(run, columns=columns, ragged={**run.ragged, "input_sketch": Ragged.from_lists(lists)})
