"""Whether counts of kinds are drawn from one mix: Pearson's chi-square, for draws that may come in clusters."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.stats import Floats, median


def dispersion(tables: list[Floats], *, blocks: int = 8) -> float:
    """How many times more the batches, or `blocks` of neighbouring ones, of an epoch differ than single draws do; 1 or more."""
    found = [1.0]
    for count in (None, blocks):
        ratios = []
        for table in tables:
            groups = len(table) if count is None else min(count, len(table) // 2)
            if groups < 2:
                continue
            edges = np.arange(len(table)) * groups // len(table)
            sums = np.zeros((groups, table.shape[1]))
            np.add.at(sums, edges, table)
            chi, free = homogeneity(sums)
            ratios.append(chi / free if free else 1.0)
        found.append(median(np.array(ratios)) if ratios else 1.0)
    return max(value for value in found if math.isfinite(value))


def chi_square(a: Floats, b: Floats, spread: float) -> tuple[float, int]:
    """(chi-square of two rows of counts over `spread`, degrees of freedom)."""
    chi, free = homogeneity(np.array([a, b], dtype=np.float64))
    return chi / spread, free


def homogeneity(table: Floats, *, least: float = 5.0) -> tuple[float, int]:
    """Pearson's chi-square of rows of counts; kinds of which fewer than `least` a row are expected are taken together."""
    size, column = table.sum(axis=1), table.sum(axis=0)
    whole = float(column.sum())
    if not whole > 0 or not (size > 0).all():
        return 0.0, 0
    common = column * size.min() / whole >= least
    kept = np.column_stack([table[:, common], table[:, ~common].sum(axis=1)])
    kept = kept[:, kept.sum(axis=0) > 0]
    expected = np.outer(size, kept.sum(axis=0)) / whole
    return float(((kept - expected) ** 2 / expected).sum()), (len(kept) - 1) * (kept.shape[1] - 1)
