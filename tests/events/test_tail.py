"""What stands in a tail is read back, and half-written things are not. The writing side is tests/record/test_kill.py."""

import json
import struct

import numpy as np
import pytest

from tb_losslens.errors import CorruptChunkError, NewerFormatError
from tb_losslens.events.codec import Record
from tb_losslens.events.tail import (
    HEADER_BYTES,
    LIST,
    LOG,
    RECORD,
    ROWS,
    list_description,
    read_tail,
    record_payload,
    tail_token,
)
from tb_losslens.record.disk.ring import Ring

LAYOUT = (("loss", "d"), ("step", "q"))


@pytest.fixture
def ring(tmp_path):
    ring = Ring(tmp_path, "s1", warn=pytest.fail, segment_bytes=16 << 10)
    yield ring
    ring.close(remove=False)


def fill(ring, first, rows):
    """A segment with `rows` rows from batch `first` on, their ids, and one record."""
    segment = ring.acquire(first, LAYOUT, 10)
    for i in range(rows):
        ids = np.array([first + i, 7], np.int16)
        assert segment.append(LIST, first + i, list_description("sample_ids", ids), ids.tobytes())
        struct.pack_into("=dq", ring.memory, segment.rows + 16 * i, (first + i) / 10, first + i)
        ring.words[segment.rows_word] = i + 1
    assert segment.append(RECORD, first, b"", record_payload(Record("note", first, 3, 4.5, "té", {"a": [1]})))
    return segment


def damage(ring, position, data):
    content = bytearray(ring.path.read_bytes())
    content[position : position + len(data)] = data
    other = ring.path.with_name("copy.tail")
    other.write_bytes(content)
    return other


def test_rows_lists_and_records_come_back(ring):
    fill(ring, 10, 3)
    fill(ring, 13, 2)
    fill(ring, 5, 5)
    tail = read_tail(ring.path)
    assert tail.session == "s1"
    assert [(c.session, c.first_batch, c.count) for c in tail.chunks] == [("s1", 5, 5), ("s1", 10, 3), ("s1", 13, 2)]
    chunk = tail.chunks[1]
    np.testing.assert_array_equal(chunk.columns["loss"], [1.0, 1.1, 1.2])
    assert chunk.columns["step"].tolist() == [10, 11, 12]
    assert chunk.columns["sample_ids"].tolist() == [10, 7, 11, 7, 12, 7]
    assert chunk.columns["sample_ids.len"].tolist() == [2, 2, 2]
    assert chunk.records == (Record("note", 10, 3, 4.5, "té", {"a": [1]}),)


def test_a_released_segment_is_empty(ring):
    fill(ring, 0, 3).releaser()()
    assert read_tail(ring.path).chunks == ()
    assert ring.empty


def test_a_row_that_is_not_counted_is_not_read(ring):
    segment = fill(ring, 0, 3)
    ring.words[segment.rows_word] = 2
    (chunk,) = read_tail(ring.path).chunks
    assert chunk.columns["loss"].tolist() == [0.0, 0.1]
    assert chunk.columns["sample_ids"].tolist() == [0, 7, 1, 7]  # ids of the third stand there, its row does not


def test_rewind_takes_rows_and_log_back(ring):
    segment = fill(ring, 0, 2)
    mark = segment.log_end
    ids = np.array([9], np.int64)
    segment.append(LIST, 2, list_description("sample_ids", ids), ids.tobytes())
    ring.words[segment.rows_word] = 3
    segment.rewind(mark, 2)
    (chunk,) = read_tail(ring.path).chunks
    assert chunk.count == 2
    assert chunk.columns["sample_ids.len"].tolist() == [2, 2]


def test_a_full_log_refuses(ring):
    segment = ring.acquire(0, LAYOUT, 10)
    assert not segment.append(RECORD, 0, b"", bytes(20_000))
    taken = 0
    while segment.append(RECORD, 0, b"", record_payload(Record("note", 0, text="x" * 1000))):
        taken += 1
    assert 10 < taken < 16
    assert segment.room < 1100
    assert len(read_tail(ring.path).chunks[0].records) == taken


def test_no_free_segment_and_too_large_a_row(ring):
    with pytest.raises(ValueError, match="do not fit"):
        ring.acquire(0, tuple((f"c{i}", "d") for i in range(5000)), 1)
    segments = []
    while (segment := ring.acquire(0, LAYOUT, 10)) is not None:
        segments.append(segment)
    assert len(segments) == 6
    segments[2].releaser()()
    assert ring.acquire(0, LAYOUT, 10) is segments[2]


def test_the_token_changes_with_every_row_and_record(ring):
    tokens = [tail_token(ring.path)]
    segment = fill(ring, 0, 1)
    tokens.append(tail_token(ring.path))
    ring.words[segment.rows_word] = 2
    tokens.append(tail_token(ring.path))
    segment.append(RECORD, 0, b"", record_payload(Record("note", 0)))
    tokens.append(tail_token(ring.path))
    assert len(set(tokens)) == 4
    assert tail_token(ring.path) == tokens[-1]
    assert tail_token(ring.path.with_name("none")) == ("none",)


@pytest.mark.parametrize("data", [b"x", b"LLTAIL\r\n", b"LLTAIL\r\n\xff\xff\xff\xff{}", b"x" * 9000])
def test_other_files_are_no_tails(tmp_path, data):
    (tmp_path / "x.tail").write_bytes(data)
    with pytest.raises(CorruptChunkError, match=r"x\.tail"):
        read_tail(tmp_path / "x.tail")
    assert tail_token(tmp_path / "x.tail") == ("x.tail",)


@pytest.mark.parametrize("size", [0, 9000])
def test_a_tail_that_is_being_made(tmp_path, size):
    (tmp_path / "x.tail").write_bytes(bytes(size))
    assert read_tail(tmp_path / "x.tail") is None


def test_a_tail_cut_short(ring):
    fill(ring, 0, 3)
    content = ring.path.read_bytes()
    for size in (100, HEADER_BYTES, len(content) - 1):
        short = ring.path.with_name("short.tail")
        short.write_bytes(content[:size])
        with pytest.raises(CorruptChunkError):
            read_tail(short)


@pytest.mark.parametrize(
    ("position", "data"),
    [
        (HEADER_BYTES + 8 * ROWS, struct.pack("<q", 11)),
        (HEADER_BYTES + 8 * ROWS, struct.pack("<q", -1)),
        (HEADER_BYTES + 8 * LOG, struct.pack("<q", 2**40)),
        (HEADER_BYTES + 8 * LOG, struct.pack("<q", 9)),
        (HEADER_BYTES + 8 * 4, struct.pack("<q", 2**40)),
        (HEADER_BYTES + 8 * 5, struct.pack("<q", 3)),
        (HEADER_BYTES + 8 * 6, struct.pack("<q", 2**40)),
        (HEADER_BYTES + 64, b"nonsense"),
    ],
)
def test_a_damaged_segment(ring, position, data):
    fill(ring, 0, 3)
    with pytest.raises(CorruptChunkError, match=r"a segment of copy\.tail is damaged"):
        read_tail(damage(ring, position, data))


def test_a_newer_format(ring):
    header = json.dumps({"format": 9, "anything": "else"}).encode()
    with pytest.raises(NewerFormatError):
        read_tail(damage(ring, 8, len(header).to_bytes(4, "little") + header))
