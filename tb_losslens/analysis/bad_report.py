"""Puts broken batches into a finding: where, which samples, what it does to the jumps, and code to look at them."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.explain import share_without
from tb_losslens.analysis.finding import Evidence, Finding, Strength
from tb_losslens.analysis.orders import ids_in
from tb_losslens.analysis.outliers import loss_level
from tb_losslens.analysis.stats import Floats
from tb_losslens.analysis.text import plural, some
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run


def bad_batch_finding(
    context: Context,
    groups: list[tuple[int, int]],
    *,
    detail: str,
    strength: Strength,
    title: str,
    text: str,
    evidence: list[Evidence],
    against: list[Evidence] | None = None,
    missing: tuple[str, ...] = (),
    ids: list[int] | None = None,
) -> Finding:
    """The finding for the batches `groups` (first and last row of each span).

    It explains the significant jumps whose windows hold such a batch; their share is what goes with its loss at the level
    around it. `ids` are the samples to list, by default those of the first group.
    """
    run = context.run
    rows = np.concatenate([np.arange(a, b + 1) for a, b in groups])
    level, _ = loss_level(run)
    loss: Floats = run.loss.copy()
    loss[rows] = level[rows]
    near = tuple(b.index for b in context.boundaries if b.significant and any(a - b.m < b.batch <= z + b.m for a, z in groups))
    samples = ids if ids is not None else ids_in(run, groups[0][0], groups[0][1] + 1)
    if samples:
        evidence = [*evidence, Evidence(f"sample ids: {some(samples, 12)}", "sample_ids", (groups[0][0], groups[0][1] + 1))]
    else:
        missing = (*missing, how_to_record("sample_ids"))
    steps = [int(run.step[row]) for group in groups[:25] for row in sorted({*group})]
    return Finding(
        "bad_batch",
        "fault",
        strength,
        title,
        text,
        detail=detail,
        score={"proved": 0.95, "likely": 0.85, "possible": 0.4}[strength],
        boundaries=near,
        steps=tuple(steps),
        share=share_without(context, loss, near) if near else None,
        evidence=tuple(evidence),
        against=tuple(against or ()),
        missing=tuple(dict.fromkeys(missing)),
        advice=_advice(context, groups[0], detail),
        fix=_fix(context, groups[0], samples, detail),
        confirm=f"Run the batch of step {run.step[groups[0][0]]:,} again alone: its loss must stand out with any weights.",
    )


def _advice(context: Context, group: tuple[int, int], detail: str) -> str:
    look = "Look at these samples; clean or drop them."
    if detail != "nonfinite":
        return f"{look} A step whose loss is far out can be skipped meanwhile."
    if not _inputs_broken(context, group):
        return f"{look} Skip the step meanwhile."
    if not has_batchnorm(context):
        return f"{look} Skip the batch meanwhile."
    return (
        f"{look} Skip the batch before the forward pass meanwhile: after it NaN is in BatchNorm's running statistics, whatever "
        "is done with the loss, and evaluation gives NaN. A model that saw it needs a state from before, or "
        "`reset_running_stats()` of each BatchNorm and some training."
    )


def has_batchnorm(context: Context) -> bool:
    """True if the recorded model normalises by the batch: what goes through it stays in its running statistics."""
    model = context.run.facts.get("model")
    return isinstance(model, dict) and bool(model.get("batchnorm"))


def _inputs_broken(context: Context, group: tuple[int, int]) -> bool:
    """True if the inputs of these batches are known to hold elements that are not finite."""
    return bool((context.run.float("input_nonfinite")[group[0] : group[1] + 1] > 0).any())


def before_forward(run: Run, row: int) -> str:
    """Code that leaves out a batch whose inputs are not finite, before a module keeps anything of it."""
    return (
        f"# first in the loop, before the forward pass; first needed at step {run.step[row]}\n"
        "if not torch.isfinite(x).all():\n    continue"
    )


def _skipped(context: Context, group: tuple[int, int]) -> str:
    """Code that leaves out a batch: before the forward pass if its inputs are not finite, else by its loss."""
    if _inputs_broken(context, group):
        return before_forward(context.run, group[0])
    first = context.run.step[group[0]]
    return f"if not torch.isfinite(loss):     # first at step {first}\n    optimizer.zero_grad()\n    continue"


def _fix(context: Context, group: tuple[int, int], samples: list[int], detail: str) -> str:
    first, last = context.run.step[group[0]], context.run.step[group[1]]
    if detail == "nonfinite":
        return _skipped(context, group)
    if samples:
        look = "    sample, target = dataset[i]\n    print(i, sample.float().mean(), sample.float().std(), target)"
        return f"for i in {samples[:40]}:\n{look}{_after_the_loader(context, group) if detail == 'inputs' else ''}"
    return f"if {first} <= step <= {last}:\n    torch.save((x, y), f'batch_{{step}}.pt')     # and look at them"


def _after_the_loader(context: Context, group: tuple[int, int]) -> str:
    """Lines for samples that the data set has right: something between the loader and the model broke them then."""
    first, last = (int(context.run.step[row]) for row in group)
    when = f"step == {first}" if first == last else f"{first} <= step <= {last}"
    at = context.run.float("sample_level_at")[group[0]]
    place = f"     # place {int(at)} of the batch is the highest" if np.isfinite(at) else ""
    return (
        "\n# where these are fine, the batch was broken after the loader; right before the model:\n"
        f"if {when}:\n    print(x.float().reshape(len(x), -1).abs().amax(1)){place}"
    )


def shown_around(loss: Floats, group: tuple[int, int], *, beside: int = 20) -> tuple[int, int]:
    """The rows of a span with some beside it, for `Evidence.span`."""
    return max(0, group[0] - beside), min(len(loss), group[1] + 1 + beside)


def in_words(context: Context, groups: list[tuple[int, int]]) -> str:
    """The batches in words, as "Batches 500 to 519" or "Batch 7 and 2 other spans"; steps as the user counts them."""
    step = context.run.step
    first, last = groups[0]
    said = f"Batch {step[first]:,}" if first == last else f"Batches {step[first]:,} to {step[last]:,}"
    others = len(groups) - 1
    return f"{said} and {plural(others, 'other span')}" if others else said
