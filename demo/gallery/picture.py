"""The confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np


def draw(matrix: Mapping[str, Mapping[str, int]], path: Path) -> None:
    """Rows are the causes that are there, columns what leads the findings; a cell's shade is its share of the row."""
    from matplotlib.figure import Figure

    truths = list(matrix)
    said = sorted({cause for row in matrix.values() for cause in row}, key=lambda cause: (cause.startswith("("), cause))
    counts = np.array([[matrix[truth].get(cause, 0) for cause in said] for truth in truths], float)
    shares = counts / counts.sum(1, keepdims=True)
    figure = Figure(figsize=(3 + 0.32 * len(said), 2.4 + 0.26 * len(truths)))
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(said)), said, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(truths)), truths, fontsize=7)
    axes.set_xlabel("what leads the findings")
    axes.set_ylabel("the cause that is there")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            shade = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, f"{count:.0f}", ha="center", va="center", fontsize=7, color=shade)
    figure.tight_layout()
    figure.savefig(path)
