import itertools

import numpy as np

from tb_losslens.events.codec import Chunk
from tb_losslens.store.pieces import resolve


def batches(chunks):
    """The batches that `resolve` gives, as indices."""
    pieces, lost = resolve(chunks)
    return [i for p in pieces for i in range(p.chunk.first_batch + p.skip, p.chunk.end)], lost


def chunk(first, count):
    return Chunk("s", first, count)


def test_in_order_whatever_the_order():
    for order in itertools.permutations([chunk(0, 3), chunk(3, 2), chunk(5, 0), chunk(5, 4)]):
        assert batches(order) == (list(range(9)), 0)


def test_doubles_and_overlaps_count_once():
    assert batches([chunk(0, 3), chunk(0, 3), chunk(1, 2), chunk(0, 2), chunk(2, 4)]) == (list(range(6)), 0)


def test_gaps_are_counted():
    assert batches([chunk(2, 3), chunk(7, 1)]) == ([2, 3, 4, 7], 4)
    assert batches([chunk(0, 1), chunk(4, 0)]) == ([0], 3)
    assert batches([]) == ([], 0)


def test_any_set_of_chunks_gives_each_batch_once():
    rng = np.random.default_rng(0)
    for _ in range(300):
        chunks = [chunk(int(a), int(n)) for a, n in zip(rng.integers(0, 40, 8), rng.integers(0, 10, 8), strict=True)]
        there = sorted({i for c in chunks for i in range(c.first_batch, c.end)})
        assert batches(chunks) == (there, max(c.end for c in chunks) - len(there))
