"""Parts of a jump whose truth is known, and the parts that must be left out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tb_losslens.analysis.decompose import batch_size_term, decompose, which_samples
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.finding import Finding
from tb_losslens.analysis.jump import measure
from tb_losslens.store.run import Ragged, Run
from tests.trainings import train

CLASS_LOSS = np.array([0.2, 1.0, 2.5])


def by_class(rng: np.random.Generator, *, skew: float = 0.0, noise: float = 0.02, length: int = 80) -> Run:
    """Batches of 64 whose loss is the mean of their classes' losses; at row 320 the next 5 hold more of class 2 by `skew`."""
    n = 8 * length
    loss, lists = np.empty(n), []
    for row in range(n):
        p = np.array([0.5, 0.3, 0.2])
        if 4 * length <= row < 4 * length + 5:
            p += skew * np.array([-1.0, 0.0, 1.0])
        counts = rng.multinomial(64, p)
        loss[row] = counts @ CLASS_LOSS / 64 + noise * rng.normal()
        lists.append(np.stack([[7, 8, 11], counts], axis=1))
    run = Run.from_arrays(loss=loss, epoch_length=length, batch_size=np.full(n, 64))
    return replace(run, ragged={"classes": Ragged.from_lists(lists)})


def true_composition(run: Run, row: int, m: int) -> float:
    counts = run.ragged["classes"].values[:, 1].reshape(-1, 3)
    share = counts / counts.sum(axis=1, keepdims=True)
    return float((share[row : row + m].mean(axis=0) - share[row - m : row].mean(axis=0)) @ CLASS_LOSS)


@pytest.mark.parametrize("skew", [0.0, 0.3])
def test_the_class_mix_accounts_for_what_it_brought(skew: float) -> None:
    run = by_class(np.random.default_rng(1), skew=skew)
    boundary = measure(run)[0][3]
    value, note = which_samples(run, boundary)
    assert value == pytest.approx(true_composition(run, boundary.batch, boundary.m), abs=0.02)
    assert "class mix" in note
    if skew:
        assert value == pytest.approx(boundary.jump, abs=0.05)


def test_a_class_mix_that_predicts_nothing_is_left_out() -> None:
    run = by_class(np.random.default_rng(2))
    run = replace(run, columns={**run.columns, "loss": np.random.default_rng(3).normal(size=len(run))})
    value, note = which_samples(run, measure(run)[0][3])
    assert value is None
    assert "makes no difference" in note


def test_classes_in_blocks_cannot_be_told_from_position() -> None:
    n, length = 640, 80
    low = np.arange(n) % length < length // 2
    lists = [np.array([[0, 60], [1, 4]]) if first else np.array([[0, 4], [1, 60]]) for first in low]
    loss = 1 + 0.5 * low + 0.01 * np.random.default_rng(4).normal(size=n)
    run = replace(Run.from_arrays(loss=loss, epoch_length=length), ragged={"classes": Ragged.from_lists(lists)})
    value, note = which_samples(run, measure(run)[0][3])
    assert value is None
    assert "cannot be told from when they came" in note


def test_per_sample_losses_tell_what_came_in_a_real_training() -> None:
    run = train(data="gaussian", model="linear", lr=0.02, epochs=6, per_sample=True, batch_size=16, samples=800)
    hidden = replace(run, ragged={k: v for k, v in run.ragged.items() if k != "per_sample"})
    left = []
    for boundary in measure(run)[0][1:-1]:
        value, note = which_samples(run, boundary)
        assert value is not None, note
        assert abs(boundary.jump - value) < abs(boundary.jump) + 0.02
        left.append((boundary.jump, boundary.jump - value))
    moved, rest = np.std(left, axis=0)
    assert rest < 0.3 * moved  # hard samples are hard in other epochs too: little is left of the noise
    assert which_samples(hidden, boundary)[1]


def test_batches_of_another_size_are_taken_out() -> None:
    rng = np.random.default_rng(5)
    loss = 1 + 0.01 * rng.normal(size=400)
    size = np.full(400, 32)
    size[39::40] = 3
    loss[39::40] += 2.0
    run = Run.from_arrays(loss=loss, epoch_length=40, batch_size=size)
    boundary = measure(run)[0][4]
    assert boundary.jump == pytest.approx(-0.4, abs=0.03)
    assert batch_size_term(run, boundary) == pytest.approx(-0.4, abs=0.03)
    assert batch_size_term(Run.from_arrays(loss=loss, epoch_length=40), boundary) is None


def finding(cause: str, share: float | None, boundaries: tuple[int, ...] = (4,), *, explains: bool = True) -> Finding:
    return Finding(cause, "fault", "proved", "t", "t", share=share, boundaries=boundaries, explains_jump=explains)


@pytest.mark.parametrize(
    "findings",
    [
        (),
        (finding("lr_increase", 0.84),),
        (finding("lr_increase", 0.84), finding("wrong_mode", 0.6)),
        (finding("repeated_order", 0.5, explains=False),),
        (finding("incomplete_shuffle", 0.7),),
        (finding("partial_last_batch", None),),
        (finding("lr_increase", 0.84, (1, 2)),),
    ],
)
def test_the_parts_add_up_to_the_jump(findings: tuple[Finding, ...]) -> None:
    run = train(epochs=8, drop_last=False, batch_size=50)
    boundary = measure(run)[0][4]
    terms, note = decompose(run, boundary, findings)
    assert note
    assert terms[-1].label == "jump"
    assert terms[-1].value == boundary.jump
    assert terms[-2].label == "not explained"
    assert math.fsum(t.value for t in terms[:-1]) == pytest.approx(boundary.jump, abs=1e-12)
    assert len({t.label for t in terms}) == len(terms)


def test_a_finding_gets_its_share_of_what_is_beyond_the_trend() -> None:
    run = train(epochs=8)
    boundary = measure(run)[0][4]
    terms, _ = decompose(run, boundary, (finding("lr_increase", 0.84),))
    assert terms[0].label == "LR step"
    assert (terms[0].kind, terms[0].cause) == ("fault", "lr_increase")
    assert terms[0].value == pytest.approx(0.84 * (boundary.jump - boundary.placebo_median))


def test_nothing_is_decomposed_where_nothing_was_measured() -> None:
    run = Run.from_arrays(loss=np.full(40, np.nan), epoch_length=10)
    boundary = diagnose(run).boundaries[0]
    assert decompose(run, boundary, ())[0] == ()
