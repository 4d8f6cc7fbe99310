"""Small real trainings for the tests of the recorder."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs

torch.set_num_threads(1)


class Indexed(Dataset):
    """Gives its own index back, so that a batch says which samples it is made of."""

    def __init__(self, samples=40, features=3):
        self.samples, self.features = samples, features

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(int(index))
        return torch.randn(self.features, generator=generator), int(index) % 3, int(index)


def two_classes(samples=120, features=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, features, generator=generator)
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


def mlp(features=8, classes=2):
    return nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, classes))


def loader(dataset, batch_size=20, **kwargs):
    return DataLoader(dataset, batch_size, **kwargs)


class Recorded:
    """A writer in a fresh directory; `run()` closes it and reads it back."""

    def __init__(self, logdir, **kwargs):
        self.logdir = logdir
        self.writer = LossLensWriter(str(logdir / "run"), **kwargs)

    def run(self):
        self.writer.close()
        assert self.writer._guard.disabled == {}, self.writer._guard.disabled
        runs = load_runs(self.logdir)
        assert list(runs) == ["run"]
        assert runs["run"].problems == ()
        return runs["run"]


def events(run, kind):
    return [event for event in run.events if event.kind == kind]
