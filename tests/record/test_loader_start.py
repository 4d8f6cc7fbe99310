"""A wrapped loader asks its sampler, its data set and the random generators for the same things at the same moments."""
# ruff: noqa: NPY002 - the states of the global generators are what is compared

import hashlib
import os
import random

import numpy as np
import pytest
import torch
from torch.multiprocessing import active_children
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.distributed import DistributedSampler

from tb_losslens.record import cadence
from tests.record.training import events

SAMPLES, BATCH, EPOCHS = 48, 4, 3


def streams():
    """A digest of the states of the three global generators."""
    legacy = np.random.get_state()
    parts = [
        torch.get_rng_state().numpy().tobytes(),
        str(random.getstate()).encode(),
        legacy[1].tobytes(),
        str(legacy[2:]).encode(),
    ]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]


class Diary:
    """What happened, in order, one file for each process: the main one, and each start of each worker."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.main = folder, os.getpid()

    def write(self, *what):
        info = get_worker_info()
        # a worker has a seed of its own in each epoch in which it is started
        name = "main" if info is None else f"{info.id}-{info.seed}"
        assert (os.getpid() == self.main) == (info is None)
        with (self.folder / name).open("a") as file:
            print(*what, streams(), file=file)

    def read(self):
        return {path.name: path.read_text().splitlines() for path in self.folder.iterdir()}


class Told(Dataset):
    """Draws from every generator for each sample, and writes down that it was asked."""

    def __init__(self, diary):
        self.diary = diary

    def __len__(self):
        self.diary.write("length")
        return SAMPLES

    def __getitem__(self, index):
        self.diary.write("sample", index)
        noise = torch.rand(3) + np.random.rand() + random.random()
        return noise, index % 3


class Asked(torch.utils.data.Sampler):
    """Another sampler, and when it was asked."""

    def __init__(self, sampler, diary):
        self.sampler, self.diary = sampler, diary

    def __iter__(self):
        self.diary.write("order begins")
        for index in self.sampler:
            self.diary.write("index", index)
            yield index
        self.diary.write("order ends")

    def __len__(self):
        self.diary.write("length of the order")
        return len(self.sampler)


KINDS = {
    "in the process": {},
    "two workers": {"num_workers": 2},
    "far ahead": {"num_workers": 2, "prefetch_factor": 3},
    "persistent workers": {"num_workers": 2, "persistent_workers": True},
}
ORDERS = {
    "random": torch.utils.data.RandomSampler,
    "distributed": lambda data: DistributedSampler(data, 2, 1),
}


def loop(folder, kind, order, one=None, stop=None):
    """What the loader did, and what came of it."""
    torch.manual_seed(1), random.seed(2), np.random.seed(3)
    diary = Diary(folder)
    data = Told(diary)
    sampler = Asked(ORDERS[order](data), diary)

    def starts(worker):
        diary.write("worker starts", worker, torch.initial_seed())

    def collate(samples):
        diary.write("collates", len(samples))
        return torch.utils.data.default_collate(samples)

    loader = DataLoader(data, BATCH, sampler=sampler, worker_init_fn=starts, collate_fn=collate, **KINDS[kind])
    model = torch.nn.Linear(3, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    criterion = torch.nn.CrossEntropyLoss()
    children = len(active_children())
    if one is not None:
        one.writer.watch(model, optimizer, criterion=criterion)
        diary.write("wrap")
        loader = one.writer.wrap(loader)
        diary.write("wrapped")
    batches = []
    for epoch in range(EPOCHS):
        if order == "distributed":
            loader.sampler.sampler.set_epoch(epoch)
        diary.write("epoch", epoch)
        iterator = iter(loader)
        diary.write("iterator is there, with workers:", len(active_children()) - children)
        for position in range(SAMPLES if stop is None else stop):
            batch = next(iterator, None)
            diary.write("batch", position, "with workers:", len(active_children()) - children)
            if batch is None:
                break
            batches.append([part.tolist() for part in batch])
            optimizer.zero_grad()
            criterion(model(batch[0]), batch[1]).backward()
            optimizer.step()
        del iterator
        diary.write("iterator is gone, with workers:", len(active_children()) - children)
    if one is not None:
        run = one.run()
        assert len(run) == len(batches)
        assert len(events(run, "epoch_begin")) == EPOCHS
        assert run.has("sample_ids")
    return diary.read(), batches, [p.tolist() for p in model.parameters()], streams()


def without_wrap(result):
    """The same without the two lines about the wrapping, which changed no generator and asked for nothing."""
    diary, *rest = result
    lines = diary["main"]
    at = next(i for i, line in enumerate(lines) if line.startswith("wrap "))
    assert lines[at + 1].split() == ["wrapped", lines[at].split()[1]]
    return {**diary, "main": lines[:at] + lines[at + 2 :]}, *rest


def without_lengths(result):
    """The same without the questions how long the data set or its order is; and how many there were, by process."""
    diary, *rest = result
    kept = {name: [line for line in lines if not line.startswith("length")] for name, lines in diary.items()}
    return (kept, *rest), {name: len(lines) - len(kept[name]) for name, lines in diary.items()}


def as_far_as_both(diary, other):
    """The lines of each worker up to where it was ended in one of the two, and all of the main process."""
    ends = {name: min(len(lines), len(other.get(name, ()))) - 1 for name, lines in diary.items()}
    return ({name: lines if name == "main" else lines[: ends[name]] for name, lines in diary.items()},)


@pytest.mark.parametrize("stop", [None, 3], ids=["to the end", "left early"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_same_calls_and_draws_in_the_same_order(kind, order, stop, recorded, tmp_path, monkeypatch):
    if order == "distributed":
        monkeypatch.setattr(cadence, "GRANT", 0.001)
        monkeypatch.setattr(cadence, "DEEP_GRANT", 0.001)
    plain, asked = without_lengths(loop(tmp_path / "plain", kind, order, stop=stop))
    ours, asked_by_all = without_lengths(without_wrap(loop(tmp_path / "ours", kind, order, recorded(), stop)))
    if stop is not None:
        # how far ahead a worker was when it was ended is chance
        ours, plain = (as_far_as_both(one[0], other[0]) + one[1:] for one, other in ((ours, plain), (plain, ours)))
        asked, asked_by_all = ({"main": told["main"]} for told in (asked, asked_by_all))
    assert ours == plain
    # its length is a fact of each pass, and the one question that is ours
    assert asked_by_all == {**asked, "main": asked["main"] + EPOCHS}
    starts = KINDS[kind].get("num_workers", 0) * (1 if KINDS[kind].get("persistent_workers") else EPOCHS)
    assert len(plain[0]) == 1 + starts
