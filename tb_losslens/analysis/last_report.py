"""Puts small last batches into a finding: a sum, a loss that depends on the size, BatchNorm over a few samples, or a stray."""

from __future__ import annotations

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.explain import around, jumps, share_without
from tb_losslens.analysis.few_statistics import FewStatistics
from tb_losslens.analysis.finding import Evidence, Finding, Kind, Strength
from tb_losslens.analysis.last_batches import LastBatches, Proportion
from tb_losslens.analysis.loader_repair import repair_last_batch
from tb_losslens.analysis.reduction import Reduction
from tb_losslens.analysis.stats import Floats, median
from tb_losslens.analysis.sum_repair import sum_fix
from tb_losslens.analysis.text import percent, plural

ID = "partial_last_batch"


def levelled(context: Context, last: LastBatches) -> Floats:
    """The loss with each small last batch at the level of the batches before it, shape (n,)."""
    loss: Floats = context.run.loss.copy()
    loss[last.row] = last.level
    return loss


def sum_finding(context: Context, last: LastBatches, usual: float, exact: Reduction) -> Finding:
    """The loss is a sum over the batch, by equality (`exact`)."""
    n = median(last.size)
    few = f"{n:,.0f} instead of {usual:,.0f} samples"
    evidence = _sizes(last, usual)
    criterion = context.run.facts.get("criterion")
    reduction = criterion.get("reduction") if isinstance(criterion, dict) else None
    evidence.append(Evidence(exact.said, "per_sample"))
    if reduction is not None:
        evidence.append(Evidence(f"the criterion has reduction={reduction!r}"))
    if exact.criterion == "mean":
        return _found(
            context, last, "sum", "artifact", "proved", evidence=evidence,
            title="The recorded loss is multiplied by the batch size",
            text=f"The recorded loss is the criterion's mean times the samples of its batch: with {few} it shrinks as they do.",
            advice="Record what the criterion returns. If `backward()` is called on the product, call it on the mean.",
            fix="writer.log_batch(criterion(output, target))     # not multiplied by len(target)",
            confirm="Compute the loss of one batch of the usual size, and of half of it: it must not halve.",
        )  # fmt: skip
    return _found(
        context, last, "sum", "fault", "proved", evidence=evidence,
        title="The loss depends on the batch size",
        text=f"The loss is a sum over the batch: with {few} it shrinks in proportion, and so does the gradient.",
        advice="Divide by the number of samples and scale what goes with the gradient, or set `drop_last=True`.",
        fix=sum_fix(context.run, usual),
        confirm="Compute the loss of one batch of the usual size, and of half of it: it must not halve.",
    )  # fmt: skip


def size_finding(context: Context, last: LastBatches, usual: float, said: str) -> Finding:
    """The loss is off to one side whenever the batch is small; no equality says what function of the size it is.

    One size of small batches cannot tell a sum (n/N of the level) from a contrastive loss, which falls with its negatives.
    """
    n = median(last.size)
    few = f"{n:,.0f} instead of {usual:,.0f} samples"
    evidence = [*_sizes(last, usual), Evidence(said, "loss", _shown(last))]
    against: tuple[Evidence, ...] = ()
    if median(last.off) < 0:
        told = f"a sum over the batch would be {percent(n / usual)} of it"
        against = (Evidence(f"{told}, a contrastive loss falls with its negatives: one size of small batches cannot tell"),)
    return _found(
        context, last, "depends_on_size", "fault", "likely", evidence=evidence, against=against,
        title="The loss depends on the batch size",
        text=f"The loss depends on how many samples are in the batch: with {few} it is off to one side.",
        advice="`drop_last=True`, so that each step weighs the same; or the mean, if the loss is a sum over the samples.",
        fix=repair_last_batch(context, usual, n),
        confirm=f"Compute the loss of one batch, then of its first {n:,.0f} samples, several times: the means must agree.",
    )  # fmt: skip


def batchnorm_finding(context: Context, last: LastBatches, usual: float, few: FewStatistics) -> Finding:
    """BatchNorm takes mean and spread of a few samples, and the loss of the last batches is higher for it."""
    n = median(last.size)
    return _found(
        context, last, "batchnorm", "fault", "likely", evidence=[*_sizes(last, usual), *few.in_words(n)],
        title="BatchNorm on a small last batch",
        text=f"The last batch of each epoch is normalised by the statistics of {n:,.0f} instead of {usual:,.0f} samples, and "
        "its loss stands apart. The weights take that step, and BatchNorm's running statistics that batch.",
        advice="Leave the small batch out of training, or use a batch size that divides the data set.",
        fix=repair_last_batch(context, usual, n),
        confirm=f"Compute the loss of one full batch in training mode, then of {n:,.0f} of its samples: it rises.",
    )  # fmt: skip


