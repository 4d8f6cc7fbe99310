"""A wrapped loader gives what its unwrapped twin gives, and the ids are those that the samples say themselves."""

import copy
import pickle
import time
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from tests.record.training import Indexed, events

Pair = namedtuple("Pair", "inputs ids")


class Lengths(torch.utils.data.Sampler):
    """A batch sampler of one's own: batches of different sizes, drawn from the global generator."""

    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        order = torch.randperm(self.samples).tolist()
        while order:
            size = int(torch.randint(1, 6, ()))
            yield order[:size]
            order = order[size:]

    def __len__(self):
        torch.rand(())  # a length that draws: asking for it would change the training
        return self.samples // 3


class Tensors(torch.utils.data.Sampler):
    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        return iter(torch.randperm(self.samples))

    def __len__(self):
        return self.samples


class Doubled(DataLoader):
    """A loader whose own `__iter__` is a generator over torch's."""

    def __iter__(self):
        for batch in super().__iter__():
            yield [part * 1 for part in batch]


def as_dict(samples):
    return {
        "x": torch.stack([s[0] for s in samples]),
        "labels": torch.tensor([s[1] for s in samples]),
        "ids": [s[2] for s in samples],
    }


def as_pair(samples):
    return Pair(torch.stack([s[0] for s in samples]), torch.tensor([s[2] for s in samples]))


KINDS = {
    "sequential": lambda: DataLoader(Indexed(), 7),
    "shuffled": lambda: DataLoader(Indexed(), 7, shuffle=True, drop_last=True),
    "generator": lambda: DataLoader(Indexed(), 7, shuffle=True, generator=torch.Generator().manual_seed(3)),
    "weighted": lambda: DataLoader(Indexed(), 7, sampler=WeightedRandomSampler(torch.arange(1.0, 41.0), 30)),
    "batch_sampler": lambda: DataLoader(Indexed(), batch_sampler=BatchSampler(RandomSampler(Indexed()), 6, drop_last=False)),
    "own_batch_sampler": lambda: DataLoader(Indexed(), batch_sampler=Lengths(40)),
    "tensor_sampler": lambda: DataLoader(Indexed(), 7, sampler=Tensors(40)),
    "subset": lambda: DataLoader(Subset(Indexed(), list(range(10, 30))), 7, shuffle=True),
    "distributed": lambda: DataLoader(Indexed(), 7, sampler=DistributedSampler(Indexed(), 2, 1, shuffle=True)),
    "one_by_one": lambda: DataLoader(Indexed(), batch_size=None, shuffle=True),
    "dict": lambda: DataLoader(Indexed(), 7, shuffle=True, collate_fn=as_dict),
    "namedtuple": lambda: DataLoader(Indexed(), 7, shuffle=True, collate_fn=as_pair),
    "subclass": lambda: Doubled(Indexed(), 7, shuffle=True),
    "workers": lambda: DataLoader(Indexed(), 7, shuffle=True, num_workers=2),
    "persistent": lambda: DataLoader(Indexed(), 7, shuffle=True, num_workers=2, persistent_workers=True, prefetch_factor=4),
}


def ids_of(batch):
    found = batch["ids"] if isinstance(batch, dict) else batch[-1]
    return np.atleast_1d(np.asarray(found)).tolist()


def drain(loader, passes, each=lambda batch: None):
    torch.manual_seed(1)
    seen = []
    for _ in range(passes):
        for batch in loader:
            seen.append((ids_of(batch), torch.rand(()).item()))
            each(batch)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_same_batches_same_random_numbers_and_the_ids_of_the_samples(kind, recorded):
    plain = drain(KINDS[kind](), 2)
    one = recorded()
    wrapped = one.writer.wrap(KINDS[kind]())
    assert drain(wrapped, 2, lambda batch: one.writer.log_batch(0.5)) == plain
    run = one.run()
    base = 10 if kind == "subset" else 0
    assert [(run.ragged["sample_ids"][row] + base).tolist() for row in range(len(run))] == [ids for ids, _ in plain]
    assert run.columns["batch_size"].tolist() == [len(ids) for ids, _ in plain] or kind == "one_by_one"
    assert [epoch.epoch for epoch in run.epochs] == [0, 1]
    assert sum(len(epoch) for epoch in run.epochs) == len(run) == len(plain)
    for epoch in run.epochs:
        assert epoch.fields["complete"] is True
        assert epoch.fields["order_hash"] is not None


