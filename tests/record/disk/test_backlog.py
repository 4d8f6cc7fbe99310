from tb_losslens.record.disk.backlog import KEPT_BYTES, KEPT_CHUNKS, Backlog


def filled(chunks):
    """A backlog of chunks 0, 1, ... with an event after each, and the list of (chunk, written) that they are told."""
    backlog, told = Backlog(), []
    for i in range(chunks):
        backlog.add(b"c%d" % i, lambda good, i=i: told.append((i, good)))
        backlog.add(b"e%d" % i)
    return backlog, told


def test_everything_is_written_in_order():
    backlog, told = filled(3)
    assert backlog.data == b"c0e0c1e1c2e2"
    backlog.written()
    assert told == [(0, True), (1, True), (2, True)]
    assert not backlog


def test_the_oldest_chunks_give_way():
    backlog, told = filled(KEPT_CHUNKS + 2)
    backlog.shed()
    assert told == [(0, False), (1, False)]
    assert backlog.data.startswith(b"e0e1c2e2c3")
    backlog.shed()
    assert len(told) == 2


def test_the_oldest_events_give_way_and_a_large_one_at_once():
    backlog = Backlog()
    backlog.add(bytes(KEPT_BYTES + 1))
    backlog.shed()
    assert backlog.data == b""
    for i in range(10):
        backlog.add(bytes([i]) * (KEPT_BYTES // 4))
    backlog.shed()
    assert backlog.data == b"".join(bytes([i]) * (KEPT_BYTES // 4) for i in range(6, 10))


def test_chunks_alone():
    backlog, told = filled(3)
    chunks = backlog.chunks(last_first=True)
    assert [data for data, _ in chunks] == [b"c2", b"c0", b"c1"]
    assert backlog.chunks(last_first=False) == [chunks[1], chunks[2], chunks[0]]
    backlog.written(chunks[:2])
    assert told == [(2, True), (0, True)]
    assert backlog.data == b"e0c1e1e2"
    backlog.give_up()
    assert told[2:] == [(1, False)]
    assert not backlog
