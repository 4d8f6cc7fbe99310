"""The parts as written add up to the sum as written."""

import numpy as np
import pytest

from tb_losslens.html.adding_up import adding_up


def read(text: str) -> float:
    return float(text.replace("\u2212", "-").replace(",", ""))


def test_written_parts_add_up() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        parts = rng.normal(size=rng.integers(1, 7)) * 10 ** rng.uniform(-3, 3)
        texts = adding_up([*parts.tolist(), float(parts.sum())])
        decimals = {len(text.partition(".")[2]) for text in texts}
        assert len(decimals) == 1
        assert sum(map(read, texts[:-1])) == pytest.approx(read(texts[-1]), abs=1e-9)
        unit = 10.0 ** -decimals.pop()
        assert all(abs(read(text) - value) <= 1.5 * unit for text, value in zip(texts, [*parts, parts.sum()], strict=True))


def test_a_sum_that_does_not_hold_is_written_as_it_is() -> None:
    assert adding_up([0.1, 0.2, 0.9]) == ["+0.10", "+0.20", "+0.90"]


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [1e9, 1e9], [1e-9, 1e-9]])
def test_nothing_and_extremes(values: list[float]) -> None:
    assert len(adding_up(values)) == len(values)
