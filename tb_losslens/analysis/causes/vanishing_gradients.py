"""The gradient fades on its way back through the layers, so the first ones do not learn, and the loss hardly moves.

What it sees:
    The gradient norm of the weights of each layer, from the very first batch on; the loss against that of the best constant.

Why it matters:
    Each layer multiplies the gradient on its way back by the slope of its activation and the size of its weights. Where that is
    a tenth, the first of eight layers gets a ten-millionth: it stays as it was drawn at random, and whatever the last layers
    could make of the inputs has been lost before. The loss stays at that of a constant.

How it decides:
    By sizes that have no unit. In the first batch that was read, before updates tell of the past, and in most of those after
    it, the largest gradient of the first third of the layers is less than a 200th of the largest of all; it falls from the last
    layer to the first nearly without exception; and the loss has come down by less than a tenth from the best constant, or from
    where it began. Or the gradient of half of the layers is 0 all along. Or both ways: the same holds of the biases, and in the
    first batch the gradient of every weight is less than a 200th of that of the largest bias: what layers are given fades, too.

What to try:
    ReLU or GELU in place of sigmoid and tanh, an initialisation made for them, normalisation, residual connections; fewer
    layers.

When it is wrong:
    Adam makes steps of one size from gradients of any: where the loss falls all the same, it is said and no finding. A last
    layer that begins at zero leaves no gradient before it in the first batch, and does in the next. Frozen layers have no
    gradient at all and are left out. Inputs in a small unit make that of the first layer alone small. Recurrent layers forget
    over time steps, which their weights do not show. False-alarm rate: none on healthy trainings so far. With gradients of
    equal size and a loss that stays, look at the LR (`lr_too_low`) and at the targets.

References:
    Hochreiter, Untersuchungen zu dynamischen neuronalen Netzen, 1991. Glorot and Bengio, Understanding the difficulty of
    training deep feedforward neural networks, 2010.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.fading import both_ways_finding, fades_both_ways
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.layer_gradients import LayerGradients, layer_gradients, optimizers_of
from tb_losslens.analysis.learned import Learned, learned
from tb_losslens.analysis.stats import Floats, median, rank_correlation
from tb_losslens.analysis.text import number, percent, plural, times
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run

ID = "vanishing_gradients"
REQUIRES: tuple[str, ...] = ("loss", "layer_grad_norm")


def find(
    context: Context, *, ratio: float = 0.005, order: float = 0.9, least: int = 4, early: int = 3, most: float = 0.1,
    habit: float = 0.8,
) -> Outcome:  # fmt: skip
    """One finding, or how the gradients of the first and the last layers compare.

    Args:
        context: the run and its measurement.
        ratio: gradient of the first layers over the largest.
        order: rank correlation of the gradient with the place of the layer.
        least: layers with weights.
        early: batches within which the gradients must have been read first.
        most: part of the loss that was learned.
        habit: part of the batches of the first tenth of the run, ten at least, in which the ratio holds.
    """
    run = context.run
    found = layer_gradients(run)
    if found is None or len(found.names) < least:
        count = 0 if found is None else len(found.names)
        return Checked(ID, f"{plural(count, 'layer')} with a gradient: too few for one to fade on its way through them")
    if int(found.rows[0]) >= early:
        since = f"gradients of layers were read first at step {int(run.step[found.rows[0]]):,}, after updates"
        return Skipped(ID, since, f"{how_to_record('layer_grad_norm')}     # before the first batch")
    if optimizers_of(run) > 1:
        return Checked(ID, "several optimisers train, and their layers are not one after the other")
    ends = found.ends()
    first = float(ends[0])
    said = f"the gradient of the first layers is {times(first)} the largest in the first batch"
    count = max(10, int((found.rows < max(1, len(run) // 10)).sum()))
    low = ends[:count] < ratio
    if not low[0] or low.mean() < habit:
        if fades_both_ways(run, found, count, ratio=ratio, order=order, habit=habit, least=least):
            end = learned(run)
            if end is not None and end.part < most:
                return both_ways_finding(run, found, end, cause=ID)
        back = f", and {times(median(ends[:count]))} over the first {plural(len(low), 'batch')}" if low[0] else ""
        return Checked(ID, f"{said}{back}")
    dead = (found.norms[:count] == 0).mean(axis=0) >= habit
    zero = 2 * int(dead.sum()) >= len(found.names)
    if not zero:
        with np.errstate(divide="ignore"):
            sizes = np.log(np.maximum(np.median(found.norms[:count], axis=0), np.finfo(np.float64).tiny))
        rho, _ = rank_correlation(np.arange(len(sizes)), sizes)
        if not rho >= order:
            return Checked(ID, f"{said}, but it does not fall steadily from layer to layer (rank correlation {number(rho, 2)})")
    end = learned(run)
    if end is None or not end.part < most:
        came = "" if end is None else f", yet the loss came down from {number(end.start)} to {number(end.level)}"
        return Checked(ID, f"{said}{came}")
    return _finding(run, found, end, ends[:count], low=low, zero=zero)


def _finding(
    run: Run, found: LayerGradients, end: Learned, ends: Floats, *, low: NDArray[np.bool_], zero: bool
) -> Finding:
    first, last = found.names[0], found.names[int(np.argmax(found.norms[0]))]
    begin, largest = float(found.norms[0, 0]), float(found.norms[0].max())
    span = (int(found.rows[0]), int(found.rows[len(ends) - 1]) + 1)
    layers = len(found.names)
    evidence = [
        Evidence(
            f"in the first batch the gradient of `{first}` is {number(begin)}, that of `{last}` {number(largest)}",
            "layer_grad_norm",
            span,
        )
    ]
    if zero:
        silent = int((found.norms[0] == 0).sum())
        said = f"{silent} of {plural(layers, 'layer')} have a gradient of exactly 0 there"
        evidence.append(Evidence(said, "layer_grad_norm", span))
    elif begin > 0:
        factor = (begin / largest) ** (1 / max(1, found.names.index(last)))
        said = f"each layer of {layers} passes on {percent(factor)} of it, on average"
        evidence.append(Evidence(said, "layer_grad_norm", span))
    held = f"in {int(low.sum()):,} of the first {plural(len(low), 'batch')} that of the first layers is {times(median(ends))}"
    evidence.append(Evidence(f"{held} the largest, or less in half of them", "layer_grad_norm", span))
    from_where = "the best constant has" if end.constant else "the first batches have"
    evidence.append(Evidence(f"{from_where} a loss of {number(end.start)}, the run comes to {number(end.level)}", "loss"))
    what = "There is no gradient" if zero else "The gradient fades"
    return Finding(
        ID, "fault", "likely", f"{what} in the first layers",
        f"The gradient of the first layers is {times(float(ends[0]))} the largest from the first batch on, and the loss stays "
        f"at {number(end.level)}.",
        detail="dead" if zero else "", score=0.8, steps=(int(run.step[found.rows[0]]),), explains_jump=False,
        evidence=tuple(evidence),
        advice="Take ReLU or GELU in place of sigmoid and tanh, with an initialisation that is made for them; put a "
        "normalisation before the activations, or let each block add to its input.",
        fix=f"# {layers} layers, {times(begin / largest)} of the gradient at the first: let each block add to its input\n"
        "class Block(nn.Module):\n"
        "    def __init__(self, width):\n"
        "        super().__init__()\n"
        "        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())\n"
        '        nn.init.kaiming_normal_(self.inner[1].weight, nonlinearity="relu")\n\n'
        "    def forward(self, x):\n"
        "        return x + self.inner(x)",
        confirm="After one backward of the untrained model print the gradient norm of each weight: those of the first and the "
        "last layer should be within a factor of 100.",
    )  # fmt: skip
