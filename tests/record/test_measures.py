import math

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.measures import (
    batch_counters,
    first_floating,
    gradients_of,
    input_moments,
    total_norm,
    training_share,
    unscaled,
    unwrapped,
)


@pytest.mark.parametrize("count", [1, 5, 60])
def test_norm_of_many_tensors_is_the_norm_of_all_their_elements(count):
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(3, 7, generator=generator) * 10.0**k for k in range(-2, 3) for _ in range(count)]
    truth = torch.cat([g.double().reshape(-1) for g in gradients]).norm().item()
    assert float(total_norm(gradients)) == pytest.approx(truth, rel=1e-6)


def test_norm_of_nothing_of_mixed_types_and_of_infinity():
    assert total_norm([]) is None
    mixed = [torch.ones(4), torch.ones(5, dtype=torch.float64), torch.ones(7, dtype=torch.bfloat16)]
    assert float(total_norm(mixed)) == pytest.approx(4.0)
    assert math.isinf(float(total_norm([torch.tensor([math.inf])])))
    assert math.isnan(float(total_norm([torch.tensor([math.nan]), torch.ones(2)])))


@pytest.mark.parametrize("shift", [0.0, 100.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_against_numpy(shift, dtype):
    values = torch.randn(50, 40, generator=torch.Generator().manual_seed(1)).to(dtype) + shift
    truth = values.double().numpy()
    moments = input_moments(values.t())  # not contiguous
    assert moments["input_mean"] == pytest.approx(truth.mean(), rel=1e-5, abs=1e-6)
    assert moments["input_std"] == pytest.approx(truth.std(), rel=1e-3)
    assert moments["input_nonfinite"] == 0


def test_moments_of_odd_inputs():
    some = input_moments(torch.tensor([1.0, math.nan, 3.0, math.inf]))
    assert (some["input_mean"], some["input_std"], some["input_nonfinite"]) == (2.0, 1.0, 2)
    none = input_moments(torch.full((3,), math.nan))
    assert math.isnan(none["input_mean"])
    assert none["input_nonfinite"] == 3
    flat = input_moments(torch.full((9,), 7.0))
    assert (flat["input_mean"], flat["input_std"]) == (7.0, 0.0)
    huge = input_moments(torch.tensor([3e38, -3e38, 1e38]))
    assert huge["input_nonfinite"] == 0
    assert huge["input_std"] == pytest.approx(np.array([3e38, -3e38, 1e38]).std())


def test_the_first_floating_tensor():
    wanted = torch.ones(2)
    assert first_floating((torch.ones(2, dtype=torch.long), {"a": [None, wanted], "b": torch.zeros(1)})) is wanted
    assert first_floating((torch.ones(2, dtype=torch.long), "x")) is None
    assert first_floating(torch.ones(0)) is None


def test_share_of_modules_in_training_mode():
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout())
    modules = list(model.modules())
    assert training_share(modules) == 1
    model[1].eval()
    assert training_share(modules) == 0.5
    model.eval()
    assert training_share(modules) == 0


def test_the_model_inside_its_wrappers():
    model = nn.Sequential(nn.Linear(1, 1))
    assert unwrapped(torch.compile(model)) is model
    assert unwrapped(nn.DataParallel(model)) is model
    assert unwrapped(model) is model

    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = model

    mine = Mine()
    assert unwrapped(mine) is mine
    layers = nn.Sequential()
    layers.add_module("module", nn.Linear(2, 2))  # a layer by that name makes no wrapper of it
    assert unwrapped(layers) is layers


def test_counters_of_layers_that_keep_statistics():
    model = nn.Sequential(
        nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False), nn.InstanceNorm1d(2), nn.Linear(2, 2)
    )
    assert len(batch_counters(model.modules())) == 1


def test_scale():
    assert unscaled(8.0, None) == 8.0
    assert float(unscaled(8.0, torch.tensor(4.0))) == 2.0
    assert float(unscaled(torch.tensor(8.0), torch.tensor(4.0))) == 2.0


def test_a_sharded_gradient_is_read_without_asking_other_processes():
    class Sharded(torch.Tensor):
        """Stands where a DTensor stands: what is asked of it as a whole would wait for others."""

        def to_local(self):
            return self.as_subclass(torch.Tensor)

        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if function in (torch._foreach_norm, torch.Tensor.item):
                raise AssertionError("a collective")
            return super().__torch_function__(function, types, args, kwargs)

    weight = nn.Parameter(torch.ones(4))
    weight.grad = torch.full((4,), 3.0).as_subclass(Sharded)
    assert float(total_norm(gradients_of([weight]))) == pytest.approx(6.0)
