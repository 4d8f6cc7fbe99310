"""A boundary that cannot be judged says why; one that can, and is quiet, is within noise."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from tb_losslens import diagnose
from tb_losslens.report import print_text
from tb_losslens.store.run import Gap, Run

RNG = np.random.default_rng(0)


def run(loss: np.ndarray, length: int = 50) -> Run:
    return Run.from_arrays(loss=loss, epoch_length=length)


def noise(n: int) -> np.ndarray:
    return RNG.normal(1.0, 0.1, n)


def broken(first: int, last: int, n: int = 400) -> np.ndarray:
    loss = noise(n)
    loss[first:last] = np.nan
    return loss


@pytest.mark.parametrize(
    ("made", "at", "why"),
    [
        (run(noise(24), 4), 2, "an epoch has 4 batches"),
        (run(broken(200, 400)), 5, "no finite loss on either side"),
        (run(broken(200, 400)), 3, "no finite loss after it"),
        (run(broken(100, 200)), 3, "no finite loss before it"),
        (run(noise(353)), 6, "only 3 batches after it"),
        (replace(run(noise(400)), gaps=(Gap(200, 30),)), 3, "batches are missing beside it"),
        (replace(run(noise(400)), gaps=(Gap(202, 30),)), 3, "batches are missing beside it"),
        (run(noise(100)), 0, "too few boundaries"),
    ],
)
def test_why_a_boundary_is_not_measured(made: Run, at: int, why: str) -> None:
    said = diagnose(made)
    assert said.boundaries[at].unmeasured == why
    assert said.to_dict()["boundaries"][at]["unmeasured"] == why
    out = io.StringIO()
    print_text(said, Console(file=out, width=200), boundaries=99)
    begin = [str(at + 1), str(made.step[said.boundaries[at].batch])]
    line = next(line for line in out.getvalue().splitlines() if line.split()[1:3] == begin)
    assert f"not measurable: {why}" in line
    assert "within noise" not in line
    assert f"not measurable: {why}" in said.to_markdown() or not np.isfinite(said.boundaries[at].jump)


def test_a_quiet_boundary_is_within_noise() -> None:
    said = diagnose(run(noise(400)))
    assert {b.unmeasured for b in said.boundaries} == {""}
    out = io.StringIO()
    print_text(said, Console(file=out, width=200))
    assert "within noise" in out.getvalue()
    assert "not measurable" not in out.getvalue()