def test_hashes_tell_same_set_from_same_order(recorded):
    one = recorded()
    fixed = one.writer.wrap(DataLoader(Indexed(), 8))
    mixed = one.writer.wrap(DataLoader(Indexed(), 8, shuffle=True))
    for loader in (fixed, fixed, mixed, mixed):
        for _ in loader:
            one.writer.log_batch(1.0)
    ends = [event.fields for event in events(one.run(), "epoch_end")]
    assert len({end["set_hash"] for end in ends}) == 1
    assert ends[0]["order_hash"] == ends[1]["order_hash"]
    assert len({end["order_hash"] for end in ends}) == 3
    assert ends[0]["first_ids"] == list(range(16))
    assert ends[0]["last_ids"] == list(range(24, 40))


def test_facts_of_the_loader(recorded):
    one = recorded()
    for _ in one.writer.wrap(DataLoader(Indexed(), 16, shuffle=True, drop_last=True, generator=torch.Generator())):
        one.writer.log_batch(1.0)
    run = one.run()
    facts = run.epochs[0].fields["loader"]
    expected = {"class": "DataLoader", "batch_size": 16, "shuffle": True, "drop_last": True, "workers": 0, "generator": True}
    assert {**facts, **expected} == facts
    assert (facts["sampler"], facts["dataset_size"], facts["batches"]) == ("RandomSampler", 40, 2)
    assert (run.facts["batches_per_epoch"], run.facts["dataset_size"], run.facts["shuffle"]) == (2, 40, True)


class Stream(IterableDataset):
    def __iter__(self):
        for index in range(20):
            yield torch.randn(3), index % 2, index


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_has_no_ids_and_says_so(workers, recorded):
    plain = drain(DataLoader(Stream(), 6, num_workers=workers), 1)
    one = recorded()
    assert drain(one.writer.wrap(DataLoader(Stream(), 6, num_workers=workers)), 1, lambda _: one.writer.log_batch(1.0)) == plain
    run = one.run()
    assert not run.has("sample_ids")
    assert run.epochs[0].fields["order_hash"] is None
    assert "IterableDataset" in run.epochs[0].fields["loader"]["ids"]
    assert run.epochs[0].fields["loader"]["shuffle"] is None


def test_batches_out_of_order_have_no_ids(recorded):
    one = recorded()
    for _ in one.writer.wrap(DataLoader(Indexed(), 8, num_workers=2, in_order=False)):
        one.writer.log_batch(1.0)
    run = one.run()
    assert not run.has("sample_ids")
    assert "in_order" in run.epochs[0].fields["loader"]["ids"]


def test_workers_that_were_there_before_the_wrap(recorded):
    loader = DataLoader(Indexed(), 8, shuffle=True, num_workers=1, persistent_workers=True)
    list(loader)
    sampler = loader.batch_sampler
    one = recorded()
    said = []
    for batch in one.writer.wrap(loader):
        said.append(batch[2].tolist())
        one.writer.log_batch(1.0)
    assert loader.batch_sampler is sampler
    assert loader._iterator._index_sampler is sampler
    run = one.run()
    assert [run.ragged["sample_ids"][row].tolist() for row in range(len(run))] == said


def test_the_wrapped_loader_is_the_loader(recorded):
    writer = recorded().writer
    loader = DataLoader(Indexed(), 8, shuffle=True)
    wrapped = writer.wrap(loader)
    assert isinstance(wrapped, DataLoader)
    assert len(wrapped) == len(loader) == 5
    assert wrapped.batch_size == 8
    assert wrapped.dataset is loader.dataset
    wrapped.worker_init_fn = print
    wrapped.mine = 3
    assert (loader.worker_init_fn, loader.mine) == (print, 3)
    del wrapped.mine
    assert not hasattr(loader, "mine")
    assert repr(wrapped) == repr(loader)
    assert vars(wrapped) is vars(loader)
    assert set(dir(loader)) <= set(dir(wrapped))
    assert copy.copy(wrapped) is loader
    assert type(pickle.loads(pickle.dumps(writer.wrap(DataLoader(Indexed(), 8))))) is DataLoader
    assert writer.wrap(wrapped) is wrapped
    with pytest.raises(AttributeError):
        wrapped.no_such_thing  # noqa: B018
    with pytest.raises(ValueError, match="batch_size attribute should not be set"):
        wrapped.batch_size = 3
    iterator = iter(wrapped)
    assert iterator._num_workers == 0
    assert type(iterator._index_sampler) is BatchSampler
    assert len(iterator) == 5


