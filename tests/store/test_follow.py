from pathlib import Path

import numpy as np
import pytest

from tb_losslens.events.codec import Chunk, decode_chunk, encode_chunk
from tb_losslens.events.metadata import batch_tag, ids_tag
from tb_losslens.record.disk.chunks import chunk_event
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.store import follow
from tb_losslens.store.follow import Follower


@pytest.fixture
def file(tmp_path):
    file = EventFile(tmp_path)
    yield file
    file.close()


def write(file, session, first, count, tag=batch_tag):
    chunk = Chunk(session, first, count, {"loss": np.zeros(count)})
    file.add_bytes(chunk_event(tag(session, 0), first, encode_chunk(chunk)))
    file.flush()


def found(follower, file, **ends):
    newer = follower.newer(Path(file.get_logdir()), ends)
    return [(c.session, c.first_batch) for c in (decode_chunk(stored.data) for stored in newer.batches)], len(newer.ids)


def test_only_what_is_not_known_yet(file):
    follower = Follower()
    for first in (0, 10, 20):
        write(file, "a", first, 10)
        write(file, "a", first, 10, ids_tag)
    assert found(follower, file) == ([("a", 0), ("a", 10), ("a", 20)], 3)
    assert found(follower, file, a=10) == ([("a", 10), ("a", 20)], 2)
    assert found(follower, file, a=30) == ([], 0)
    write(file, "a", 30, 5)
    write(file, "b", 0, 5)
    assert found(follower, file, a=30) == ([("a", 30), ("b", 0)], 0)
    assert found(follower, file, a=35, b=5) == ([], 0)


def test_what_is_known_is_not_read_again(file):
    follower = Follower()
    write(file, "a", 0, 10)
    assert found(follower, file, a=10) == ([], 0)
    path = Path(file.path)
    path.write_bytes(bytes(path.stat().st_size))  # whoever reads it again finds nothing behind it
    write(file, "a", 10, 10)
    assert found(follower, file, a=10) == ([("a", 10)], 0)


def test_a_chunk_that_is_being_written_is_read_when_it_is_complete(file, tmp_path):
    write(file, "a", 0, 10)
    write(file, "a", 10, 10)
    path = Path(file.path)
    data = path.read_bytes()
    follower = Follower()
    path.write_bytes(data[:-7])
    assert found(follower, file, a=10) == ([], 0)
    path.write_bytes(data)
    assert found(follower, file, a=10) == ([("a", 10)], 0)


def test_only_the_end_of_a_large_file_is_read(file, monkeypatch):
    monkeypatch.setattr(follow, "FURTHEST", 2000)
    for first in range(0, 500, 10):
        write(file, "a", first, 10)
    newest = found(Follower(), file)[0]
    assert newest[-1] == ("a", 490)
    assert 3 < len(newest) < 30
    assert [first for _, first in newest] == list(range(newest[0][1], 500, 10))


def test_nothing_to_follow(tmp_path):
    assert Follower().newer(tmp_path, {}).batches == []
