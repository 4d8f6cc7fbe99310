"""Samples that are known to be missing, doubled, hard or poisonous are found, and those of a healthy run are not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.sample_visits import visits
from tb_losslens.analysis.samples import PARTS, Samples, samples
from tb_losslens.store.run import Ragged, Run, RunEvent
from tests.trainings import train

SIZE, BATCH, EPOCHS = 640, 16, 10
LENGTH = SIZE // BATCH


def a_run(
    orders: list[np.ndarray] | None = None,
    *,
    hard: dict[int, float] | None = None,
    slope: float = 0.0,
    exposure: float = 0.0,
    size: int = SIZE,
    seed: int = 0,
    per_sample: bool = True,
) -> Run:
    """Losses that fall, with noise of their own; `hard` adds to single samples, `slope` for each epoch since one was seen."""
    rng = np.random.default_rng(seed)
    orders = orders or [rng.permutation(SIZE) for _ in range(EPOCHS)]
    ids = np.concatenate(orders)
    last: dict[int, int] = {}
    often: dict[int, int] = {}
    losses = np.empty(len(ids))
    for at, name in enumerate(ids.tolist()):
        gap = (at - last[name]) / SIZE if name in last else 1.0
        losses[at] = 1 + np.exp(-at / 2000) + rng.gamma(4, 0.1) + (hard or {}).get(name, 0.0)
        losses[at] += slope * gap + exposure * often.get(name, 0)
        last[name], often[name] = at, often.get(name, 0) + 1
    n = len(ids) // BATCH
    offsets = np.arange(0, n * BATCH + 1, BATCH)
    ragged = {"sample_ids": Ragged(ids, offsets)}
    if per_sample:
        ragged["per_sample"] = Ragged(losses, offsets)
    loader = {"dataset_size": size}
    events = tuple(
        RunEvent("epoch_end", (k + 1) * LENGTH, fields={"epoch": k, "complete": True, "batches": LENGTH, "loader": loader})
        for k in range(len(orders))
    )
    run = Run.from_arrays(loss=losses.reshape(n, BATCH).mean(axis=1), epoch_length=LENGTH)
    return replace(run, ragged=ragged, events=events)


def part(run: Run, name: str) -> dict[str, Any]:
    found = samples(run).found[name]
    assert found is not None, samples(run).skipped
    return found


def test_visits_are_what_a_slow_count_gives() -> None:
    rng = np.random.default_rng(1)
    run = a_run([rng.integers(0, SIZE, SIZE) for _ in range(3)])
    seen = visits(run)
    often: dict[int, int] = {}
    last: dict[int, int] = {}
    for at, (name, row) in enumerate(zip(seen.ids.tolist(), seen.row.tolist(), strict=True)):
        assert seen.turn[at] == often.get(name, 0)
        assert seen.before[at] == (row - last[name] if name in last else -1)
        assert seen.names[seen.of[at]] == name
        often[name], last[name] = often.get(name, 0) + 1, row
    far = replace(run, ragged={"sample_ids": Ragged(run.ragged["sample_ids"].values * 10**9, run.ragged["sample_ids"].offsets)})
    np.testing.assert_array_equal(visits(far).of, seen.of)
    np.testing.assert_array_equal(visits(far).turn, seen.turn)


def test_a_healthy_run_names_no_sample() -> None:
    run = a_run()
    found = samples(run)
    assert not found.skipped
    assert part(run, "never_seen") == {"count": 0, "of": SIZE, "ids": []}
    assert part(run, "seen_twice")["count"] == 0
    assert part(run, "high")["samples"] == []
    assert part(run, "spikes")["samples"] == []
    assert part(run, "exposures")["slope"] is None
    assert part(run, "gap")["p"] > 0.01
    assert (found.visits, found.distinct) == (SIZE * EPOCHS, SIZE)


def test_samples_that_are_never_and_twice_seen_are_counted_and_named() -> None:
    rng = np.random.default_rng(2)
    kept = np.delete(np.arange(SIZE), [7, 300])
    orders = [rng.permutation(np.concatenate([kept, [11, 12]])) for _ in range(EPOCHS)]
    run = a_run(orders)
    assert part(run, "never_seen") == {"count": 2, "of": SIZE, "ids": [7, 300]}
    twice = part(run, "seen_twice")
    assert (twice["count"], twice["epochs"], sorted(twice["ids"])) == (2, EPOCHS, [11, 12])
    assert "2 of 640 samples were never seen: 7 and 300." in samples(run).text
    assert any("2 samples came more than once in an epoch, in 10 of 10 whole epochs" in text for text in samples(run).text)


def test_an_epoch_that_was_left_early_proves_nothing() -> None:
    run = a_run()
    half = tuple(replace(e, fields={**e.fields, "complete": False}) for e in run.events)
    found = samples(replace(run, events=half))
    assert found.found["never_seen"] is None
    assert found.found["seen_twice"] is None
    assert {("never_seen", "no epoch is whole yet"), ("seen_twice", "no epoch is whole yet")} <= {s[:2] for s in found.skipped}
    assert ("never_seen", "the ids are not places in the data set") in {s[:2] for s in samples(a_run(size=100)).skipped}


def test_samples_that_stay_high_are_those() -> None:
    hard = {5: 3.0, 17: 2.5, 400: 4.0}
    high = part(a_run(hard=hard), "high")
    assert [one["id"] for one in high["samples"]] == [400, 5, 17]
    assert all(one["rank"] > 0.95 and one["losses"] == EPOCHS for one in high["samples"])
    assert high["by_chance"] == pytest.approx(SIZE * 0.1**5)


def test_a_sample_that_comes_with_each_spike_is_found_without_losses_of_single_samples() -> None:
    for seed in range(3):
        run = a_run(hard={99: 40.0}, seed=seed, per_sample=False)
        spikes = part(run, "spikes")
        assert spikes["count"] >= EPOCHS - 1
        assert [one["id"] for one in spikes["samples"]] == [99]
        assert spikes["samples"][0]["spikes"] == spikes["count"]
    found = samples(run)
    assert {s[0] for s in found.skipped} == {"high", "exposures", "gap"}
    assert all("per_sample=" in s[2] for s in found.skipped)
    (untold,) = found.untold
    assert untold.startswith("Left open, as losses of single samples were not recorded (`writer.log_batch(")
    assert untold.endswith(": which stay high, loss by visits and loss by the time since the last visit.")


def test_spikes_of_other_samples_each_time_name_none() -> None:
    rng = np.random.default_rng(3)
    run = a_run(per_sample=False)
    loss = run.loss.copy()
    loss[rng.choice(len(loss) - 20, 12, replace=False) + 10] += 5.0
    spikes = part(replace(run, columns={**run.columns, "loss": loss}), "spikes")
    assert spikes["count"] >= 8
    assert spikes["samples"] == []


@pytest.mark.parametrize("slope", [0.5, -0.5])
def test_the_loss_that_goes_with_the_gap_has_its_slope(slope: float) -> None:
    gap = part(a_run(slope=slope), "gap")
    assert gap["slope"] == pytest.approx(slope, abs=0.08)
    assert gap["p"] < 1e-6


def test_exposures_are_told_from_time_where_they_differ_within_a_batch() -> None:
    rng = np.random.default_rng(4)
    drawn = [rng.integers(0, SIZE, SIZE) for _ in range(EPOCHS)]
    assert part(a_run(drawn, exposure=-0.05), "exposures")["slope"] == pytest.approx(-0.05, abs=0.01)
    flat = part(a_run(drawn), "exposures")
    assert flat["p"] > 0.01
    shown, count, loss = flat["columns"]
    assert shown[:3] == [0, 1, 2]
    assert sum(count) <= SIZE * EPOCHS
    assert loss[0] > loss[5]


def test_a_real_training_has_hard_samples_and_says_so() -> None:
    run = train(epochs=8, per_sample=True, samples=800, batch_size=32)
    found = samples(run)
    assert found.found["never_seen"] is not None
    high = found.found["high"]
    assert high is not None
    assert high["count"] > 10 * high["by_chance"]


def test_runs_without_ids_or_with_too_many_say_so() -> None:
    plain = Run.from_arrays(loss=np.random.default_rng(5).normal(size=200), epoch_length=50)
    found = samples(plain)
    assert [s[0] for s in found.skipped] == list(PARTS)
    assert {s[1:] for s in found.skipped} == {("sample ids were not recorded", "train_loader = writer.wrap(train_loader)")}
    assert found.text == ()
    assert len(found.untold) == 1
    assert "sample ids were not recorded (`train_loader = writer.wrap(train_loader)`)" in found.untold[0]
    assert found.untold[0] in diagnose(plain).to_markdown()
    assert "more than 100 visits" in samples(a_run(), most=100).skipped[0][1]


def test_it_is_part_of_the_diagnosis_and_of_every_form_of_it() -> None:
    run = a_run(hard={5: 3.0, 400: 4.0})
    diagnosis = diagnose(run)
    told = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))["samples"]
    assert [one["id"] for one in told["high"]["samples"]] == [400, 5]
    assert set(told) == {"visits", "distinct", "text", "skipped", *PARTS}
    assert "### Samples" in diagnosis.to_markdown()
    assert "400 and 5" in diagnosis.to_markdown()
    assert diagnose(Run("empty")).to_dict()["samples"] is None


@pytest.mark.parametrize("values", [np.full(64, np.nan), np.full(64, np.inf), np.zeros(64), np.full(64, 1e307)])
def test_losses_that_are_not_finite_and_ids_that_are_unknown_do_no_harm(values: np.ndarray) -> None:
    offsets = np.arange(0, 65, 8)
    run = Run.from_arrays(loss=values.reshape(8, 8).mean(axis=1), epoch_length=4)
    for ids in (np.full(64, -1), np.arange(64), np.zeros(64, dtype=np.int64)):
        with np.errstate(all="raise"):
            found = samples(replace(run, ragged={"sample_ids": Ragged(ids, offsets), "per_sample": Ragged(values, offsets)}))
        assert isinstance(found, Samples)
        assert not [s for s in found.skipped if "failed" in s[1]], found.skipped
        json.dumps(found.to_dict(), allow_nan=False)
