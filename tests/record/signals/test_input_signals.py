import math

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.batch import Batch
from tb_losslens.record.signals.input_relation import RELATIONS, places_of, relation, stride
from tb_losslens.record.signals.input_signals import InputSignals
from tests.record.recorded_signals import Told


def images(n=16, c=3, h=12, w=12, seed=0):
    return torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(seed))


def name_of(before, after):
    found = relation(places_of(before), places_of(after))
    return None if found is None else RELATIONS[found.code]


def noise(x):
    return x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(9))


PER_SAMPLE = torch.linspace(0.5, 1.5, 16)[:, None, None, None]
MEAN, STD = torch.tensor([0.1, 0.5, 0.9])[:, None, None], torch.tensor([0.2, 0.3, 0.4])[:, None, None]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: x, "equal"),
        (torch.clone, "equal"),
        (lambda x: x.double(), "equal"),
        (lambda x: x.half(), "equal"),
        (lambda x: x.bfloat16(), "equal"),
        (lambda x: x.to(memory_format=torch.channels_last), "equal"),
        (lambda x: 2 * x, "affine"),
        (lambda x: (x - 0.13) / 0.31, "affine"),
        (lambda x: ((x - 0.13) / 0.31).half(), "affine"),
        (lambda x: x + 100, "affine"),
        (lambda x: x * PER_SAMPLE, "affine by sample"),
        (lambda x: x * PER_SAMPLE + PER_SAMPLE, "affine by sample"),
        (lambda x: (x - MEAN) / STD, "affine by channel"),
        (lambda x: x.flip(3), "other"),
        (lambda x: x.flip(0), "other"),
        (lambda x: x.roll(1, 2), "other"),
        (noise, "other"),
        (lambda x: x**1.01, "other"),
        (lambda x: x * torch.nan, "other"),
        (torch.zeros_like, "other"),
    ],
)
def test_what_was_done_to_images(change, expected):
    assert name_of(images(), change(images())) == expected


def test_slope_and_offset():
    found = relation(places_of(images()), places_of((images() - 0.13) / 0.31))
    assert found.slope == pytest.approx(1 / 0.31, rel=1e-5)
    assert found.offset == pytest.approx(-0.13 / 0.31, rel=1e-4)
    by_sample = relation(places_of(images()), places_of(images() * PER_SAMPLE))
    assert 0.5 < by_sample.slope < 1.5


def test_bytes_become_numbers():
    pixels = (images() * 255).byte()
    found = relation(places_of(pixels), places_of(pixels.float() / 255))
    assert RELATIONS[found.code] == "affine"
    assert found.slope == pytest.approx(1 / 255)


def test_nothing_is_said_where_nothing_can_be_refuted():
    constant = torch.ones(4, 6)
    assert name_of(constant, constant * 2) is None
    assert name_of(constant, constant) == "equal"
    assert name_of(images(), images(h=6)) is None
    table = images(8, 1, 1, 3).reshape(8, 3)
    assert name_of(table, 2 * table) == "affine"
    assert name_of(table, table.flip(1)) is None
    nan = images()
    nan[0] = math.nan
    assert name_of(nan, nan.clone()) == "equal"
    assert places_of(torch.zeros(0, 3)) is None
    assert places_of(torch.zeros(3)) is None


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 224, 224), (64,), (128,), (1000,), (1,), (6, 5), (1, 28, 28), (128, 768)])
def test_places_do_not_share_a_column(shape):
    step, last = stride(shape), shape[-1]
    places = np.arange(0, math.prod(shape), step)[:64]
    assert len(places) >= min(64, math.prod(shape)) // 2
    if len(shape) > 1:
        assert len(np.unique(places % last)) == min(len(places), last)
    else:
        assert places[-1] >= 0.8 * (last - 1)  # a vector has no columns, and is covered to its end


def given(told, batch, tensor, **kwargs):
    row = told.row(batch=batch, **kwargs)
    told.each("inputs_given", row, (tensor,), {})
    return row


def test_levels_and_sketch_against_numpy():
    told = Told(InputSignals())
    x = images()
    x[11] += 5
    row = given(told, None, x)
    levels = x.numpy().reshape(16, -1).mean(1)
    assert row.values["sample_level_max"] == pytest.approx(levels.max())
    assert row.values["sample_level_min"] == pytest.approx(levels.min())
    assert row.values["sample_level_median"] == pytest.approx(np.sort(levels)[7])
    assert row.values["sample_level_at"] == 11
    sketch = row.lists["input_sketch"]
    flat = x.numpy().reshape(16, -1)[:, :: stride((3, 12, 12))][:, :64]
    assert sketch.dtype == np.float16
    assert np.allclose(sketch, flat.mean(0), atol=2e-3)
    assert "input_relation" not in row.values


@pytest.mark.parametrize("n", [1, 2, 511, 512, 513, 600])
@pytest.mark.parametrize("bad", [False, True])
def test_levels_of_few_and_of_many_samples_are_those_of_torch(n, bad):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(n))
    if bad:
        x[n // 2] = torch.nan
    told = Told(InputSignals())
    values = given(told, None, x).values
    levels = x.mean(1)
    for name, expected in (("max", levels.max()), ("median", levels.median()), ("min", levels.min()), ("at", levels.argmax())):
        assert values[f"sample_level_{name}"] == pytest.approx(expected.item(), nan_ok=True)


def test_odd_inputs():
    told = Told(InputSignals())
    assert given(told, None, torch.ones(4)).values == {}
    assert given(told, None, torch.ones(4, 2, dtype=torch.long)).values == {}
    assert given(told, None, torch.full((4, 2), 1e6)).lists["input_sketch"].dtype == np.float32
    bad = torch.zeros(4, 2)
    bad[2] = torch.nan
    row = given(told, None, bad)
    assert row.values["sample_level_at"] == 2
    assert math.isnan(row.values["sample_level_max"])
    half = given(told, None, torch.full((2, 4), 60_000.0, dtype=torch.float16))
    assert half.values["sample_level_max"] == pytest.approx(60_000, rel=1e-3)


def test_a_loop_that_scales_differently_each_batch():
    collector = InputSignals()
    told = Told(collector)
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 2))
    state = torch.get_rng_state()
    slopes = []
    for i in range(40):
        batch, raw = Batch(size=16, index=i), (images(seed=i), torch.zeros(16))
        collector.delivered(batch, raw)
        factor = 1.0 + i % 3
        before = raw[0].clone()
        row = given(told, batch, raw[0] * factor)
        model(raw[0])
        assert torch.equal(before, raw[0])
        if "input_slope" in row.values:
            slopes.append((i, factor, row.values["input_slope"], row.values["input_relation"]))
        del batch, row
    assert [i for i, *_ in slopes] == [*range(8), 16, 32]
    assert all(slope == pytest.approx(factor, rel=1e-5) for _, factor, slope, _ in slopes)
    assert all(code == (0 if factor == 1 else 1) for _, factor, _, code in slopes)
    told.rows.clear()
    assert len(collector._loaded) == 0
    assert torch.equal(state, torch.get_rng_state())
