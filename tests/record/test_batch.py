from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tb_losslens.record.batch import describe, describe_targets, storages_of


@dataclass
class Sample:
    pixels: torch.Tensor
    labels: torch.Tensor


Named = namedtuple("Named", "x y")
X, Y = torch.zeros(5, 2), torch.tensor([2, 0, 2, 1, 2])
COUNTS = [[0, 1], [1, 1], [2, 3]]


@pytest.mark.parametrize(
    "batch",
    [(X, Y), [X, Y], Named(X, Y), ((X, X), Y), {"x": X, "label": Y}, {"targets": Y, "x": X}, Sample(X, Y), (X, Y, ["a"] * 5)],
)
def test_size_and_classes_of_any_batch(batch):
    seen = describe(batch)
    assert seen.size == 5
    assert seen.targets.classes.tolist() == COUNTS
    assert seen.targets.columns == {"class_rest": 0}


@pytest.mark.parametrize(("batch", "size"), [(X, 5), ([], 0), ((["a", "b"], ["c", "d"]), 2), ("text", -1), (None, -1), (3, -1)])
def test_batches_without_targets(batch, size):
    seen = describe(batch)
    assert seen.size == size
    assert seen.targets.columns == {}


def test_floating_targets():
    target = torch.tensor([1.0, 2.0, 6.0])
    columns = describe((torch.zeros(3, 1), target)).targets.columns
    assert columns == {"target_mean": 3.0, "target_std": pytest.approx(target.numpy().std())}


def test_more_classes_than_are_counted_one_by_one():
    labels = np.repeat(np.arange(40), np.arange(1, 41))
    found = describe_targets(torch.from_numpy(labels))
    pairs = dict(found.classes.tolist())
    assert pairs == {label: label + 1 for label in range(8, 40)}
    assert found.rest == sum(range(1, 9))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.bool])
def test_integer_types(dtype):
    labels = torch.tensor([1, 0, 1]).to(dtype)
    assert describe_targets(labels).classes.tolist() == [[0, 1], [1, 2]]


def test_ignored_and_very_large_classes():
    assert describe_targets(torch.tensor([-100, 3, 3])).classes.tolist() == [[3, 2]]
    assert describe_targets(torch.tensor([-1, -1])).classes.tolist() == []
    assert describe_targets(torch.tensor([5, 2**40, 5, -7])).classes.tolist() == [[5, 2], [2**40, 1]]
    assert describe_targets(torch.empty(0, dtype=torch.long)).classes is None


def test_a_batch_is_recognised_by_its_storage_and_not_held():
    inputs = torch.randn(4, 3)
    seen = describe((inputs, torch.zeros(4)))
    assert seen.is_made_of(storages_of((inputs.view(2, 6),)))
    assert not seen.is_made_of(storages_of((inputs.clone(),)))
    pointers = storages_of(inputs)
    del inputs
    assert not seen.is_made_of(pointers)
