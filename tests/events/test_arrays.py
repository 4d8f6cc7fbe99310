import zlib

import numpy as np
import pytest

from tb_losslens.errors import CorruptChunkError, UnknownEncodingError
from tb_losslens.events import losslens_pb2 as pb
from tb_losslens.events.arrays import MAX_BYTES, decode_array, encode_array, encode_arrays, narrow

RNG = np.random.default_rng(0)
NAN = float("nan")
ARRAYS = {
    "noise": RNG.normal(size=256),
    "float32 noise": RNG.normal(size=256).astype(np.float32),
    "constant": np.full(100, 0.1),
    "nan": np.full(7, NAN),
    "some nan": np.where(RNG.random(300) < 0.5, NAN, 1.0),
    "inf and -0": np.array([np.inf, -np.inf, -0.0, 0.0]),
    "time": 1.7e9 + np.round(np.cumsum(RNG.random(256)), 6),
    "one": np.array([3.5]),
    "empty": np.empty(0),
    "counter": np.arange(1000),
    "backwards": np.arange(100, -100, -7, dtype=np.int16),
    "unsigned backwards": np.arange(100, 0, -1).astype(np.uint16),
    "wraps around": np.arange(250, dtype=np.uint8) * np.uint8(7),
    "two": np.array([3, 9]),
    "linear but one": np.array([0, 1, 2, 4]),
    "linear floats": np.arange(100) / 2,
    "linear 24 bit": np.arange(70_000, 70_100, dtype=np.uint32),
    "negative": np.array([-1, 2**62, -(2**62)]),
    "small ids": RNG.integers(0, 60_000, 5000).astype(np.uint16),
    "24 bit": RNG.integers(0, 2**24, 5000).astype(np.uint32),
    "32 bit": RNG.integers(0, 2**32, 5000).astype(np.uint32),
    "24 bit, constant": np.full(9, 70_000, np.uint32),
    "pairs": RNG.integers(0, 100, (50, 2)),
    "24 bit pairs": RNG.integers(0, 2**20, (50, 2)).astype(np.uint32),
    "no pairs": np.empty((0, 2), np.int64),
    "booleans": RNG.random(100) < 0.5,
    "big endian": np.arange(10, dtype=">f8"),
    "every other": RNG.normal(size=100)[::2],
    "half": RNG.normal(size=100).astype(np.float16),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_comes_back_bit_for_bit(name):
    array = ARRAYS[name]
    back = decode_array(pb.Column.FromString(encode_array("x", array).SerializeToString()))
    assert back.shape == array.shape
    assert back.dtype == array.dtype.newbyteorder("<")
    assert back.tobytes() == np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def test_many_at_once_are_what_they_are_one_by_one():
    kinds = [np.float32, np.float64, np.float16, np.uint32, np.uint16, np.int64, np.int8, bool, ">f8"]
    for rows in (1, 2, 3, 256):
        arrays = dict(ARRAYS)
        for kind in kinds:
            made = {
                "noise": RNG.normal(size=rows) * 100,
                "few": RNG.integers(0, 2, rows),
                "large": RNG.integers(0, 2**31, rows),
                "counts": np.arange(rows) + 5,
                "same": np.full(rows, 7),
                "held": np.repeat(RNG.integers(0, 100, rows), 9)[:rows],
            }
            with np.errstate(invalid="ignore", over="ignore"):
                arrays.update({f"{name} {np.dtype(kind)}": array.astype(kind) for name, array in made.items()})
        body = pb.Body()
        encode_arrays(arrays, body)
        together = list(body.columns)
        assert [column.name for column in together] == list(arrays)
        assert together == [encode_array(name, array) for name, array in arrays.items()]


def test_each_encoding_is_used_where_it_pays():
    def encoding(array):
        return encode_array("x", array).encoding

    assert encoding(ARRAYS["constant"]) == encoding(ARRAYS["nan"]) == pb.CONSTANT
    assert len(encode_array("x", ARRAYS["constant"]).data) == 8
    assert encoding(ARRAYS["counter"]) == encoding(ARRAYS["backwards"]) == encoding(ARRAYS["linear 24 bit"]) == pb.LINEAR
    assert encoding(ARRAYS["linear but one"]) != pb.LINEAR
    assert encoding(ARRAYS["time"]) == pb.ZLIB_SHUFFLE
    assert len(encode_array("x", ARRAYS["time"]).data) < 0.75 * 8 * 256
    assert encoding(ARRAYS["small ids"]) == pb.RAW
    assert len(encode_array("x", ARRAYS["24 bit"]).data) == 3 * 5000
    assert len(encode_array("x", ARRAYS["counter"]).data) == 16


def test_narrowing_keeps_every_value():
    assert narrow(np.array([0.5, NAN, np.inf])).dtype == np.float32
    assert narrow(np.array([0.1])).dtype == np.float64
    assert narrow(np.array([1e300])).dtype == np.float64
    assert narrow(np.array([0, 65_535])).dtype == np.uint16
    assert narrow(np.array([0, 65_536])).dtype == np.uint32
    assert narrow(np.array([0, 2**32])).dtype == np.int64
    assert narrow(np.array([-1, 5])).dtype == np.int8
    assert narrow(np.array([-129, 5])).dtype == np.int16
    assert narrow(np.array([-1, 2**40])).dtype == np.int64
    assert narrow(np.empty(0, np.int64)).size == 0
    for array in ARRAYS.values():
        np.testing.assert_array_equal(narrow(array).astype(array.dtype), array)


@pytest.mark.parametrize("bad", [np.array(1.0), np.array(["a"]), np.array([object()]), np.array([1j])])
def test_only_numbers_with_an_axis(bad):
    with pytest.raises(ValueError, match="column 'x' must be an array of numbers"):
        encode_array("x", bad)


@pytest.mark.parametrize(
    "column",
    [
        pb.Column(name="x", dtype="<f8", shape=[2], data=bytes(15)),
        pb.Column(name="x", dtype="<f8", shape=[], data=bytes(8)),
        pb.Column(name="x", dtype="<f8", shape=[2], encoding=pb.CONSTANT, data=bytes(4)),
        pb.Column(name="x", dtype="<i8", shape=[2], encoding=pb.LINEAR, data=bytes(8)),
        pb.Column(name="x", dtype="<f8", shape=[2], encoding=pb.LINEAR, data=bytes(16)),
        pb.Column(name="x", dtype="<u3", shape=[2], encoding=pb.LINEAR, data=bytes(6)),
        pb.Column(name="x", dtype="<i8", shape=[2, 2], encoding=pb.LINEAR, data=bytes(16)),
        pb.Column(name="x", dtype="<f8", shape=[2], encoding=pb.ZLIB_SHUFFLE, data=b"no zlib"),
        pb.Column(name="x", dtype="<f8", shape=[2], encoding=pb.ZLIB_SHUFFLE, data=zlib.compress(bytes(100))),
        pb.Column(name="x", dtype="<f8", shape=[2], encoding=pb.ZLIB_SHUFFLE, data=zlib.compress(bytes(8))),
        pb.Column(name="x", dtype="<u3", shape=[2], data=bytes(8)),
        pb.Column(name="x", dtype="<f8", shape=[MAX_BYTES], encoding=pb.CONSTANT, data=bytes(8)),
        pb.Column(name="x", dtype="<f8", shape=[2**40, 2**40], data=bytes(8)),
    ],
)
def test_damage_is_found(column):
    with pytest.raises(CorruptChunkError, match="column 'x'"):
        decode_array(column)


def test_a_bomb_is_not_inflated():
    bomb = zlib.compress(bytes(200_000_000), 9)
    with pytest.raises(CorruptChunkError):
        decode_array(pb.Column(name="x", dtype="<f8", shape=[1], encoding=pb.ZLIB_SHUFFLE, data=bomb))


@pytest.mark.parametrize("dtype", ["<f16", "O", "<U4", "nonsense", "f8,i4", "(2,)f8", "", "<M8[s]", "<c16", "<u5"])
def test_an_unknown_number_type_is_told_from_damage(dtype):
    with pytest.raises(UnknownEncodingError):
        decode_array(pb.Column(name="x", dtype=dtype, shape=[1], data=bytes(16)))


def test_an_unknown_encoding_is_told_from_damage():
    with pytest.raises(UnknownEncodingError, match="unknown encoding 9"):
        decode_array(pb.Column(name="x", dtype="<f8", shape=[1], encoding=9, data=bytes(8)))
