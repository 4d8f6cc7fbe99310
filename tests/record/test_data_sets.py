"""Sample 17 of one data set is not sample 17 of another, and that of a part is one of the whole."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from tb_losslens.analysis.causes import input_shift, unknown
from tb_losslens.analysis.changes import another_data_set
from tb_losslens.record.data_sets import DataSets
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.contexts import findings, outcomes
from tests.record.training import Indexed, events, loader, mlp, two_classes


def test_a_data_set_is_told_by_what_it_is_and_not_by_its_loader():
    known, data, other = DataSets(), Indexed(40), Indexed(40)
    assert known.of(DataLoader(data)).number == known.of(DataLoader(data, shuffle=True)).number == 0
    assert known.of(DataLoader(other)).number == 1
    assert known.of(DataLoader(data)).index is None
    assert known.of([1, 2]) is None


def test_a_list_is_one_data_set_however_often_its_loader_is_built():
    known, data = DataSets(), [(torch.zeros(2), 0)] * 40
    assert [known.of(DataLoader(data, shuffle=True)).number for _ in range(4)] == [0] * 4
    assert known.of(DataLoader(data[:20])).number == 1


def test_a_data_set_that_is_built_anew_for_each_epoch_is_not_called_another():
    def run(numbers):
        rows = 10 * len(numbers)
        ends = [RunEvent("epoch_end", 10 * (k + 1), fields={"epoch": k, "loader": {"data": n}}) for k, n in enumerate(numbers)]
        return replace(Run.from_arrays(loss=np.ones(rows), epoch_length=10), events=tuple(ends))

    def said(numbers):
        one = run(numbers)
        return [another_data_set(one, one.epochs, k) for k in range(len(numbers) - 1)]

    assert said([0, 1, 2, 3, 4]) == [False] * 4
    assert said([0, 0, 0, 1, 1]) == [False, False, True, False]


def test_a_part_stands_for_the_samples_of_the_whole():
    known, data = DataSets(), Indexed(40)
    whole = known.of(DataLoader(data)).number
    ids = np.array([0, 2, 1])
    for indices in ([30, 10, 20], range(30, 0, -10), torch.tensor([30, 20, 10]), np.array([30, 20, 10])):
        samples = known.of(DataLoader(Subset(data, indices)))
        assert samples.number == whole
        assert samples.places(ids).tolist() == [indices[i] for i in ids]
    nested = known.of(DataLoader(Subset(Subset(data, range(20, 40)), [3, 5, 7])))
    assert (nested.number, nested.places(ids).tolist()) == (whole, [23, 27, 25])
    assert nested.places(np.array([3])) is None
    assert nested.places(np.array([-1])) is None


class Mapped(Subset):
    def __getitem__(self, index):
        return self.dataset[(index * 7) % 40]

    def __getitems__(self, indices):
        return [self[index] for index in indices]


def test_what_asks_for_samples_in_its_own_way_is_a_data_set_of_its_own():
    known, data = DataSets(), Indexed(40)
    assert known.of(DataLoader(data)).number == 0
    mapped = known.of(DataLoader(Mapped(data, range(40))))
    assert (mapped.number, mapped.index) == (1, None)


def test_tensors_that_are_wrapped_anew_are_the_same_data():
    known, x, data = DataSets(), torch.randn(9, 2), [1, 2, 3]
    numbers = [known.of(DataLoader(TensorDataset(x, torch.randn(9)))).number for _ in range(3)]
    assert numbers == [0, 0, 0]
    assert known.of(DataLoader(TensorDataset(x.clone()))).number == 1
    one = DataLoader(data)
    assert known.of(one).number == known.of(one).number
    assert known.of(DataLoader([1, 2, 3])).number != known.of(one).number


def test_nothing_is_held_and_no_sample_is_asked_for():
    class Sealed(Dataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            raise AssertionError

    known, data = DataSets(), Sealed()
    known.of(DataLoader(Subset(data, [1, 2])))
    gone = weakref.ref(data)
    del data
    gc.collect()
    assert gone() is None
    numbers = {known.of(DataLoader(Sealed())).number for _ in range(9)}  # at addresses that come back
    assert len(numbers) == 9


def train(one, passes, *, models=1):
    """Trains on each of `passes`, loaders in order; the model is built anew after each equal part of them."""
    torch.manual_seed(0)
    criterion, wrapped = nn.CrossEntropyLoss(), {id(loader): one.writer.wrap(loader) for loader in passes}
    for number, source in enumerate(passes):
        if number % (len(passes) // models) == 0:
            model = mlp()
            optimizer = torch.optim.Adam(model.parameters(), 0.01)
            one.writer.watch(model, optimizer, criterion=criterion)
        for inputs, targets in wrapped[id(source)]:
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
    return one.run()


def changed(run):
    return [event.fields.get("inputs_changed") for event in events(run, "epoch_end")]


@pytest.fixture(autouse=True)
def every_pass_is_read(monkeypatch):
    monkeypatch.setattr("tb_losslens.record.signals.fingerprints.MOST_LEFT_OUT", 0)


def test_two_loaders_by_turns_are_compared_with_themselves(recorded):
    pair = [loader(two_classes(400, seed=seed), shuffle=True) for seed in (1, 2)]
    run = train(recorded(), pair * 4)
    assert changed(run) == [None, None, 0, 0, 0, 0, 0, 0]
    assert [event.fields["loader"]["data"] for event in events(run, "epoch_end")] == [0, 1] * 4
    assert findings(input_shift, run) == []


def test_another_part_of_the_same_data_is_no_change(recorded):
    data = two_classes(600)
    parts = [loader(Subset(data, [i for i in range(600) if i % 3 != fold]), shuffle=True) for fold in range(3)]
    run = train(recorded(), [part for part in parts for _ in range(4)], models=3)
    assert set(changed(run)[1:]) == {0}
    assert findings(input_shift, run) == []
    said = [finding for finding in outcomes(unknown, run) if getattr(finding, "boundaries", ())]
    for finding in said:
        assert "The model was replaced by another one at boundaries 4 and 8." in finding.text
        assert "another data set" not in finding.text
    assert said


def test_a_jump_to_another_data_set_is_said_where_nothing_explains_it(recorded):
    easy, hard = two_classes(1600), two_classes(1600, seed=1)
    hard.tensors[1].random_(2, generator=torch.Generator().manual_seed(2))
    run = train(recorded(), [loader(easy, shuffle=True)] * 4 + [loader(hard, shuffle=True)] * 4)
    said = [finding for finding in outcomes(unknown, run) if 3 in getattr(finding, "boundaries", ())]
    assert said
    assert "The loader reads another data set than in the epoch before at boundary 4." in said[0].text


def test_a_sample_of_a_part_that_did_change_is_seen(recorded):
    """The near miss: the same parts, and one data set that changes."""
    data = two_classes(600)
    passes = [loader(Subset(data, range(400)), shuffle=True)] * 4 + [loader(Subset(data, range(599, 199, -1)), shuffle=True)]
    one, seen = recorded(), []

    class Counted(list):
        def __iter__(self):
            for number, source in enumerate(list.__iter__(self)):
                if number == 4:
                    data.tensors[0][200:300] += 1
                seen.append(number)
                yield source

    run = train(one, Counted(passes))
    assert changed(run) == [None, 0, 0, 0, 100]


def test_two_loaders_side_by_side(recorded):
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters())
    one.writer.watch(model, optimizer, criterion=criterion)
    first, second = (one.writer.wrap(loader(two_classes(200, seed=seed), shuffle=True)) for seed in (1, 2))
    for _ in range(4):
        for (x, y), (u, _) in zip(first, second, strict=True):
            optimizer.zero_grad()
            (criterion(model(x), y) + model(u).square().mean()).backward()
            optimizer.step()
    assert set(changed(one.run())[1:]) == {0}
