"""Who comes first, and who owns a boundary."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tb_losslens.analysis.finding import Boundary, Finding, Pooled
from tb_losslens.analysis.ranking import marked, ranked


def finding(cause: str, kind: Any, strength: Any, **more: Any) -> Finding:
    return Finding(cause, kind, strength, cause, cause, **more)


def order(*findings: Finding) -> list[str]:
    return [f.cause for f in ranked(findings)]


def test_a_proof_that_explains_comes_first() -> None:
    proof = finding("wrong_mode", "fault", "proved")
    guess = finding("lr_increase", "fault", "likely", share=0.9)
    assert order(guess, proof) == ["wrong_mode", "lr_increase"]


def test_a_proof_that_does_not_explain_stands_beside_what_does() -> None:
    proof = finding("repeated_order", "fault", "proved", explains_jump=False)
    cause = finding("lr_increase", "fault", "likely")
    expected = finding("memorization", "benign", "likely")
    assert order(proof, expected, cause) == ["lr_increase", "repeated_order", "memorization"]


def test_what_was_proved_to_be_changed_comes_before_what_is_expected() -> None:
    """Older weights that were loaded on purpose at one boundary, where the loss drops at each."""
    loaded = finding("resume_discontinuity", "planned", "proved", explains_jump=False)
    expected = finding("memorization", "benign", "likely")
    assert order(expected, loaded) == ["resume_discontinuity", "memorization"]
    cause = finding("lr_increase", "fault", "likely")
    assert order(loaded, expected, cause) == ["lr_increase", "resume_discontinuity", "memorization"]
    guess = replace(loaded, strength="likely")
    assert order(guess, expected) == ["memorization", "resume_discontinuity"]


def test_sorted_samples_come_before_their_repeated_order_where_neither_explains() -> None:
    again = finding("repeated_order", "fault", "proved", explains_jump=False)
    unmixed = finding("incomplete_shuffle", "fault", "likely", explains_jump=False)
    other = finding("missing_zero_grad", "fault", "proved", explains_jump=False, share=0.1)
    assert order(again, unmixed) == ["incomplete_shuffle", "repeated_order"]
    assert order(again, unmixed, other) == ["missing_zero_grad", "incomplete_shuffle", "repeated_order"]
    assert order(replace(again, explains_jump=True), unmixed) == ["repeated_order", "incomplete_shuffle"]


def test_inputs_that_became_others_come_before_what_validation_shows_of_them() -> None:
    shift = finding("input_shift", "fault", "likely", explains_jump=False, steps=(300,), score=0.1)
    mismatch = finding("validation_mismatch", "fault", "likely", explains_jump=False, steps=(399,), score=0.2)
    rises = finding("overfitting", "fault", "likely", explains_jump=False, steps=(159,), score=0.9)
    assert order(rises, mismatch, shift) == ["input_shift", "validation_mismatch", "overfitting"]
    later = replace(shift, steps=(450,))
    assert order(rises, mismatch, later) == ["validation_mismatch", "overfitting", "input_shift"]


def test_a_held_out_loss_that_rises_stands_right_after_the_samples_that_were_seen_before() -> None:
    rises = finding("overfitting", "fault", "likely", explains_jump=False)
    few = finding("insufficient_data", "fault", "likely", explains_jump=False, score=0.9)
    seen = finding("memorization", "benign", "possible")
    noise = finding("batch_noise", "benign", "possible")
    mode = finding("wrong_mode", "fault", "proved", explains_jump=False)
    together = ["wrong_mode", "memorization", "insufficient_data", "overfitting", "batch_noise"]
    assert order(rises, seen, noise, mode, few) == together
    assert order(rises, noise, replace(few, score=0.1)) == ["insufficient_data", "overfitting", "batch_noise"]
    assert order(rises, replace(seen, explains_jump=False)) == ["overfitting", "memorization"]


def test_the_logger_is_doubted_before_the_training() -> None:
    assert order(finding("lr_increase", "fault", "proved"), finding("running_mean", "artifact", "likely"))[0] == "running_mean"


def test_how_a_held_out_number_was_averaged_comes_after_a_fault_of_the_training_that_is_as_sure() -> None:
    averaged = finding("validation_aggregation", "artifact", "proved", explains_jump=False, score=0.9)
    mode = finding("wrong_mode", "fault", "proved", explains_jump=False, score=0.6)
    assert order(averaged, mode) == ["wrong_mode", "validation_aggregation"]
    assert order(replace(mode, strength="likely"), averaged) == ["validation_aggregation", "wrong_mode"]


def test_between_equals_the_larger_share_decides() -> None:
    a = finding("a", "fault", "likely", share=0.2, score=0.9)
    b = finding("b", "fault", "likely", share=0.7, score=0.5)
    assert order(a, b) == ["b", "a"]


def test_a_possible_fault_without_effect_is_last() -> None:
    maybe = finding("maybe", "fault", "possible", explains_jump=False)
    unknown = finding("unknown", "unknown", "possible", explains_jump=False)
    assert order(maybe, finding("batch_noise", "benign", "likely"), unknown) == ["unknown", "batch_noise", "maybe"]


def test_a_spike_of_the_held_out_loss_comes_after_what_it_is_named_by_and_after_all_others() -> None:
    spike = finding("validation_spike", "fault", "likely", explains_jump=False, score=0.9)
    drift = finding("batchnorm_drift", "fault", "proved", explains_jump=False)
    maybe = finding("maybe", "fault", "possible", explains_jump=False)
    assert order(spike, maybe, finding("batch_noise", "benign", "likely"), drift)[-1] == "validation_spike"
    unknown = finding("validation_spike", "unknown", "possible", explains_jump=False)
    assert order(unknown, finding("memorization", "benign", "likely")) == ["memorization", "validation_spike"]


def boundary(index: int, *, significant: bool) -> Boundary:
    return Boundary(index, 10 * index, 10 * index, index, 5, 1.0, 1.5, 0.5, 9.0, significant=significant)


def test_boundaries_take_the_kind_of_the_best_finding_that_explains_them() -> None:
    lr = finding("lr_increase", "fault", "likely", boundaries=(0, 1))
    beside = finding("repeated_order", "fault", "proved", boundaries=(0, 1, 2, 3), explains_jump=False)
    learned = finding("memorization", "benign", "likely", boundaries=(1, 2))
    boundaries = [replace(boundary(k, significant=k != 4), jump=-0.5 if k == 2 else 0.5) for k in range(5)]
    out = marked(boundaries, Pooled(direction=1), ranked([lr, beside, learned]))
    assert [(b.kind, b.cause) for b in out] == [
        ("fault", "lr_increase"), ("fault", "lr_increase"), ("benign", "memorization"), ("unknown", ""), ("none", ""),
    ]  # fmt: skip


def test_no_boundary_is_marked_with_a_cause_that_moves_the_loss_the_other_way() -> None:
    cut = finding("lr_decrease", "benign", "likely", boundaries=(0, 1))
    boundaries = [replace(boundary(k, significant=False), jump=jump) for k, jump in enumerate((-0.5, 0.5))]
    assert [b.cause for b in marked(boundaries, Pooled(), ranked([cut]))] == ["lr_decrease", ""]


def test_a_refused_run_has_no_marks() -> None:
    (out,) = marked([boundary(0, significant=True)], Pooled(reason="too few"), ())
    assert out.kind == "none"
