import numpy as np
import pytest

from tb_losslens.store.downsample import bucket_starts, bucket_stats, spread, strongest


@pytest.mark.parametrize(
    ("first", "last", "limit"),
    [(0, 10, 10), (0, 11, 10), (3, 1003, 10), (17, 18, 10), (999, 123_456, 1300), (0, 0, 5), (7, 7, 5)],
)
def test_buckets_cover_the_range_and_keep_to_the_limit(first, last, limit):
    starts = bucket_starts(first, last, limit)
    assert len(starts) <= limit
    assert len(starts) == 0 if first == last else starts[0] == first
    assert (np.diff(starts) > 0).all()
    if last - first > limit:
        sizes = np.diff(starts, append=last)
        assert len(set(sizes[1:-1].tolist())) <= 1  # all alike but the first and the last
        assert (starts[1:] % sizes[1:-1].max(initial=1) == 0).all()  # so panning moves no border
        assert len(starts) >= limit / 2 - 1  # and the room is used


def test_every_row_has_its_own_bucket_once_they_fit():
    assert bucket_starts(5, 15, 10).tolist() == list(range(5, 15))


def test_bucket_stats_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    values = rng.normal(size=5003)
    values[rng.random(5003) < 0.3] = np.nan
    values[1000:1100] = np.nan
    values[7], values[2000] = np.inf, -np.inf
    starts = bucket_starts(13, 4990, 100)
    stats = bucket_stats(values, starts, 4990)
    for at, (a, b) in enumerate(zip(starts, [*starts[1:], 4990], strict=True)):
        part = [v for v in values[a:b].tolist() if abs(v) < float("inf")]
        if not part:
            assert np.isnan([stats.mean[at], stats.low[at], stats.high[at]]).all()
            continue
        assert stats.mean[at] == pytest.approx(sum(part) / len(part), rel=1e-12, abs=1e-12)
        assert (stats.low[at], stats.high[at]) == (min(part), max(part))
    assert np.isnan(stats.mean).any()  # the loop above met both cases


def test_an_all_finite_series_takes_the_same_values_as_the_careful_path():
    values = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    starts = bucket_starts(0, 1000, 30)
    quick = bucket_stats(values, starts, 1000)
    with_a_hole_elsewhere = np.append(values, np.float32("nan"))
    careful = bucket_stats(with_a_hole_elsewhere, np.append(starts, 1000), 1001)
    for a, b in zip(quick, careful, strict=True):
        np.testing.assert_array_equal(a, b[:-1])


def test_an_empty_range_has_no_buckets():
    stats = bucket_stats(np.arange(5.0), bucket_starts(0, 0, 10), 0)
    assert [len(column) for column in stats] == [0, 0, 0]


@pytest.mark.parametrize(("count", "limit"), [(0, 4), (4, 4), (5, 4), (100_001, 400), (3, 1)])
def test_spread_keeps_the_ends_and_the_limit(count, limit):
    kept = spread(count, limit)
    assert len(kept) <= limit or count <= limit
    if count and limit > 1:
        assert (kept[0], kept[-1]) == (0, count - 1)
    assert (np.diff(kept) > 0).all()


def test_strongest_keeps_the_largest_in_order_and_unknown_last():
    z = np.array([0.1, -9.0, np.nan, 3.0, np.inf, -0.2])
    assert strongest(z, 3).tolist() == [1, 3, 4]
    assert strongest(z, 5).tolist() == [0, 1, 3, 4, 5]
    assert strongest(z, 6).tolist() == list(range(6))
