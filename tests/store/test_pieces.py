import itertools

import numpy as np

from tb_losslens.events.codec import Chunk
from tb_losslens.store.pieces import resolve


def batches(chunks):
    """The batches that `resolve` gives, as indices, and the holes."""
    pieces, holes = resolve(chunks)
    return [i for p in pieces for i in range(p.chunk.first_batch + p.skip, p.chunk.end)], holes


def chunk(first, count):
    return Chunk("s", first, count)


def test_in_order_whatever_the_order():
    for order in itertools.permutations([chunk(0, 3), chunk(3, 2), chunk(5, 0), chunk(5, 4)]):
        assert batches(order) == (list(range(9)), [])


def test_doubles_and_overlaps_count_once():
    assert batches([chunk(0, 3), chunk(0, 3), chunk(1, 2), chunk(0, 2), chunk(2, 4)]) == (list(range(6)), [])


def test_holes():
    assert batches([chunk(2, 3), chunk(7, 1)]) == ([2, 3, 4, 7], [(0, 2), (5, 7)])
    assert batches([chunk(0, 1), chunk(4, 0)]) == ([0], [(1, 4)])
    assert batches([chunk(0, 1), chunk(4, 0), chunk(9, 0), chunk(10, 1)]) == ([0, 10], [(1, 10)])
    assert batches([chunk(0, 1), chunk(3, 1), chunk(6, 1)]) == ([0, 3, 6], [(1, 3), (4, 6)])
    assert batches([]) == ([], [])


def test_any_set_of_chunks_gives_each_batch_once():
    rng = np.random.default_rng(0)
    for _ in range(300):
        chunks = [chunk(int(a), int(n)) for a, n in zip(rng.integers(0, 40, 8), rng.integers(0, 10, 8), strict=True)]
        there = sorted({i for c in chunks for i in range(c.first_batch, c.end)})
        found, holes = batches(chunks)
        assert found == there
        missing = [i for first, end in holes for i in range(first, end)]
        assert sorted(there + missing) == list(range(max(c.end for c in chunks)))
