"""The fixed sample of elements against plain indexing."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.signals.sample import Sample, can_sample


def numbers(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_small_tensors_whole_and_in_the_order_of_their_elements():
    first, second = numbers(4, 5), numbers(3, 7, seed=1).t()  # the second is not contiguous
    sample = Sample([first, second])
    assert torch.equal(sample.values(), torch.cat([first.reshape(-1), second.reshape(-1)]))
    assert sample.owner.tolist() == [0] * 20 + [1] * 21
    assert (sample.weights == 1).all()
    assert sample.dot(sample.values(), sample.weighed(sample.values())) == pytest.approx(
        float((first**2).sum() + (second**2).sum()), rel=1e-5
    )
    np.testing.assert_allclose(sample.squares(sample.values()), [[(first**2).sum(), (second**2).sum()]], rtol=1e-5)


@pytest.mark.parametrize("shape", [(512, 256), (64, 3, 7, 7), (1000,), (300, 300), (2, 4096), (257,)])
def test_elements_of_a_large_tensor_come_from_all_rows_and_columns(shape):
    where = torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)
    places = Sample([where]).values().long()
    assert len(places) == len(places.unique()) == 256
    assert places.max() < where.numel()
    if len(shape) > 1:
        width = math.prod(shape[1:])
        assert len((places % width).unique()) >= min(width, 256) * 0.6
        assert len((places // width).unique()) >= min(shape[0], 256) * 0.6


def test_a_pair_of_tensors_with_another_order_of_memory_is_read_at_the_same_elements():
    weight = numbers(64, 32, 3, 3).to(memory_format=torch.channels_last)
    other = weight.contiguous()
    assert torch.equal(Sample([weight]).values(), Sample([other]).of([weight]))
    assert torch.equal(Sample([weight]).of([other]), Sample([other]).values())


def test_half_precision_complex_numbers_and_what_is_missing():
    half, pairs = numbers(10, dtype=torch.bfloat16), torch.complex(numbers(6), numbers(6, seed=1))
    assert torch.equal(Sample([half]).values(), half.float())
    assert torch.equal(Sample([pairs]).values(), torch.view_as_real(pairs).reshape(-1))
    assert torch.equal(Sample([pairs]).of([pairs.conj()]), torch.view_as_real(pairs.conj().resolve_conj()).reshape(-1))
    assert Sample([half, pairs]).of([None, pairs])[:10].tolist() == [0.0] * 10
    assert Sample([half, numbers(4, dtype=torch.float64)]).values().dtype is torch.float64
    assert Sample([]).values().shape == (0,)


def test_what_is_read_is_a_copy_without_a_graph():
    weight = nn.Parameter(numbers(5))
    values = Sample([weight]).values()
    assert not values.requires_grad
    values.zero_()
    assert weight.abs().min() > 0


def test_another_size_is_an_error_and_is_noticed():
    weight = nn.Parameter(numbers(5))
    sample = Sample([weight])
    assert sample.fits()
    with pytest.raises(RuntimeError, match="5 elements was expected, got"):
        sample.of([numbers(6)])
    weight.data = numbers(9)
    assert not sample.fits()


def test_what_can_be_sampled():
    assert can_sample(numbers(3))
    assert can_sample(torch.zeros(2, dtype=torch.complex64))
    assert not can_sample(torch.zeros(0))
    assert not can_sample(torch.zeros(2, dtype=torch.int64))
    assert not can_sample(torch.zeros(2, device="meta"))
    assert not can_sample(torch.eye(2).to_sparse())
    assert not can_sample(nn.LazyLinear(3).weight)


def test_weights_that_overflow_are_infinite_and_nobody_is_warned():
    """A training that diverges must not fill the terminal with warnings of ours."""
    sample = Sample([torch.full((40,), 1e30)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sample.squares(sample.values())
    assert np.isinf(found).all()
