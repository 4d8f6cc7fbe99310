"""Whether what passes through the layers fades on its way forward as well as back, so that all weights have little gradient."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.layer_gradients import LayerGradients, layer_gradients
from tb_losslens.analysis.learned import Learned
from tb_losslens.analysis.stats import rank_correlation
from tb_losslens.analysis.text import number, times
from tb_losslens.store.run import Run


def fades_both_ways(
    run: Run, found: LayerGradients, count: int, *, ratio: float, order: float, habit: float, least: int
) -> bool:
    """True if what passes through the layers fades forwards and backwards: then all weights have equally little gradient.

    The gradient of a weight is that of what its layer puts out times what the layer is given: where the one fades on its way
    back and the other on its way forward, their product is the same in each layer. The gradients of the biases are the first
    factor alone; and the largest of the weights, beside the largest of the biases, tells the second, in the first batch: after
    it the biases have moved, and the last layers are given something that does not depend on the input.

    Args:
        run: with gradients of layers.
        found: those of its weights.
        count: of its rows that are asked.
        ratio: gradient of the first layers over the largest, and at first of the weights over that of the largest bias.
        order: rank correlation of the gradient with the place of the layer.
        habit: part of the rows in which the first of these holds.
        least: layers with a bias.
    """
    biases = layer_gradients(run, of="bias")
    if biases is None or len(biases.names) < least or not np.array_equal(biases.rows[:count], found.rows[:count]):
        return False
    rho, _ = rank_correlation(np.arange(len(biases.names)), np.median(biases.norms[:count], axis=0))
    back = biases.ends()[:count] < ratio
    forth = found.norms[0].max() < ratio * biases.norms[0].max()
    return bool(rho >= order and forth and back[0] and back.mean() >= habit)


def both_ways_finding(run: Run, found: LayerGradients, end: Learned, *, cause: str) -> Finding:
    """The finding for it, with the sizes of the first batch."""
    biases = layer_gradients(run, of="bias")
    assert biases is not None
    first, last, span = float(biases.norms[0, 0]), float(biases.norms[0].max()), (int(found.rows[0]), int(found.rows[0]) + 1)
    weight, name = float(found.norms[0].max()), biases.names[int(np.argmax(biases.norms[0]))]
    from_where = "the best constant has" if end.constant else "the first batches have"
    evidence = (
        Evidence(
            f"in the first batch the gradient of `{biases.names[0]}` is {number(first)}, that of `{name}` {number(last)}: "
            "it fades on its way back",
            "layer_grad_norm",
            span,
        ),
        Evidence(
            f"that of any weight is {number(weight)} at most: what a layer is given fades on its way there",
            "layer_grad_norm",
            span,
        ),
        Evidence(f"{from_where} a loss of {number(end.start)}, the run comes to {number(end.level)}", "loss"),
    )
    return Finding(
        cause, "fault", "likely", "What passes through the layers fades, forwards and backwards",
        f"The gradient of every weight is {times(weight / last)} that of the largest bias in the first batch, and the "
        f"loss stays at {number(end.level)}: the output hardly depends on the input.",
        detail="both_ways", score=0.8, steps=(int(run.step[found.rows[0]]),), explains_jump=False, evidence=evidence,
        advice="Larger weights at the start: an initialisation that keeps the size of what passes through (Kaiming for ReLU, "
        "Xavier for tanh), a normalisation after each layer, or blocks that add to their input.",
        fix="for module in model.modules():\n"
        "    if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):\n"
        "        nn.init.kaiming_normal_(module.weight)     # its size follows from the number of inputs",
        confirm="Print the spread of what each layer puts out for one batch: those of the first and the last layer should be "
        "within a factor of 100.",
    )  # fmt: skip
