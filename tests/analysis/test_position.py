"""Data that lie in an order of difficulty, mixed only within quarters: the loss tells, where class mix and ids cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from tb_losslens.analysis.engine import build_context, diagnose
from tb_losslens.analysis.position import profile
from tb_losslens.store.run import Run
from tests.once import once
from tests.trainings import train

PER_EPOCH = 50


def in_quarters(epoch: int, samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.concatenate([part[rng.permutation(len(part))] for part in np.array_split(np.arange(samples), 4)])


def harder(x: Tensor, step: int, epoch: int) -> Tensor:
    """Samples later in the data set are noisier."""
    return x + 0.1 * (step % PER_EPOCH) * torch.randn_like(x)


def easier(x: Tensor, step: int, epoch: int) -> Tensor:
    return x + 0.1 * (PER_EPOCH - step % PER_EPOCH) * torch.randn_like(x)


@once
def training(difficulty: str = "none", *, mixed: bool = False, epochs: int = 6) -> Run:
    change = {"none": None, "harder": harder, "easier": easier}[difficulty]
    order = None if mixed else in_quarters
    return train(data="gaussian", order=order, change_inputs=change, epochs=epochs, lr=0.05)


@pytest.mark.parametrize(("difficulty", "sign"), [("harder", -1), ("easier", 1)])
def test_an_order_of_difficulty_is_the_fault_and_not_memorization(difficulty: str, sign: int) -> None:
    diagnosis = diagnose(training(difficulty))
    best = diagnosis.findings[0]
    assert diagnosis.pooled.direction == sign
    assert (best.cause, best.kind, best.strength, best.explains_jump) == ("incomplete_shuffle", "fault", "likely", True)
    assert best.share is not None
    assert best.share > 0.5
    assert not [f for f in diagnosis.findings if f.cause in ("memorization", "unknown")]
    assert all("do no harm" not in line and "p = 0.06" not in line for f in diagnosis.findings for line in f.evidence)


def test_an_order_without_difficulty_explains_no_jump() -> None:
    found = [f for f in diagnose(training()).findings if f.cause == "incomplete_shuffle"]
    assert [f.explains_jump for f in found] == [False]
    assert any("do not take back" in line for line in found[0].against)


def test_the_profile_is_the_change_within_the_epochs() -> None:
    run = training("harder")
    context = build_context(run)
    seen = profile(context)
    assert seen is not None
    ends = [run.loss[e.last - 5 : e.last].mean() - run.loss[e.first : e.first + 5].mean() for e in run.epochs[1:]]
    assert seen.within == pytest.approx(np.median(ends))
    blocks = [[part.mean() for part in np.array_split(run.loss[e.first : e.last], 8)] for e in run.epochs[1:]]
    assert seen.p == pytest.approx(stats.friedmanchisquare(*np.array(blocks).T).pvalue)
    assert seen.explains()


def test_mixed_samples_have_no_profile() -> None:
    for seed in range(8):
        run = train(data="gaussian", epochs=6, lr=0.05, seed=seed)
        seen = profile(build_context(run))
        assert seen is not None
        assert not seen.explains()
