"""Decoding in bulk gives what decoding chunk by chunk gives."""

import numpy as np
import pytest

from tb_losslens.events import losslens_pb2 as pb
from tb_losslens.events.arrays import encode_array, narrow
from tb_losslens.events.codec import Chunk, Packed
from tb_losslens.store.columns import Trouble, join
from tb_losslens.store.pieces import Piece

RNG = np.random.default_rng(0)


def piece(array, skip=0, name="x"):
    """A piece whose chunk has `array` as its only column; an int stands for so many rows without it."""
    if isinstance(array, int):
        return Piece(Chunk("s", 0, array, Packed({})), skip)
    return Piece(Chunk("s", 0, len(array), Packed({name: encode_array(name, array)})), skip)


def joined(*arrays, name="x"):
    trouble = Trouble()
    out = join(name, [a if isinstance(a, Piece) else piece(a, name=name) for a in arrays], trouble)
    assert trouble == Trouble()
    return out


def random_part(rng):
    rows = int(rng.choice([1, 2, 5, 40, 256]))
    kinds = [
        lambda: rng.normal(size=rows),
        lambda: rng.normal(size=rows).astype(np.float32),
        lambda: np.full(rows, rng.normal()),
        lambda: np.full(rows, np.nan),
        lambda: 1.7e9 + np.round(np.cumsum(rng.random(rows)), 3),
        lambda: rng.normal(size=rows).astype(np.float16),
        lambda: np.where(rng.random(rows) < 0.2, np.nan, 1.0),
    ]
    integers = [
        lambda: np.arange(rows) * int(rng.integers(-3, 4)) + int(rng.integers(-1000, 10**6)),
        lambda: rng.integers(0, 2**20, rows),
        lambda: rng.integers(-5, 5, rows),
        lambda: np.full(rows, -1),
        lambda: rng.integers(0, 2**40, rows),
        lambda: rng.random(rows) < 0.5,
    ]
    return integers if rng.random() < 0.5 else kinds


@pytest.mark.parametrize("mixed", [False, True])
def test_any_parts_against_plain_concatenation(mixed):
    for seed in range(200):
        rng = np.random.default_rng(seed)
        makers = random_part(rng)
        parts = []
        for _ in range(int(rng.integers(1, 12))):
            if mixed and rng.random() < 0.3:
                makers = random_part(rng)
            array = makers[int(rng.integers(len(makers)))]()
            parts.append(narrow(array) if rng.random() < 0.5 else array)
        integer = all(part.dtype.kind in "iub" for part in parts)
        wanted = [p.astype(np.int64) if integer else np.where(p == -1, np.nan, p) if p.dtype.kind in "iu" else p for p in parts]
        found = joined(*parts)
        np.testing.assert_array_equal(found, np.concatenate(wanted))
        assert found.dtype == (np.int64 if integer else found.dtype)
        assert found.dtype in (np.int64, np.float32, np.float64)


def test_types():
    f4, f8, i2 = np.zeros(2, np.float32), np.array([0.1]), np.array([3], np.int16)
    assert joined(f4).dtype == np.float32
    assert joined(f4, f8).dtype == np.float64
    assert joined(f4, name="loss").dtype == np.float64
    assert joined(i2).dtype == np.int64
    assert joined(i2, f4).dtype == np.float64


def test_missing_parts():
    assert joined(3) is None
    assert join("x", [], Trouble()) is None
    assert joined(2, np.array([5, 6]), 1).tolist() == [-1, -1, 5, 6, -1]
    np.testing.assert_array_equal(joined(1, np.array([0.5])), [np.nan, 0.5])


def test_only_some_rows_of_a_part():
    assert joined(piece(np.arange(5), skip=3), np.arange(5, 8)).tolist() == [3, 4, 5, 6, 7]
    assert joined(piece(5, skip=3), np.array([9])).tolist() == [-1, -1, 9]


def test_arrays_that_are_decoded_already():
    tail = Piece(Chunk("s", 0, 2, {"x": np.array([1, 2])}))
    assert joined(np.array([7, 7]), tail).tolist() == [7, 7, 1, 2]


def bad(**fields):
    fields = {"name": "x", "dtype": "<f8", "shape": [2], "data": bytes(16), **fields}
    return Piece(Chunk("s", 0, 2, Packed({"x": pb.Column(**fields)})))


@pytest.mark.parametrize(
    "fields",
    [
        {"data": bytes(15)},
        {"encoding": pb.CONSTANT},
        {"encoding": pb.LINEAR, "dtype": "<i8", "data": bytes(8)},
        {"encoding": pb.LINEAR, "dtype": "<f8"},
        {"encoding": pb.ZLIB_SHUFFLE, "data": b"no"},
        {"shape": [3], "data": bytes(24)},
        {"shape": [3], "encoding": pb.CONSTANT, "data": bytes(8)},
        {"shape": [3], "encoding": pb.LINEAR, "dtype": "<i8"},
        {"shape": [], "encoding": pb.LINEAR, "dtype": "<i8"},
        {"shape": [2, 2], "data": bytes(32)},
    ],
)
def test_a_damaged_part_costs_its_rows_only(fields):
    good = piece(np.array([1.5, 2.5]))
    trouble = Trouble()
    out = join("x", [good, bad(**fields), good], trouble)
    np.testing.assert_array_equal(out, [1.5, 2.5, np.nan, np.nan, 1.5, 2.5])
    assert (trouble.damaged, trouble.unknown) == (1, set())


def test_an_unknown_encoding_costs_its_rows_only():
    trouble = Trouble()
    out = join("x", [piece(np.array([1.5])), bad(encoding=77), bad(dtype="<f16", data=bytes(32))], trouble)
    np.testing.assert_array_equal(out, [1.5, np.nan, np.nan, np.nan, np.nan])
    assert (trouble.damaged, trouble.unknown) == (0, {"x"})
    assert join("x", [bad(encoding=77)], trouble) is None
