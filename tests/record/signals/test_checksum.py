import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.late_fields import LateFields
from tb_losslens.record.signals.bit_sum import bit_sum, fold
from tb_losslens.record.signals.checksum import Checksums, checksum


def total(*tensors):
    return checksum((f"w{i}", tensor) for i, tensor in enumerate(tensors)).value


def slow_sum(words):
    """The weights one by one in Python integers; `words` int64."""
    mask = 2**64 - 1
    signed = lambda value: (value & mask) - 2**64 if value & mask > mask >> 1 else value & mask  # noqa: E731

    def odd(place):
        x = signed((place + 1) * -7046029254386353131)
        x = signed(signed(x ^ (x >> 31)) * -4658895280553007687)
        return (x ^ (x >> 29)) | 1

    out = 0
    for begin in range(0, len(words), 1 << 18):
        part, block = 0, words[begin : begin + (1 << 18)]
        whole = len(block) // 8192 * 8192
        for i, word in enumerate(block):
            mixed = int(word) ^ (int(word) >> 32)
            weight = odd(i % 8192) * (odd(1 + i // 8192) if i < whole else 1)
            part += mixed * weight
        out += part * (2 * (begin >> 18) + 1) * -4658895280553007687
    return signed(out)


@pytest.mark.parametrize("size", [1, 2, 7, 20_000])
def test_sum_is_the_slow_one(size):
    from tb_losslens.record.signals.bit_sum import _sum

    words = torch.from_numpy(np.random.default_rng(size).integers(-(2**63), 2**63 - 1, size))
    assert _sum(words, 1 << 40) == slow_sum(words.tolist())


def test_the_same_bits_have_the_same_sum_also_nan():
    weight = torch.tensor([1.0, math.nan, math.inf, -0.0])
    assert total(weight) == total(weight.clone())
    assert total(torch.tensor([0.0])) != total(torch.tensor([-0.0]))
    other_nan = torch.tensor([0x7FC00001], dtype=torch.int32).view(torch.float32)
    assert total(torch.tensor([math.nan])) != total(other_nan)


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.int64, torch.int8, torch.bool],
)
@pytest.mark.parametrize("size", [1, 3, 100, 70_001])
def test_a_change_of_one_element_shows(dtype, size):
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(size, generator=generator) * 3
    weight = (real > 0) if dtype == torch.bool else real.to(dtype)
    before = total(weight)
    for place in {0, size // 2, size - 1}:
        changed = weight.clone()
        changed[place] = ~changed[place] if dtype == torch.bool else changed[place] + 1
        assert total(changed) != before
        if dtype != torch.bool and weight[place] != 0:
            changed[place] = -weight[place]
            assert total(changed) != before


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_negating_everything_shows(dtype):
    weight = torch.randn(4096, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert total(weight) != total(-weight)
    both = weight.clone()
    both[1] = -both[1]
    both[5] = -both[5]  # in the upper half of eight bytes, where two sign bits would cancel
    assert total(weight) != total(both)


def test_order_name_shape_and_type_count():
    a, b = torch.arange(6.0), torch.arange(6.0) + 1
    assert total(a, b) != total(b, a)
    assert total(a) != total(a.reshape(2, 3))
    assert total(torch.zeros(2)) != total(torch.zeros(2, dtype=torch.float64))
    assert total(torch.zeros(2)) != total(torch.zeros(3))
    assert checksum([("a", a)]).value != checksum([("b", a)]).value
    flipped = a.flip(0)
    assert total(a) != total(flipped)


def test_layout_in_memory_does_not_count():
    weight = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    assert total(weight) == total(weight.to(memory_format=torch.channels_last))
    apart = torch.cat([torch.zeros(1), weight.reshape(-1)])[1:].reshape(weight.shape)  # not aligned to eight bytes
    assert total(weight) == total(apart)
    assert total(torch.tensor([1 + 2j]).conj()) == total(torch.tensor([1 - 2j]))


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_numbers_whose_sign_is_kept_beside_them_are_what_they_are():
    values = torch.randn(3, 5)
    assert total(torch._neg_view(values)) == total(-values)
    assert total(torch._neg_view(values)) != total(values)


def test_sparse_empty_and_scalar():
    sparse = torch.eye(5).to_sparse()
    moved = torch.eye(5).flip(0).to_sparse()
    assert total(sparse) == total(sparse.clone())
    assert total(sparse) != total(moved)
    assert total(torch.eye(5).to_sparse_csr()) != total(torch.eye(5).flip(0).to_sparse_csr())
    assert total(torch.zeros(0)) != total(torch.zeros(0, 2))
    assert total(torch.tensor(1.0)) != total(torch.tensor(2.0))


def test_a_large_tensor_is_sampled_and_one_bit_still_shows():
    weight = torch.zeros(1 << 20)
    before = bit_sum("w", weight, sampled_from=1 << 20)
    weight[77_777] = 1e-30
    assert bit_sum("w", weight, sampled_from=1 << 20) != before


def test_what_has_no_numbers_is_left_out_with_the_reason():
    found = checksum([("a", torch.zeros(2)), ("b", torch.zeros(2, device="meta")), ("c", nn.UninitializedParameter())])
    assert found.value == checksum([("a", torch.zeros(2))]).value
    assert "meta" in found.skipped["b"]
    assert "not initialised" in found.skipped["c"]
    assert checksum([]).value is None


def test_the_way_of_a_device_gives_the_same_number():
    from tb_losslens.record.signals import bit_sum as module

    weight = torch.randn(300_001, generator=torch.Generator().manual_seed(3))
    words = module._words(weight)
    on_cpu = module._weighted_words(words[:200_000].numpy(), np.empty(module._PIECE, np.int64))
    assert int(module._weighted_on_device(words[:200_000])) == module._wrap(on_cpu)
    assert int(fold(torch.tensor(-5))) == fold(-5)


def training():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    return model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)


def test_epochs_of_a_real_training():
    model, optimizer = training()
    sums = Checksums(lambda: [model])
    inputs, targets = torch.randn(32, 4), torch.randint(0, 2, (32,))
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    begin = sums.epoch_begins(0)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert set(begin) == {"parameters", "buffers"}
    assert len(begin["parameters"]) == 13
    model(inputs)  # moves the statistics of BatchNorm only
    moved = sums.now("validation_begin")
    assert moved["parameters"] == begin["parameters"]
    assert moved["buffers"] != begin["buffers"]
    nn.functional.cross_entropy(model(inputs), targets).backward()
    optimizer.step()
    end = sums.epoch_ends(0)
    assert end["parameters"] != begin["parameters"]
    model.load_state_dict(state)
    assert sums.epoch_begins(1) == begin
    assert sums.late() == []


def test_without_a_model_there_is_nothing_to_say():
    assert Checksums(list).epoch_begins(0) == {}


def test_numbers_on_the_cpu_are_never_late():
    late = LateFields("late")
    assert late.take({"at": "here"}, {"a": 1.0, "b": torch.tensor(2)}) == {"a": 1.0, "b": 2.0}
    assert late.ready() == []


def test_numbers_of_a_device_come_with_a_later_record(monkeypatch):
    from tb_losslens.record import late_fields

    done = []

    class Slow:
        """A device that has not finished: stands for CUDA, which this machine may not have."""

        def __init__(self):
            self.names = []
            self.values = []

        def add(self, name, value):
            self.names.append(name)

        @property
        def ready(self):
            return bool(done)

        def result(self):
            return dict.fromkeys(self.names, 7.0)

    monkeypatch.setattr(late_fields, "Deferred", Slow)
    late = LateFields("late", int)
    assert late.take({"at": "epoch_end", "epoch": 3}, {"a": torch.zeros((), device="meta")}) == {}
    done.append(True)
    owed = [{"at": "epoch_end", "epoch": 3, "a": 7}]
    assert late.take({"at": "epoch_begin", "epoch": 4}, {"b": 1.0}) == {"b": 1, "late": owed}