def test_anything_that_can_be_iterated(recorded):
    one = recorded()
    batches = [(torch.ones(4, 2), torch.zeros(4)), (torch.ones(2, 2), torch.zeros(2))]
    wrapped = one.writer.wrap(batches)
    assert isinstance(wrapped, list)
    assert wrapped[1] is batches[1]
    assert len(wrapped) == 2
    for _ in wrapped:
        one.writer.log_batch(1.0)
    generator = one.writer.wrap(batch for batch in batches)
    assert next(generator) is batches[0]
    one.writer.log_batch(1.0)
    assert [batch is batches[1] for batch in generator] == [True]
    one.writer.log_batch(1.0)
    run = one.run()
    assert run.columns["batch_size"].tolist() == [4, 2, 4, 2]
    assert run.columns["epoch"].tolist() == [0, 0, 1, 1]
    assert not run.has("sample_ids")


def test_what_is_refused(recorded):
    writer = recorded().writer
    with pytest.raises(TypeError, match=r"expects something to iterate.*got int"):
        writer.wrap(3)
    with pytest.raises(ValueError, match=r"'train' or 'val'.*'test'"):
        writer.wrap([], split="test")


def test_an_error_of_the_loader_is_the_users(recorded):
    class Broken(Indexed):
        def __getitem__(self, index):
            if index == 9:
                raise KeyError("sample 9")
            return super().__getitem__(index)

    one = recorded()

    def loop():
        for _ in one.writer.wrap(DataLoader(Broken(), 4)):
            one.writer.log_batch(1.0)

    with pytest.raises(KeyError, match="sample 9"):
        loop()
    run = one.run()
    assert len(run) == 2
    assert run.epochs[0].fields["complete"] is False


def test_no_tensor_of_a_batch_is_held(recorded):
    import weakref

    one = recorded()
    one.writer.watch(criterion=torch.nn.MSELoss())
    alive = []
    for batch in one.writer.wrap(DataLoader(Indexed(), 8, num_workers=1)):
        alive.append([weakref.ref(tensor) for tensor in batch])
        one.writer.log_batch(batch[0].sum(), targets=batch[1], sample_ids=batch[2], per_sample=batch[0][:, 0])
        del batch
    assert not any(reference() is not None for references in alive for reference in references)


def test_sequential_sampler_of_a_user_is_asked_once(recorded):
    class Counting(SequentialSampler):
        asked = 0

        def __iter__(self):
            Counting.asked += 1
            return super().__iter__()

    list(DataLoader(Indexed(), 8, sampler=Counting(Indexed())))
    without, Counting.asked = Counting.asked, 0
    list(recorded().writer.wrap(DataLoader(Indexed(), 8, sampler=Counting(Indexed()))))
    assert Counting.asked == without


def test_time_waited_for_a_batch(recorded):
    class Slow(Indexed):
        def __getitem__(self, index):
            time.sleep(0.02 if index == 8 else 0)
            return super().__getitem__(index)

    class SlowStart(SequentialSampler):
        def __iter__(self):
            time.sleep(0.03)
            return super().__iter__()

    one = recorded()
    for _ in one.writer.wrap(DataLoader(Slow(), batch_sampler=list(BatchSampler(SequentialSampler(Indexed()), 4, False)))):
        one.writer.log_batch(1.0)
    for _ in one.writer.wrap(DataLoader(Indexed(), 20, batch_sampler=None, sampler=SlowStart(Indexed()))):
        one.writer.log_batch(1.0)
    waits = one.run().float("data_wait")
    assert waits[2] > 0.02
    assert waits[10] > 0.03
