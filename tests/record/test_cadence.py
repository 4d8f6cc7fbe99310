import itertools

import pytest

from tb_losslens.record.cadence import BOUNDARY, GRANT, IN_TURN, LEAST, MOST, SHARE, SPARSE, Cadence


class Work:
    """A clock that a training and its recording move on."""

    def __init__(self, step, sparse, dense):
        self.now = self.spent = 0.0
        self.step, self.cost = step, {False: sparse, True: dense}

    def train(self, cadence, rows, length):
        out = []
        for i in range(rows):
            kind = cadence.next(i % length if length else -1, length)
            cost = self.cost[kind != SPARSE]
            self.now += self.step + cost
            self.spent += cost
            out.append(kind)
        return out


def run(step, sparse, dense, rows=60_000, length=1000):
    work = Work(step, sparse, dense)
    return work.train(Cadence(lambda: work.spent, lambda: work.now), rows, length)


@pytest.mark.parametrize(("step", "extra"), [(250e-6, 100e-6), (2e-3, 200e-6), (0.1, 2e-3), (0.4, 5e-3)])
def test_dense_rows_cost_their_share_in_the_long_run(step, extra):
    kinds = run(step, 10e-6, 10e-6 + extra, rows=120_000)  # the second half begins after what is granted is spent
    late = kinds[len(kinds) // 2 :]
    share = sum(kind != SPARSE for kind in late) * extra / (len(late) * step)
    allowed = max(SHARE, min(LEAST / step, MOST))
    assert share <= 1.25 * allowed
    assert share >= 0.6 * allowed


def test_where_signals_cost_less_than_the_share_every_row_is_dense():
    assert SPARSE not in run(0.4, 10e-6, 0.8 * SHARE * 0.4, rows=20_000)


def test_what_is_granted_makes_short_runs_dense():
    extra = 150e-6
    kinds = run(250e-6, 20e-6, 20e-6 + extra)
    first = next(i for i, kind in enumerate(kinds) if kind == SPARSE)
    assert first * extra == pytest.approx(GRANT, rel=0.3)


def test_rows_near_a_boundary_come_first():
    late = run(250e-6, 10e-6, 60e-6)[30_000:]
    near = [kind for i, kind in enumerate(late) if min(i % 1000, 1000 - i % 1000) <= 20]
    far = [kind for i, kind in enumerate(late) if min(i % 1000, 1000 - i % 1000) > 50]
    share = [sum(kind != SPARSE for kind in part) / len(part) for part in (near, far)]
    assert share[0] > 4 * share[1] > 0
    assert set(near) <= {SPARSE, BOUNDARY}
    assert set(far) <= {SPARSE, IN_TURN}


def test_without_epochs_rows_are_dense_in_turn():
    late = run(250e-6, 10e-6, 60e-6, length=0)[30_000:]
    gaps = [len(list(group)) for kind, group in itertools.groupby(late) if kind == SPARSE]
    assert set(late) == {SPARSE, IN_TURN}
    assert max(gaps[1:-1]) - min(gaps[1:-1]) <= 1  # the first and the last are cut off


def test_one_slow_start_or_pause_does_not_use_up_what_may_be_spent():
    work = Work(1e-3, 20e-6, 120e-6)
    cadence = Cadence(lambda: work.spent, lambda: work.now)
    work.train(cadence, 1, 500)
    work.spent += 3.0  # code is loaded for the first row
    work.now += 3.0
    work.train(cadence, 99, 500)
    work.spent += 0.2  # and a file is opened
    work.now += 30.0
    assert SPARSE not in work.train(cadence, 400, 500)


@pytest.mark.parametrize("odd", [0.0, -1e-3, 5e-3])
@pytest.mark.parametrize("at", range(1, 9))
def test_one_dense_row_that_is_measured_wrong_does_not_make_all_rows_dense(odd, at):
    """What was spent is told by two clocks, one less the other: it may come to nothing, or less, for the first row of all."""
    work = Work(250e-6, 20e-6, 170e-6)
    cadence = Cadence(lambda: work.spent, lambda: work.now)
    work.train(cadence, at, 1000)
    work.spent += odd - work.cost[True]
    kinds = work.train(cadence, 40_000, 1000)
    assert sum(kind != SPARSE for kind in kinds[20_000:]) < 0.1 * 20_000


def test_an_interrupted_sparse_row_does_not_make_all_rows_dense():
    """While all rows are dense, no sparse one is measured again."""
    work = Work(250e-6, 20e-6, 170e-6)
    cadence = Cadence(lambda: work.spent, lambda: work.now)
    while work.train(cadence, 1, 0) != [SPARSE]:
        pass
    work.spent += 5e-3
    kinds = work.train(cadence, 40_000, 1000)
    assert sum(kind != SPARSE for kind in kinds[20_000:]) < 0.1 * 20_000


def test_unusual_rows_are_few():
    work = Work(1e-3, 0.0, 0.0)
    cadence = Cadence(lambda: work.spent, lambda: work.now)
    allowed = 0
    for i in range(50_000):
        cadence.next(i, 0)
        allowed += cadence.unusual()
    assert 0.01 * 50_000 < allowed < 0.03 * 50_000


def test_each_boundary_has_dense_rows_where_they_cost_next_to_nothing():
    """Long after what is granted is spent, and with an income that pays for a row now and then only."""
    step, extra, length = 5e-3, 0.7e-3, 400
    late = run(step, 10e-6, 10e-6 + extra, rows=40_000, length=length)[20_000:]
    beside = [late[i + j] for i in range(length, len(late), length) for j in (-2, -1, 0, 1)]
    assert set(beside) == {BOUNDARY}
    share = sum(kind != SPARSE for kind in late) * extra / (len(late) * step)
    assert share <= 1.25 * (SHARE + 4 * extra / (length * step))


def test_each_boundary_has_one_on_either_side_where_two_would_cost_too_much():
    step, extra, length = 5e-3, 1.2e-3, 400
    late = run(step, 10e-6, 10e-6 + extra, rows=40_000, length=length)[20_000:]
    assert {late[i + j] for i in range(length, len(late), length) for j in (-1, 0)} == {BOUNDARY}
    assert SPARSE in {late[i + j] for i in range(length, len(late), length) for j in (-2, 1)}


def test_they_have_none_where_they_would_cost_much():
    late = run(250e-6, 10e-6, 2e-3, rows=300_000, length=100)[100_000:]  # of one dense row in 3,000
    share = sum(kind != SPARSE for kind in late) * 2e-3 / (len(late) * 250e-6)
    assert share <= 1.25 * min(LEAST / 250e-6, MOST)


def test_a_clock_that_goes_back_is_forgotten():
    """Each thread has its own: where the loop goes on in another one, the steps after that are measured as ever."""
    work = Work(2e-3, 10e-6, 210e-6)
    cadence = Cadence(lambda: work.spent, lambda: work.now)
    work.train(cadence, 60_000, 1000)
    work.now -= 1e3
    late = work.train(cadence, 60_000, 1000)[30_000:]
    share = sum(kind != SPARSE for kind in late) * 200e-6 / (len(late) * 2e-3)
    assert 0.5 * SHARE < share < 2 * max(SHARE, min(LEAST / 2e-3, MOST))


def back_to_what_is_cheap(first):
    """A training in which each dense row makes the two rows after it dear, and the first of these rows costs `first` more."""
    work = Work(250e-6, 10e-6, 210e-6)
    cadence, kinds, dear = Cadence(lambda: work.spent, lambda: work.now), [], 0
    for _ in range(400_000):
        kinds += work.train(cadence, 1, 0)
        dear = 2 if kinds[-1] != SPARSE else dear
        if dear and kinds[-1] == SPARSE:
            work.spent, work.now, dear = work.spent + 0.3e-3 + first, work.now + 0.3e-3 + first, dear - 1
            first = 0.0
    return kinds


@pytest.mark.parametrize("first", [0.0, 0.3, 3.0])
def test_what_the_rows_after_a_dense_one_cost_is_part_of_it_whatever_the_first_of_them_cost(first):
    late = back_to_what_is_cheap(first)[200_000:]
    share = sum(kind != SPARSE for kind in late) * (200e-6 + 2 * 0.3e-3) / (len(late) * 250e-6)
    allowed = max(SHARE, min(LEAST / 250e-6, MOST))
    assert 0.3 * allowed < share < 1.6 * allowed
