"""What boundaries say against a finding that explains them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tb_losslens.analysis.against import with_against
from tb_losslens.analysis.finding import Boundary, Evidence, Finding
from tb_losslens.analysis.jump import measure
from tb_losslens.store.run import Run


@pytest.fixture(scope="module")
def boundaries() -> tuple[Boundary, ...]:
    """Jumps of +1 at boundaries 2, 3 and 5 of 7, and of -1 at the sixth."""
    rng = np.random.default_rng(0)
    level = np.repeat([0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 2.0, 2.0], 100)
    found, _ = measure(Run.from_arrays(loss=5 + level + 0.05 * rng.normal(size=800), epoch_length=100))
    assert [b.index for b in found if b.significant] == [1, 2, 4, 5]
    return found


def said(known: tuple[Boundary, ...], /, **fields: object) -> list[str]:
    one = Finding("lr_increase", "fault", "likely", "title", "text.", **fields)  # type: ignore[arg-type]
    return [str(evidence) for evidence in with_against([one], known)[0].against]


def test_a_jump_the_same_way_that_it_does_not_name(boundaries: tuple[Boundary, ...]) -> None:
    (text,) = said(boundaries, boundaries=(1, 2))
    assert text.startswith("the loss jumps the same way at boundary 5 (+")
    assert text.endswith(", where this is not"), "the sixth jumps the other way"
    marked = tuple(replace(b, cause="input_shift") if b.index == 4 else b for b in boundaries)
    assert said(marked, boundaries=(1, 2))[0].endswith("where this is not, and which is `input_shift`")


def test_a_boundary_that_it_names_and_that_does_not_jump(boundaries: tuple[Boundary, ...]) -> None:
    (text,) = said(boundaries, boundaries=(1, 2, 4, 6))
    assert text.startswith("one by one, the jump at 1 of these 4 boundaries lies where 95")


def test_what_is_left_over(boundaries: tuple[Boundary, ...]) -> None:
    (text,) = said(boundaries, boundaries=(1, 2, 4), share=0.7)
    assert text.startswith("30\u202f% of the jump is left over, of ")
    assert not said(boundaries, boundaries=(1, 2, 4), share=0.97)


def test_what_explains_nothing_or_knows_better_is_left_as_it_is(boundaries: tuple[Boundary, ...]) -> None:
    assert not said(boundaries, boundaries=(1,), explains_jump=False)
    assert not said(boundaries, boundaries=())
    assert said(boundaries, boundaries=(1,), against=(Evidence("it is known"),)) == ["it is known"]
