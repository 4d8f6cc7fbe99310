"""How the size of the gradient runs through the layers, from the first to the last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.per_layer import by_layer
from tb_losslens.analysis.stats import Floats
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class LayerGradients:
    """Gradient norms of the weights without the biases, or of the biases alone.

    Attributes:
        names: of the layers, in the order in which the model has them.
        rows: batches in which they were read.
        norms: shape (rows, layers).
    """

    names: list[str]
    rows: Rows
    norms: Floats

    def ends(self, part: float = 1 / 3) -> Floats:
        """Largest norm of the first `part` of the layers (two at least) over the largest of all, shape (rows,)."""
        count = max(2, int(part * len(self.names)))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            out: Floats = self.norms[:, :count].max(axis=1) / self.norms.max(axis=1)
        return out


def layer_gradients(run: Run, last: int | None = None, *, of: str = "weight") -> LayerGradients | None:
    """Of the batches before row `last`; None where no layers were read. Layers without a gradient throughout are left out.

    `of`: "weight", or "bias", whose gradient is that of what the layer puts out, without the size of what it is given.
    """
    end = len(run) if last is None else min(last, len(run))
    names, table = by_layer(run, "layer_grad_norm", 0, end)
    parts = [i for i, name in enumerate(names) if name.rpartition(".")[2].startswith(of)]
    table = table[:, parts]
    used = np.flatnonzero(np.isfinite(table).any(axis=0))
    rows = np.flatnonzero(np.isfinite(table[:, used]).all(axis=1)) if len(used) else np.empty(0, dtype=np.int64)
    if not len(rows):
        return None
    return LayerGradients([names[parts[i]] for i in used], rows.astype(np.int64), table[np.ix_(rows, used)])


def optimizers_of(run: Run) -> int:
    """Optimisers whose state was recorded at an epoch's ends, 0 if none was."""
    states = [event.fields.get("optimizer_state") for event in run.events]
    return max((len(state) for state in states if isinstance(state, list | tuple)), default=0)
