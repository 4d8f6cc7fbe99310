import json
from dataclasses import replace

import numpy as np
import pytest

from tb_losslens.errors import CorruptChunkError, LossLensError, NewerFormatError
from tb_losslens.events import losslens_pb2 as pb
from tb_losslens.events.codec import Chunk, Encoded, Record, decode_chunk, encode_chunk, open_chunk
from tb_losslens.events.crc32c import crc32c
from tb_losslens.events.metadata import FORMAT


def example():
    rng = np.random.default_rng(1)
    lengths = np.array([2, 0, 3])
    return Chunk(
        "s1",
        7,
        3,
        {
            "loss": rng.normal(size=3),
            "step": np.array([7, 8, 9]),
            "classes": rng.integers(0, 10, (5, 2)),
            "classes.len": lengths,
        },
        (Record("note", 8, 80, 1.5, 'quotes " / <b> ünï', {"a": [1, None, "x"], "b": {"c": 0.1}}), Record("epoch_end", 10)),
    )


def forged(**changes):
    """The example's bytes with other fields, the checksum made right again."""
    outer = pb.Chunk.FromString(encode_chunk(example()))
    for name, value in changes.items():
        setattr(outer, name, value)
    if "body_crc32c" not in changes:
        outer.body_crc32c = crc32c(outer.body)
    return outer.SerializeToString()


def forged_body(change):
    body = pb.Body.FromString(pb.Chunk.FromString(encode_chunk(example())).body)
    change(body)
    return forged(body=body.SerializeToString())


def assert_same(a, b):
    assert (a.session, a.first_batch, a.count, a.records) == (b.session, b.first_batch, b.count, b.records)
    assert list(a.columns) == list(b.columns)
    for name, array in a.columns.items():
        np.testing.assert_array_equal(array, b.columns[name])
        assert array.dtype == b.columns[name].dtype


def test_comes_back():
    assert_same(decode_chunk(encode_chunk(example())), example())
    assert example().end == 10


def test_a_chunk_of_records_alone():
    chunk = Chunk("s1", 0, 0, {}, (Record("facts", 0, fields={"start": 1.5}),))
    assert_same(decode_chunk(encode_chunk(chunk)), chunk)


def test_what_json_cannot_hold_is_kept_as_text():
    record = decode_chunk(encode_chunk(Chunk("s", 0, 0, records=(Record("note", 0, fields={"x": {1}}),)))).records[0]
    assert record.fields == {"x": "{1}"}


def test_the_schema_alone_is_enough_to_read_it():
    outer = pb.Chunk.FromString(encode_chunk(example()))
    body = pb.Body.FromString(outer.body)
    assert (outer.format, outer.session, outer.first_batch, outer.count) == (FORMAT, "s1", 7, 3)
    loss = next(column for column in body.columns if column.name == "loss")
    assert loss.encoding == pb.RAW
    np.testing.assert_array_equal(np.frombuffer(loss.data, "<f8"), example().columns["loss"])
    assert json.loads(body.records[0].fields)["a"] == [1, None, "x"]


@pytest.mark.parametrize("columns", [{"loss": np.zeros(2)}, {"x": np.zeros(4), "x.len": np.ones(3, int)}])
def test_lengths_must_fit(columns):
    with pytest.raises(ValueError, match="must have 3 elements"):
        encode_chunk(Chunk("s", 0, 3, columns))


def test_every_flipped_bit_is_found():
    data = encode_chunk(example())
    body = pb.Chunk.FromString(data).body
    begin = data.index(body)
    rng = np.random.default_rng(0)
    for position in rng.integers(begin, begin + len(body), 200):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(CorruptChunkError):
            decode_chunk(bytes(damaged))


def test_every_cut_is_found():
    data = encode_chunk(example())
    for end in range(len(data)):
        with pytest.raises(CorruptChunkError):
            decode_chunk(data[:end])


@pytest.mark.parametrize("data", [b"", b"\x00", b"not a chunk at all", bytes(1000), b"\xff" * 50])
def test_other_bytes_are_no_chunk(data):
    with pytest.raises(CorruptChunkError):
        decode_chunk(data)


def test_a_newer_format_is_told_from_damage():
    with pytest.raises(NewerFormatError, match=r"written by a newer LossLens \(format 12, this one reads up to 1\)") as caught:
        decode_chunk(forged(format=12))
    assert caught.value.format == 12
    assert isinstance(caught.value, LossLensError)
    # whatever a later format does with the rest
    with pytest.raises(NewerFormatError):
        decode_chunk(pb.Chunk(format=FORMAT + 1, body=b"something else").SerializeToString())


def test_an_unknown_encoding_costs_its_column_only():
    def change(body):
        body.columns[0].encoding = 77

    chunk = decode_chunk(forged_body(change))
    assert chunk.unknown == ("loss",)
    assert list(chunk.columns) == ["step", "classes", "classes.len"]


@pytest.mark.parametrize("index", [2, 3])
def test_a_list_without_one_of_its_halves_is_no_list(index):
    def change(body):
        body.columns[index].dtype = "<q99"

    assert list(decode_chunk(forged_body(change)).columns) == ["loss", "step"]


@pytest.mark.parametrize("fields", ["[1]", "{", "7"])
def test_fields_must_be_an_object(fields):
    def change(body):
        body.records[0].fields = fields

    with pytest.raises(CorruptChunkError, match="record of kind 'note'"):
        decode_chunk(forged_body(change))


def test_a_count_that_asks_for_all_memory():
    with pytest.raises(CorruptChunkError, match="claims 4294967295 batches"):
        open_chunk(forged(count=2**32 - 1))
    empty = pb.Chunk(format=1, session="s", count=2**32 - 1, body=pb.Body(records=[pb.Record(kind="x")]).SerializeToString())
    empty.body_crc32c = crc32c(empty.body)
    with pytest.raises(CorruptChunkError):
        open_chunk(empty.SerializeToString())


@pytest.mark.parametrize("changes", [{"count": 4}, {"first_batch": -1}, {"session": ""}, {"format": 0}, {"body_crc32c": 1}])
def test_a_wrong_head_is_found(changes):
    with pytest.raises(CorruptChunkError):
        decode_chunk(forged(**changes))


def test_negative_list_lengths_are_found():
    def change(body):
        body.columns[3].CopyFrom(pb.Column(name="classes.len", dtype="<i8", shape=[3], data=np.array([6, -2, 1]).tobytes()))

    with pytest.raises(CorruptChunkError):
        decode_chunk(forged_body(change))


def test_fields_that_are_text_already_are_the_same_record():
    fields = {"a": [1, 0.1, None, float("inf")], "b": {"c": "\x7f\u00e9"}}
    plain = Record("note", 3, 4, 5.0, "text", fields)
    encoded = replace(plain, fields=Encoded(json.dumps(fields)))
    assert encoded == plain
    assert (len(encoded.fields), list(encoded.fields), encoded.fields["b"]) == (2, ["a", "b"], {"c": "\x7f\u00e9"})
    chunks = [encode_chunk(Chunk("s", 0, 0, records=(one,))) for one in (plain, encoded)]
    assert chunks[0] == chunks[1]
    assert decode_chunk(chunks[1]).records == (plain,)
    nothing = [Record("note", 0, fields=one) for one in ({}, Encoded("{}"))]
    assert len({encode_chunk(Chunk("s", 0, 0, records=(one,))) for one in nothing}) == 1
