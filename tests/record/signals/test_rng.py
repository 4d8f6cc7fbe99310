# ruff: noqa: NPY002 - user code draws from the global generator, and this is about it
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from tb_losslens.record.batch import Batch
from tb_losslens.record.passes import Pass
from tb_losslens.record.signals.rng import RandomStates, generator_digests, rng_digests, worker_seed


def draws():
    return {
        "torch": lambda: torch.rand(1),
        "numpy": np.random.rand,
        "python": random.random,
    }


@pytest.fixture(autouse=True)
def _restore():
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])


def test_reading_draws_nothing():
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    states = RandomStates()
    states.epoch_begins(0)
    got = [], [], []
    for _ in range(3):
        states.epoch_ends(0)
        got[0].append(torch.rand(1).item()), got[1].append(np.random.rand()), got[2].append(random.random())
    assert got == expected


@pytest.mark.parametrize("which", ["torch", "numpy", "python"])
def test_one_draw_changes_its_digest_and_no_other(which):
    before, _ = rng_digests()
    draws()[which]()
    after, _ = rng_digests()
    assert {name for name in before if before[name] != after[name]} == {which}


def test_the_second_of_a_pair_of_normal_numbers_counts():
    np.random.seed(0), random.seed(0)
    states = []
    for _ in range(3):  # the second one comes from the first call and leaves the words of the state alone
        states.append(rng_digests()[0])
        np.random.randn(), random.gauss(0, 1)
    assert len({s["numpy"] for s in states}) == len({s["python"] for s in states}) == 3


def test_a_reseed_gives_the_digest_of_before():
    torch.manual_seed(3)
    first, _ = rng_digests()
    torch.rand(5)
    torch.manual_seed(3)
    assert rng_digests()[0] == first


def test_use_in_an_epoch_of_a_training_with_dropout():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    states = RandomStates()
    began = states.epoch_begins(0)
    model(torch.ones(2, 4))
    ended = states.epoch_ends(0)
    assert ended["rng_used"] == {"torch": True, "numpy": False, "python": False}
    assert began["rng"]["numpy"] == ended["rng"]["numpy"]
    assert states.epoch_begins(1)["rng"] == ended["rng"]
    model.eval()
    model(torch.ones(2, 4))
    assert not any(states.epoch_ends(1)["rng_used"].values())


def test_another_bit_generator_of_numpy():
    old = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(5))
        before, _ = rng_digests()
        np.random.rand()
        assert rng_digests()[0]["numpy"] != before["numpy"]
    finally:
        np.random.set_bit_generator(old)


def test_generators_of_a_loader():
    dataset = TensorDataset(torch.zeros(4))
    assert generator_digests(DataLoader(dataset)) == {}
    own = DataLoader(dataset, sampler=RandomSampler(dataset, generator=torch.Generator().manual_seed(0)))
    first = generator_digests(own)
    assert set(first) == {"sampler"}
    list(own)
    assert generator_digests(own) != first


def test_seeds_of_workers():
    dataset = TensorDataset(torch.zeros(4))
    assert worker_seed(iter(DataLoader(dataset))) == {}
    torch.manual_seed(0)
    first = worker_seed(iter(DataLoader(dataset, num_workers=1)))
    torch.manual_seed(0)
    again = worker_seed(iter(DataLoader(dataset, num_workers=1)))
    other = worker_seed(iter(DataLoader(dataset, num_workers=1)))
    assert first == again != other
    assert first["workers_persist"] is False

    class Tells(TensorDataset):
        def __getitem__(self, index):
            return torch.initial_seed()

    iterator = iter(DataLoader(Tells(torch.zeros(1)), num_workers=1, batch_size=None))
    assert str(int(next(iterator))) == worker_seed(iterator)["worker_seed"]


def test_seeds_of_the_loader_that_feeds_the_epoch():
    source = Pass(None, "train", {"class": "DataLoader", "worker_seed": "17", "workers_persist": True})
    states = RandomStates()
    states.delivered(Batch(source=source), None)
    fields = states.epoch_begins(0)
    assert (fields["worker_seed"], fields["workers_persist"]) == ("17", True)
