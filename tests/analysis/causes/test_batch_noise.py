"""Noise that is only noise, and what is more."""

from __future__ import annotations

import re

import numpy as np

from tb_losslens.analysis.causes import batch_noise
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.engine import build_context, diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.analysis.series import falling, jumping
from tests.trainings import train


def test_a_healthy_training_is_noise() -> None:
    (found,) = findings(batch_noise, train(data="gaussian", lr=0.05))
    assert (found.kind, found.strength) == ("benign", "likely")
    assert "11 boundaries" in found.text
    assert not found.boundaries  # nothing to mark


def test_the_advice_says_how_many_batches_would_resolve_the_trend() -> None:
    (found,) = findings(batch_noise, train(data="gaussian", lr=0.05))
    context: Context = build_context(train(data="gaussian", lr=0.05))
    needed = int(re.search(r"average (\d+) batches", found.advice)[1])  # type: ignore[index]
    level = np.median([b.before for b in context.boundaries])
    half = np.median([(b.placebo_high - b.placebo_low) / 2 for b in context.boundaries])
    # a window of `needed` batches has a band of a tenth of the loss
    assert (
        half * np.sqrt(context.boundaries[0].m / needed)
        <= 0.1 * level
        <= half * np.sqrt(context.boundaries[0].m / (needed - 1))
    )


def test_a_window_longer_than_an_epoch_is_not_advised() -> None:
    """With epochs of 20 batches and noise as large as the loss, no window inside an epoch resolves a tenth of it."""
    loss = np.random.default_rng(0).gamma(1.0, 1.0, 400)
    (found,) = findings(batch_noise, Run.from_arrays(loss=loss, epoch_length=20))
    assert "epochs of 20 batches" in found.advice
    assert "average" not in found.advice


def test_jumps_beyond_noise_are_not_noise() -> None:
    assert "more than noise" in checked(batch_noise, jumping(np.random.default_rng(0), 4.0))


def test_one_jump_is_enough_to_be_more() -> None:
    loss = 1 + 0.1 * np.random.default_rng(1).normal(size=480)
    loss[200:] += 1.0
    assert "1 boundary beyond" in checked(batch_noise, Run.from_arrays(loss=loss, epoch_length=40))


def test_a_short_run_is_refused() -> None:
    assert "1 boundary" in skipped(batch_noise, Run.from_arrays(loss=np.ones(40), epoch_length=20)).why


def test_what_lies_outside_its_own_band_is_not_called_noise() -> None:
    """Over seeded noise, short and long: the sentence holds by the numbers that stand in it."""
    rng = np.random.default_rng(31)
    for _ in range(60):
        epochs, length = int(rng.integers(3, 9)), int(rng.integers(12, 60))
        run = Run.from_arrays(loss=falling(rng, epochs, length), epoch_length=length)
        context = build_context(run)
        inside = sum(b.placebo_low <= b.jump <= b.placebo_high for b in context.boundaries)
        for found in findings(batch_noise, run):
            few = any("only" in line and "cuts lie around" in line for line in found.against)
            assert few == (2 * inside <= len(context.boundaries))
            assert f"At {inside} of " in found.text


def test_signs_that_all_agree_do_not_speak_for_noise() -> None:
    """Five small drops: p = 0.06 is the least that five signs can give."""
    rng = np.random.default_rng(3)
    seen = 0
    for _ in range(200):
        run = Run.from_arrays(loss=falling(rng, 6, 30), epoch_length=30)
        pooled = build_context(run).pooled
        for found in findings(batch_noise, run):
            one_way = min(pooled.up, pooled.down) == 0
            seen += one_way
            if any("moving average" in line for line in found.against):
                continue  # the noise of some is correlated that much
            open_still = "not clear" in found.text or any("cuts lie around" in line for line in found.against)
            assert (found.strength == "possible") == (one_way or pooled.p < 0.05 or open_still)
            assert any("of 5" in line and "up" in line for line in (found.against if one_way else found.evidence))
            assert ("Nothing to fix" in found.advice) != (one_way or "not clear" in found.text)
    assert seen >= 3


def test_noise_around_few_cuts_is_noise() -> None:
    """In epochs of 16 batches some ten cuts, overlapping, make the band: it leaves out much more than 5 % of noise."""
    kinds = []
    for seed in range(60):
        loss = 1.0 + 0.1 * np.random.default_rng(seed).standard_normal(8 * 16)
        run = Run.from_arrays(loss=loss, epoch_length=16)
        kinds += [f.detail for f in diagnose(run).findings if f.kind == "unknown"]
    assert kinds.count("too_few") <= 1


def test_how_many_of_noise_lie_outside_is_said_beside_how_many_do() -> None:
    """Alone, that 5 of 14 lie where 95 % of cuts do reads as if it were no noise."""
    rng = np.random.default_rng(0)
    said = {True: 0, False: 0}
    for length in [12] * 20 + [120] * 10:
        run = Run.from_arrays(loss=1 + 0.1 * rng.standard_normal(9 * length), epoch_length=length)
        boundaries = build_context(run).boundaries
        outside = sum(not b.placebo_low <= b.jump <= b.placebo_high for b in boundaries)
        for found in findings(batch_noise, run):
            lie = "lies" if outside == 1 else "lie"
            beside = f"; {outside} {lie} outside, where noise around so few cuts puts" in found.text
            assert beside == (outside > 0)
            said[beside] += 1
    assert min(said.values()) >= 3


def test_a_boundary_far_out_is_not_called_noise_without_more() -> None:
    loss = 1.0 + 0.1 * np.random.default_rng(5).standard_normal(8 * 40)
    loss[160:166] += 0.17
    run = Run.from_arrays(loss=loss, epoch_length=40)
    (finding,) = findings(batch_noise, run)
    assert 3 < build_context(run).boundaries[3].z < 6
    assert finding.strength == "possible"
    assert "Boundary 4" in finding.text
    assert "Nothing to fix" not in finding.advice
    assert diagnose(run).verdict.startswith("No jump clearly beyond noise")


def test_jumps_that_no_test_tells_from_noise_are_not_checked_and_fine() -> None:
    """Levels of the epochs that go up and down by two noises of a window: outside of the bands, no one far, no common sign."""
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(60):
        loss = 1 + 0.1 * rng.standard_normal(6 * 60) + 0.12 * ((np.arange(6 * 60) // 60) % 2)
        run = Run.from_arrays(loss=loss, epoch_length=60)
        said = diagnose(run)
        if any(f.detail == "too_few" for f in said.findings):
            seen += 1
            assert "batch_noise" not in {item.cause for item in said.checked}
            assert "no test tells these from noise" in next(s.why for s in said.skipped if s.cause == "batch_noise")
    assert seen >= 3