def artifact_finding(
    context: Context,
    last: LastBatches,
    usual: float,
    said: str,
    gone: tuple[int, ...],
    *,
    whole: Proportion,
    exact: Reduction | None,
    few: FewStatistics | None,
) -> Finding:
    """The last batches stray as far as so few samples do; `gone` are the boundaries that move for no other reason."""
    n = median(last.size)
    shown = around(context.boundaries[gone[0]]) if gone else _shown(last)
    evidence = [Evidence(said, "loss", shown), Evidence(f"{n:,.0f} of {usual:,.0f} samples", "batch_size", shown)]
    against = []
    mean = exact is not None or whole.is_mean()
    share = None
    if exact is not None:
        evidence.append(Evidence(exact.said, "per_sample"))
    elif whole.is_mean():
        kept = f"all epochs together its loss is {percent(whole.ratio)} of the level before it (±{percent(whole.error)})"
        evidence.append(Evidence(f"{kept}; if the loss were a sum, it would be {percent(whole.if_sum)}", "loss"))
    else:
        cannot = f"{plural(len(last.row), 'such batch')} cannot tell whether the loss is a mean or a sum over the batch"
        against.append(Evidence(f"{cannot}: a sum would make each of them about {percent(whole.if_sum)} as large", "loss"))
    if few is not None:
        evidence += few.in_words(n)
    if gone:
        # all boundaries where the direction is gone: those that went that way are a selection
        alone = any(context.boundaries[k].significant for k in gone)
        share = share_without(context, levelled(context, last), gone if alone else _boundaries(context, last))
        evidence.append(
            Evidence(f"with that batch at the level before it, nothing stands out at {plural(len(gone), 'boundary')}")
        )
    else:
        against.append(Evidence("no jump between the levels before and after a boundary depends on it", "loss"))
    return Finding(
        ID,
        "artifact",
        "likely" if gone else "possible",
        "A small last batch",
        f"The last batch of an epoch has {n:,.0f} of {usual:,.0f} samples, and its loss strays as far as that allows."
        + (" The training is fine." if gone and mean and few is None else ""),
        score=0.8 if gone else 0.4,
        boundaries=gone,
        steps=_steps(context, last),
        share=share,
        explains_jump=bool(gone),
        evidence=tuple(evidence),
        against=tuple(against),
        advice="Leave the ragged batch out, or weight the mean by samples when reading the curve.",
        fix=repair_last_batch(context, usual, n),
        confirm="Train two epochs with drop_last=True: the point at the end of each epoch must be gone.",
    )


def _found(
    context: Context,
    last: LastBatches,
    detail: str,
    kind: Kind,
    strength: Strength,
    *,
    evidence: list[Evidence],
    title: str,
    text: str,
    advice: str,
    fix: str,
    confirm: str,
    against: tuple[Evidence, ...] = (),
) -> Finding:
    """A finding on the last batches, with what the jumps lose when these are set to the level before them."""
    at = _boundaries(context, last)
    share = share_without(context, levelled(context, last), at) if at and jumps(context, at) else None
    if share is not None and share <= 0.3:
        against = (*against, Evidence("the jump stays without the last batch", "loss"))
    return Finding(
        ID,
        kind,
        strength,
        title,
        text,
        detail=detail,
        score=0.85 if detail == "sum" else 0.6,
        boundaries=at,
        steps=_steps(context, last),
        share=share,
        explains_jump=(share or 0.0) > 0.3,
        evidence=tuple(evidence),
        against=against,
        advice=advice,
        fix=fix,
        confirm=confirm,
    )


def _sizes(last: LastBatches, usual: float) -> list[Evidence]:
    n = median(last.size)
    ratio = median((last.off + last.level) / last.level)
    return [
        Evidence(f"the last batch has {n:,.0f} of {usual:,.0f} samples ({percent(n / usual)})", "batch_size", _shown(last)),
        Evidence(
            f"its loss is {percent(ratio)} of the level before it, in the median of {plural(len(last.row), 'epoch')}",
            "loss",
            _shown(last),
        ),
    ]


def _boundaries(context: Context, last: LastBatches) -> tuple[int, ...]:
    """Boundaries that such a batch comes right before."""
    ends = {int(row) + 1 for row in last.row}
    return tuple(b.index for b in context.boundaries if b.batch in ends)


def _shown(last: LastBatches) -> tuple[int, int]:
    return int(last.row[-1]) - 5, int(last.row[-1]) + 1


def _steps(context: Context, last: LastBatches) -> tuple[int, ...]:
    return tuple(int(s) for s in context.run.step[last.row[:50]])
