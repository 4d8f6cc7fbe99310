"""The last batch of each epoch is smaller than the others, and only its loss is off.

What it sees:
    Batch size and loss of the last batch of every epoch, against the batches right before it.

Why it matters:
    The mean over 5 samples strays sqrt(64/5) = 3.6 times as far as the mean over 64: a spike at the end of each epoch that
    means nothing, yet moves the level before the boundary. With `reduction="sum"` the loss and the gradient shrink
    with the batch, so that the last step of each epoch is a smaller step: that is a fault.

How it decides:
    Equal sizes veto it. Where the losses of single samples are known, or which function of output and target the loss is, an
    equality tells a sum from a mean, whatever constant it is divided by. Else the distance of the last batch from the m before
    it is compared, over all epochs, with the run's own noise scaled by sqrt(N/n + 1/m). Off by about the factor n/N, in epoch
    after epoch or over all of them: the loss depends on the size; a sum does that, and so does a contrastive loss, whose
    negatives are the rest of the batch, so that without an equality neither is named. Higher by a rank test, where
    BatchNorm saw statistics unlike those of the other batches: BatchNorm on a few samples. Off to one side otherwise: the loss
    depends on the size of the batch. Where the loss is up after the boundaries: the step taken on so few samples, if its
    gradient is larger than usual or the rise follows it. In line: an artifact, reported where it is seen or where a jump goes
    once the last batches are set to the level before them.

What to try:
    `drop_last=True`, or a mean that is weighted by samples; for a sum, the mean with an LR that is larger by as much.

When it is wrong:
    Under a fixed order the last batch holds the same samples each time, so a bias tells nothing (read `repeated_order`). Skewed
    losses make most small batches lower than the mean; a bias must exceed twice the scaled noise, and a lower loss counts
    from 20 samples on, unless an equality tells it. What BatchNorm does to two samples may hide in how far two samples stray;
    then it is not claimed. `python -m demo.healthy` counts false alarms. A jump that does not go with the last batch is another
    cause.

References:
    Standard error of a mean of n samples, sigma / sqrt(n). PyTorch documentation, `DataLoader(drop_last=...)`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.explain import beyond_band, excess, most_are_beyond, typical_excess, with_loss
from tb_losslens.analysis.few_statistics import few_statistics
from tb_losslens.analysis.finding import Checked, Skipped
from tb_losslens.analysis.last_batches import LastBatches, is_sum, last_batches, proportion
from tb_losslens.analysis.last_report import artifact_finding, batchnorm_finding, levelled, size_finding, sum_finding
from tb_losslens.analysis.last_step import step_on_few
from tb_losslens.analysis.reduction import exact_reduction
from tb_losslens.analysis.stats import Floats, finite, median
from tb_losslens.analysis.text import number, plural
from tb_losslens.store.run import Run

ID = "partial_last_batch"
REQUIRES: tuple[str, ...] = ("loss", "epoch", "batch_size")


def find(
    context: Context,
    *,
    small: float = 0.9,
    regular: float = 0.8,
    seen: float = 2.5,
    matters: float = 1.5,
    tiny: float = 0.25,
    in_line: float = 2.0,
    one_sided: float = 2.0,
    least_gone: float = 0.3,
) -> Outcome:
    """Decides from the last batches of all epochs together.

    Args:
        context: the run and its measurement.
        small: a last batch below this part of the usual size is partial.
        regular: at least this part of all batches has the usual size, else sizes vary by design.
        seen: the typical last batch strays this many times as far as a full one: visible on the curve.
        matters: below this it cannot be why a boundary moves.
        tiny: below this part of the usual size its own step may throw the weights off.
        in_line: it strays at most this many times as far as its size allows.
        one_sided: median distance, in standard errors, beyond which the loss depends on the size.
        least_gone: part of a jump that must go with the last batch.
    """
    run = context.run
    sizes = run.float("batch_size")
    usual = median(sizes)
    if not usual > 0:
        return Skipped(ID, "the batch size is unknown", "train_loader = writer.wrap(train_loader)")
    if float(np.nanmin(sizes)) == float(np.nanmax(sizes)):
        return Checked(ID, f"every batch has {usual:,.0f} samples")
    if np.mean(sizes[np.isfinite(sizes)] == usual) < regular:
        return Checked(ID, f"batch sizes vary all along ({np.nanmin(sizes):,.0f} to {np.nanmax(sizes):,.0f} samples)")
    context = _without_false_numbers(context)
    last = last_batches(context, usual, small)
    if len(last.row) < 2:
        return Checked(ID, _too_few(context, sizes, usual, small, len(last.row)))
    raw = median(np.abs(last.off / last.alike)) / 0.6745
    scaled = median(np.abs(last.off / last.scaled)) / 0.6745
    side = median(last.off / last.error)
    n = median(last.size)
    said = (
        f"the last batch has {n:,.0f} of {usual:,.0f} samples; its loss strays {number(raw, 2)} times as far as that of a full "
        f"batch, {number(scaled, 2)} times as far as {plural(round(n), 'sample')} would"
    )
    constant_samples = context.found("repeated_order") is not None
    samples = n if constant_samples else float(last.size.sum())
    whole = proportion(last, usual, samples=samples)
    exact = exact_reduction(run, last.row, usual)
    seems = exact is None and (is_sum(last, usual, samples=samples) or whole.is_sum())
    if exact is not None and exact.kind == "sum":
        return sum_finding(context, last, usual, exact)
    if seems:
        return size_finding(context, last, usual, said)
    few = few_statistics(run, last)
    # BatchNorm is a reason to expect a stray, so that less has to go for it
    gone = (
        _gone(context, last, least_gone, least_of_all=least_gone if few is not None and few.read else 0.7)
        if raw >= matters
        else ()
    )
    kicked = None
    if not gone and context.pooled.direction > 0 and n <= tiny * usual:
        kicked = step_on_few(context, last, usual)
    if few is not None and (few.shows() or (gone and few.read)) and not constant_samples:
        if kicked is not None:
            return replace(kicked, evidence=(*few.in_words(n), *kicked.evidence))
        return batchnorm_finding(context, last, usual, few)
    same_side = max(float((last.off > 0).mean()), float((last.off < 0).mean()))
    leans = len(last.row) >= 6 and abs(side) > one_sided and same_side >= 0.95 and not constant_samples
    # a mean by equality leaves only the network itself to depend on the size
    if leans and (exact is None or _has_batchnorm(run)):
        return size_finding(context, last, usual, said)
    if kicked is not None:
        return kicked
    if scaled > in_line or (not gone and raw < seen):
        return Checked(ID, said)
    return artifact_finding(context, last, usual, said, gone, whole=whole, exact=exact, few=few if few and few.read else None)


def _without_false_numbers(context: Context) -> Context:
    """The same without the losses that were logged in the place of one that is not finite: these are no matter of the size."""
    hidden = context.found("hidden_nonfinite")
    if hidden is None or not hidden.steps:
        return context
    run = context.run
    loss = np.where(np.isin(run.step, hidden.steps), np.nan, run.loss)
    return replace(context, run=replace(run, columns={**run.columns, "loss": loss}))


def _too_few(context: Context, sizes: Floats, usual: float, small: float, judged: int) -> str:
    """Why last batches are not judged: most have nearly the usual size, or the loss before them is not known."""
    ends = finite(sizes[[epoch.last - 1 for epoch in context.epochs]])
    less = ends[ends < usual]
    nearly = less[less > small * usual]
    if 2 * len(nearly) > len(less):
        which = f"{number(median(nearly))} of {number(usual)} samples"
        return f"{plural(len(nearly), 'epoch')} ended with {which}, which a mean shows next to nothing of"
    if len(less) > judged:
        said = f"{plural(len(less), 'epoch')} ended with a partial batch, and at {judged:,} of them enough losses are known"
        return f"{said} to judge; two are needed"
    return f"{plural(judged, 'epoch')} ended with a partial batch; two are needed to judge"


def _has_batchnorm(run: Run) -> bool:
    """True if the network is known to normalise by the statistics of the batch."""
    model = run.facts.get("model")
    return isinstance(model, dict) and bool(model.get("batchnorm"))


def _gone(context: Context, last: LastBatches, least_gone: float, *, least_of_all: float) -> tuple[int, ...]:
    """Boundaries whose jump goes by `least_gone` once the last batch is at the level before it.

    Significant ones one by one; or, where all boundaries together lose their direction and `least_of_all` of their typical
    jump, all that went that way; or, where most lay beyond the cuts inside the epochs and no longer do, those that did. What
    stays is not a matter of that batch's loss.
    """
    ends = {int(row) + 1 for row in last.row}
    at = [b for b in context.boundaries if b.batch in ends]
    direction = context.pooled.direction
    beyond = {b.index for b in beyond_band(at)} if most_are_beyond(at) else set()
    if not at or not (direction or beyond or any(b.significant for b in at)):
        return ()
    again, pooled = context.measure(with_loss(context.run, levelled(context, last)))
    less = {b.index: abs(excess(again[b.index])) < (1 - least_gone) * abs(excess(b)) for b in at}
    alone = {b.index for b in at if b.significant and not again[b.index].significant and less[b.index]}
    still = [again[b.index] for b in at]
    before, after = typical_excess(at), typical_excess(still)
    if before and after / before < 1 - least_of_all:
        if direction and not pooled.direction:
            alone |= {b.index for b in at if excess(b) * direction > 0}
        elif not direction and beyond and not most_are_beyond(still):
            alone |= beyond - {b.index for b in beyond_band(still)}
    return tuple(sorted(alone))
