"""What is said of a loss that is NaN or infinite: the samples that make it so in each epoch, the first batch, all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tb_losslens.analysis.bad_report import bad_batch_finding, before_forward, has_batchnorm, shown_around
from tb_losslens.analysis.bad_rows import NonFinite
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.lost_gradient import guarded, lost_by_gradient, lost_gradient, open_before, thrown_off
from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.text import number, plural, some
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Recurring:
    """Samples of which every batch has a loss that is not finite.

    Attributes:
        ids: the samples, sorted.
        rows: the batches that hold one of them.
        epochs: epochs in which they came.
    """

    ids: tuple[int, ...]
    rows: Rows
    epochs: int


def recurring_nonfinite(
    run: Run, *, chance: float = 0.01, most_left: float = 0.2, most_of_batch: float = 0.5
) -> Recurring | None:
    """The samples whose batches are never finite; None where none is told by that, or the loss never comes back.

    With a part f of all batches not finite, a sample that came k times meets them alone by chance f^k times. That is asked of
    all samples at once, so that it needs no other sign: a loss that was merely not recorded knows no samples.

    Args:
        run: with sample ids.
        chance: samples that may pass by it.
        most_left: part of the batches without a finite loss that may be left over.
        most_of_batch: samples that come together in more than this part of a batch cannot be told apart (a fixed order).
    """
    ids = run.ragged.get("sample_ids")
    bad = ~np.isfinite(run.loss)
    if ids is None or not bad.any() or bad.all() or not len(ids.values):
        return None
    counts = np.diff(ids.offsets)
    bad, seen = bad[: len(counts)], counts > 0
    which = np.repeat(np.arange(len(counts)), counts)
    samples, place = np.unique(ids.values, return_inverse=True)
    inside = np.bincount(place, weights=bad[which], minlength=len(samples))
    total = np.bincount(place, minlength=len(samples))
    part = float(bad[seen].mean())
    always = (inside == total) & (len(samples) * part ** total.astype(np.float64) <= chance)
    if not always.any():
        return None
    held = np.unique(which[always[place]])
    alike = always.sum() * float(np.median(total[always])) / len(held)
    if (bad & seen).sum() - len(held) > most_left * bad.sum() or alike > most_of_batch * float(np.median(counts[held])):
        return None
    epochs = sum(bool(((held >= epoch.first) & (held < epoch.last)).any()) for epoch in run.epochs)
    return Recurring(tuple(int(s) for s in samples[always]), held.astype(np.int64), epochs)


def recurring_finding(context: Context, found: Recurring, broken: NonFinite | None) -> Finding:
    """The samples by id, that they come back, and what is known of their inputs."""
    run, rows = context.run, found.rows
    first = int(rows[0])
    which = f"sample{'s' if len(found.ids) > 1 else ''} {some(found.ids, 8)}"
    other = int((~np.isfinite(run.loss)).sum()) - len(rows)
    only = "and no other batch is not finite" if not other else f"{plural(other, 'other batch')} is not finite either"
    evidence = [
        Evidence(
            f"the loss of all {plural(len(rows), 'batch')} that hold {which} is NaN or infinite, {only}",
            "sample_ids",
            shown_around(run.loss, (first, first)),
        ),
        Evidence(f"they come back in {found.epochs} of {plural(len(run.epochs), 'epoch')}", "sample_ids"),
    ]
    elements = run.float("input_nonfinite")[rows]
    elements = elements[np.isfinite(elements)]
    against = []
    bad_inputs = len(elements) > 0 and bool((elements > 0).all())
    if bad_inputs:
        count = elements_in_words(float(np.median(elements)))
        evidence.append(Evidence(f"the inputs of each such batch hold {count} that are NaN or infinite", "input_nonfinite"))
    elif len(elements):
        against.append(Evidence("the inputs of these batches are finite: see the targets, or where the loss overflows"))
    if broken is not None and broken.row < first:
        evidence.append(Evidence(f"the first loss that is not finite is that of step {run.step[broken.row]:,}", "loss"))
    named = list(found.ids[:40])
    look = f"for i in {named}:\n    x, y = dataset[i]\n    print(i, torch.isfinite(x).all(), y)"
    return replace(
        bad_batch_finding(
            context,
            [(int(row), int(row)) for row in rows],
            detail="nonfinite",
            strength="proved" if bad_inputs else "likely",
            title=f"Recurring {which} {'make' if len(found.ids) > 1 else 'makes'} the loss not finite",
            text=f"{which.capitalize()} came back in {found.epochs} of {plural(len(run.epochs), 'epoch')}, and the loss of "
            f"each batch with {'one of them' if len(found.ids) > 1 else 'it'} is not finite, first at step {run.step[first]:,}."
            " All samples of such a batch are lost to the training.",
            evidence=evidence,
            against=against,
            missing=() if run.has("input_nonfinite") else (how_to_record("input_nonfinite"),),
            ids=list(found.ids),
        ),
        fix=f"# dataset[i] for i in {named}\n{before_forward(run, first)}" if bad_inputs else look,
    )


def elements_in_words(count: float) -> str:
    """A number of elements with its noun: 1 element, 64 elements; it may be infinite."""
    return f"{number(count)} element{'' if count == 1 else 's'}"


def first_finding(context: Context, broken: NonFinite, diverging: float, most_batches: float, *, untrained: int = 3) -> Outcome:
    """The first batch, unless the loss diverged or the first updates (`untrained` at most) lost the weights."""
    run, row = context.run, broken.row
    step = f"{run.step[row]:,}"
    elements = run.float("input_nonfinite")
    looked = elements[np.isfinite(elements) & by_turn(run)]  # a loss that is NaN gets its batch looked into
    usual = float(np.mean(looked > 0)) if len(looked) else 0.0
    bad_input = broken.inputs > 0 and usual <= most_batches
    kept = context.found("missing_zero_grad")
    if not bad_input and broken.lasting and kept is not None and kept.explains_jump:
        return Checked(
            "bad_batch",
            f"the loss is not finite from step {step} on, after gradients that nobody cleared: no batch is to blame",
        )
    if not bad_input and broken.grew > diverging:
        said = f"the loss grew {number(broken.grew, 2)}-fold over the batches before step {step}, where it stops being finite"
        return Checked("bad_batch", f"{said}: it diverged, which one batch does not do")
    before = lost_by_gradient(run, row) if broken.lasting and not bad_input else None
    thrown = thrown_off(run, before) if before is not None else ""
    if before is not None and thrown:
        at, loss, most = f"{run.step[before]:,}", number(run.loss[before]), number(float(np.nanmax(run.loss[:before])))
        return Checked("bad_batch", f"the loss of step {at} is {loss}, after {most} at most, {thrown}")
    if before is not None:
        return lost_gradient(context, before, row)
    if broken.lasting and broken.inputs == 0 and row <= untrained:
        return Checked(
            "bad_batch", f"the loss is not finite after {plural(row, 'update')}, and its inputs are: no batch is to blame"
        )
    evidence = [
        Evidence(f"the first loss that is not finite is that of step {step}", "loss", shown_around(run.loss, (row, row)))
    ]
    against = []
    if bad_input:
        evidence.append(
            Evidence(
                f"its inputs hold {elements_in_words(broken.inputs)} that are NaN or infinite",
                "input_nonfinite",
                (row, row + 1),
            )
        )
    elif math.isfinite(broken.inputs):
        against.append(Evidence("the inputs of that batch are finite: its targets, the loss function or an overflow remain"))
    if broken.lasting and not bad_input:
        against += open_before(run, row)
    tail = (
        "every loss after it is not finite either: the weights are lost" if broken.lasting else "later losses are finite again"
    )
    evidence.append(Evidence(tail, "loss", (row, len(run))))
    are = "is" if broken.inputs == 1 else "are"
    found = bad_batch_finding(
        context,
        [(row, row)],
        detail="nonfinite",
        strength="proved" if bad_input else "possible",
        title="The loss stops being finite",
        text=f"The batch at step {step} is the first with a loss that is not finite"
        + (f"; its inputs hold {elements_in_words(broken.inputs)} that {are} not." if bad_input else "."),
        evidence=evidence,
        against=against,
        missing=() if run.has("input_nonfinite") else (how_to_record("input_nonfinite"),),
    )
    if not broken.lasting:
        return found
    back = "Go back to a state from before that step: no batch that is left out later brings the weights back. Then look at "
    if bad_input:
        stays = " (BatchNorm's running statistics keep what they have seen)" if has_batchnorm(context) else ""
        return replace(
            found,
            advice=f"{back}these samples, and leave out such a batch before the forward pass{stays}.",
            fix=f"# load a state from before step {run.step[row]:,}: later weights are lost\n{before_forward(run, row)}",
        )
    return replace(
        found,
        advice=f"{back}these samples, and step only where loss and gradient norm are finite.",
        fix=guarded(run, row),
    )


def never_finite(context: Context) -> Finding | None:
    """The loss was recorded and is not finite in any batch; None where it was not recorded, or some batch has one.

    The first loss comes before any step: what it is made of is at fault (inputs, targets, weights, number format), no LR.
    """
    run = context.run
    if not len(run) or not run.recorded("loss") or np.isfinite(run.loss).any():
        return None
    step, elements = f"{run.step[0]:,}", float(run.float("input_nonfinite")[0])
    evidence = [
        Evidence(f"the loss of each of the {plural(len(run), 'batch')} is NaN or infinite", "loss", (0, min(len(run), 40)))
    ]
    against = []
    first = "`torch.isfinite(x).all()` of the first batch"
    if elements > 0:
        count = elements_in_words(elements)
        evidence.append(
            Evidence(f"the inputs of the first batch hold {count} that are NaN or infinite", "input_nonfinite", (0, 1))
        )
        first = "the inputs: those of the first batch are not finite"
    elif elements == 0:
        against.append(Evidence("the inputs of the first batch are finite", "input_nonfinite", (0, 1)))
        first = "the targets and the weights that the run starts from, since the inputs are finite"
    return Finding(
        "bad_batch", "fault", "proved" if elements > 0 else "possible", "The loss is NaN or infinite from the first batch on",
        f"No loss was finite, from the first batch (step {step}) on: check first {first}; then the number format (float16 ends "
        "at 65,504), and the LR last, which acts only after the first step.",
        detail="nonfinite", score=0.9, steps=(int(run.step[0]),), explains_jump=False, evidence=tuple(evidence),
        against=tuple(against), missing=() if run.has("input_nonfinite") else (how_to_record("input_nonfinite"),),
        advice=f"Check first {first}; then the number format; the LR last.",
        fix="x, y = next(iter(train_loader))\nprint(x.dtype, torch.isfinite(x).all(), y)\n"
        "print([name for name, p in model.named_parameters() if not torch.isfinite(p).all()])",
        confirm="Compute the loss of the first batch alone, in float32, before any step: it must be finite.",
    )  # fmt: skip
