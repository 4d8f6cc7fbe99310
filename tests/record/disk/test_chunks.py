"""The events of a chunk are what TensorBoard keeps for us."""

import time

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2, types_pb2
from tensorboard.util import tensor_util

from tb_losslens.events.codec import Record, decode_chunk
from tb_losslens.events.metadata import CHUNKS_PER_SHARD
from tb_losslens.record.disk.chunks import ChunkWriter, OpenChunk

LAYOUT = (("loss", "d"), ("step", "q"), ("nothing", "d"), ("none", "q"), ("epoch", "q"))


def open_chunk(first, rows, lists=None, records=()):
    table = np.zeros((rows, len(LAYOUT)), np.int64)
    table[:, 0] = (np.arange(first, first + rows) / 3).view(np.int64)
    table[:, 1] = np.arange(first, first + rows)
    table[:, 2] = np.full(rows, np.nan).view(np.int64)
    table[:, 3] = -1
    return OpenChunk(first, rows, LAYOUT, table.tobytes(), lists or {}, tuple(records))


def values(events):
    parsed = [event_pb2.Event.FromString(event) for event in events]
    return [(event.step, value) for event in parsed for value in event.summary.value]


def test_an_event_as_tensorboard_wants_it():
    before = time.time()
    (data,) = ChunkWriter("s1").events(open_chunk(5, 3))
    event = event_pb2.Event.FromString(data)
    assert before <= event.wall_time <= time.time()
    ((step, value),) = values([data])
    assert step == 5
    assert value.tag == "losslens/s1/b/0"
    assert value.metadata.plugin_data.plugin_name == "losslens"
    assert value.metadata.data_class == summary_pb2.DATA_CLASS_TENSOR
    assert value.tensor.dtype == types_pb2.DT_STRING
    array = tensor_util.make_ndarray(value.tensor)
    assert array.shape == ()
    assert decode_chunk(array.item()).first_batch == 5


def test_columns_without_a_known_value_are_left_out_and_others_kept_exactly():
    ((_, value),) = values(ChunkWriter("s1").events(open_chunk(0, 4)))
    chunk = decode_chunk(value.tensor.string_val[0])
    assert list(chunk.columns) == ["loss", "step", "epoch"]
    np.testing.assert_array_equal(chunk.columns["loss"], np.arange(4) / 3)
    assert chunk.columns["step"].tolist() == [0, 1, 2, 3]
    assert (chunk.session, chunk.first_batch, chunk.count) == ("s1", 0, 4)


def test_large_lists_get_a_tag_of_their_own():
    lists = {
        "sample_ids": {0: np.array([7, 8]), 2: np.array([9])},
        "per_sample": {1: np.array([0.5])},
        "classes": {0: np.array([[1, 2]])},
    }
    note = Record("note", 1, 1, 2.0, "x")
    small, large = values(ChunkWriter("s1").events(open_chunk(10, 3, lists, [note])))
    assert (small[1].tag, large[1].tag) == ("losslens/s1/b/0", "losslens/s1/i/0")
    assert small[0] == large[0] == 10
    batches, ids = (decode_chunk(value.tensor.string_val[0]) for _, value in (small, large))
    assert set(batches.columns) == {"loss", "step", "epoch", "classes", "classes.len"}
    assert batches.records == (note,)
    assert set(ids.columns) == {"sample_ids", "sample_ids.len", "per_sample", "per_sample.len"}
    assert ids.columns["sample_ids"].tolist() == [7, 8, 9]
    assert ids.columns["sample_ids.len"].tolist() == [2, 0, 1]
    assert ids.columns["sample_ids"].dtype == np.uint16
    assert ids.records == ()


def test_shards_hold_ten_chunks_and_steps_rise_in_each():
    writer = ChunkWriter("s1")
    tags = [values(writer.events(open_chunk(first, 1)))[0][1].tag for first in range(25)]
    assert tags == [f"losslens/s1/b/{first // CHUNKS_PER_SHARD}" for first in range(25)]
    # one without rows begins where the next one does: TensorBoard would drop the first of two equal steps
    again = [values(writer.events(open_chunk(25, rows)))[0] for rows in (0, 2)]
    assert [(step, value.tag) for step, value in again] == [(25, "losslens/s1/b/2"), (25, "losslens/s1/b/3")]
