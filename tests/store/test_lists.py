import numpy as np
import pytest

from tb_losslens.events.codec import Chunk
from tb_losslens.store.lists import Lists, gather
from tb_losslens.store.run import Ragged


def chunk(session, first, lists, name="ids"):
    """A chunk whose batch i has the list `lists[i]`."""
    lengths = np.array([len(x) for x in lists], np.int16)
    flat = np.array([x for part in lists for x in part])
    return Chunk(session, first, len(lists), {name: flat, f"{name}.len": lengths})


def table(ragged):
    return [ragged[i].tolist() for i in range(len(ragged))]


def test_each_row_gets_the_list_of_its_batch():
    chunks = [chunk("a", 2, [[5], [6, 7]]), chunk("a", 0, [[1, 2], []]), chunk("b", 0, [[9]])]
    rows = [("a", np.arange(4)), ("b", np.arange(1))]
    assert table(gather("ids", rows, chunks)) == [[1, 2], [], [5], [6, 7], [9]]


def test_rows_that_are_left_out_take_their_lists_along():
    chunks = [chunk("a", 0, [[1, 2], [3], [4, 5, 6]]), chunk("a", 3, [[7]])]
    assert table(gather("ids", [("a", np.array([0, 2]))], chunks)) == [[1, 2], [4, 5, 6]]
    assert table(gather("ids", [("a", np.array([1, 3]))], chunks)) == [[3], [7]]


def test_batches_without_a_list_and_doubles():
    chunks = [chunk("a", 2, [[1], [2]]), chunk("a", 2, [[1], [2]]), chunk("a", 3, [[2], [3]])]
    assert table(gather("ids", [("a", np.arange(7))], chunks)) == [[], [], [1], [2], [3], [], []]
    assert table(gather("ids", [("a", np.arange(2)), ("b", np.arange(1))], [])) == [[], [], []]


def test_random_chunks_against_a_plain_dictionary():
    rng = np.random.default_rng(0)
    for _ in range(100):
        lists = {(s, i): rng.integers(0, 99, rng.integers(0, 4)).tolist() for s in "ab" for i in range(20)}
        chunks = []
        for session in "ab":
            for _ in range(5):
                first = int(rng.integers(0, 18))
                chunks.append(chunk(session, first, [lists[session, i] for i in range(first, min(20, first + 5))]))
        there = {(c.session, i) for c in chunks for i in range(c.first_batch, c.end)}
        rows = [(s, np.flatnonzero(rng.random(20) < 0.7)) for s in "ab"]
        wanted = [lists[s, i] if (s, i) in there else [] for s, kept in rows for i in kept]
        assert table(gather("ids", rows, chunks)) == wanted


def test_pairs():
    values = np.arange(12).reshape(6, 2)
    pairs = Chunk("a", 0, 3, {"classes": values, "classes.len": np.array([1, 3, 2])})
    found = gather("classes", [("a", np.array([0, 2]))], [pairs])
    assert found[0].tolist() == [[0, 1]]
    assert found[1].tolist() == [[8, 9], [10, 11]]


def test_lists_of_different_widths_are_left_out():
    chunks = [chunk("a", 0, [[1]]), Chunk("b", 0, 1, {"ids": np.ones((1, 2)), "ids.len": np.array([1])})]
    assert table(gather("ids", [("a", np.arange(1)), ("b", np.arange(1))], chunks)) == [[], []]


def test_large_lists_are_loaded_once_and_only_when_asked_for():
    loads = []

    def load():
        loads.append(1)
        return {"sample_ids": Ragged.from_lists([[1], [2, 3]])}

    lists = Lists({"classes": Ragged.from_lists([[0], [1]])}, frozenset({"sample_ids"}), load)
    assert "sample_ids" in lists
    assert "other" not in lists
    assert sorted(lists) == ["classes", "sample_ids"]
    assert len(lists) == 2
    assert table(lists["classes"]) == [[0], [1]]
    assert loads == []
    assert table(lists["sample_ids"]) == [[1], [2, 3]]
    assert table(lists["sample_ids"]) == [[1], [2, 3]]
    assert loads == [1]
    with pytest.raises(KeyError):
        lists["other"]
