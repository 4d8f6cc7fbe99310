"""The sentences of the page: what the loss does, how sure that is, and why."""

from __future__ import annotations

from typing import Any

from tb_losslens.analysis.finding import Boundary, Finding, Pooled
from tb_losslens.analysis.verdict import in_words

UP = Pooled(1, 11, 0, 11, 0.31, 18.2, 0.00097)
QUIET = Pooled(0, 6, 5, 11, 0.01, 0.2, 0.8)


def finding(cause: str, kind: Any, strength: Any, text: str, **more: Any) -> Finding:
    return Finding(cause, kind, strength, more.pop("title", cause), text, **more)


def alone(index: int, jump: float, z: float) -> Boundary:
    return Boundary(index, 10, 10, 1, 5, 1.0, 1.0 + jump, jump, z, significant=True)


def test_the_answer_has_numbers_and_the_cause() -> None:
    lr = finding("lr_increase", "fault", "proved", "The scheduler is created again each epoch. More.", share=0.84)
    words = in_words(UP, (), (lr,), 1920)
    assert words.headline == "Loss jumps up at 11 of 11 epoch boundaries, median +0.31"
    assert words.aside == "(18× the noise, p < 0.001)"
    assert words.subline == "Fault, proved: the scheduler is created again each epoch. It accounts for 84\u202f% of the jump."
    assert words.short == "jumps up 11 of 11"
    assert words.kind == "fault"
    assert words.verdict == f"{words.headline} {words.aside}. {words.subline}"


def test_drops_are_drops() -> None:
    learned = finding("memorization", "benign", "likely", "Seen before.")
    words = in_words(Pooled(-1, 0, 9, 9, -0.2, -2.6, 0.004), (), (learned,), 500)
    assert words.headline == "Loss drops at 9 of 9 epoch boundaries, median −0.20"
    assert words.aside == "(2.6× the noise, p = 0.004)"
    assert words.subline == "Expected, likely: seen before."


def test_nothing_to_report_is_benign() -> None:
    words = in_words(QUIET, (), (finding("batch_noise", "benign", "likely", "Within noise."),), 500)
    assert (words.headline, words.kind, words.short) == (
        "No jump beyond noise at 11 boundaries",
        "benign",
        "nothing beyond noise",
    )
    assert in_words(QUIET, (), (), 500).kind == "benign"


def test_a_fault_that_moves_nothing_is_the_news_and_says_so() -> None:
    order = finding("repeated_order", "fault", "proved", "One order.", title="Same order in every epoch", explains_jump=False)
    words = in_words(QUIET, (), (order,), 500)
    assert words.headline == "Same order in every epoch"
    assert words.subline == "Fault, proved: one order. No jump beyond noise at 11 boundaries."
    assert words.short == "same order in every epoch"


def test_a_fault_beside_an_unexplained_jump_does_not_claim_it() -> None:
    order = finding("repeated_order", "fault", "proved", "One order.", explains_jump=False)
    learned = finding("memorization", "benign", "likely", "Seen before.")
    words = in_words(UP, (), (order, learned), 500)
    assert words.headline.startswith("Loss jumps up")
    assert words.subline == "Fault, proved: one order. It does not explain the jump. Expected, likely: seen before."


def test_a_second_fault_is_named_beside_the_first() -> None:
    lr = finding("lr_increase", "fault", "likely", "LR up.")
    order = finding("repeated_order", "fault", "proved", "One order.", title="Same order", explains_jump=False)
    assert in_words(UP, (), (lr, order), 500).subline == "Fault, likely: LR up. Beside it: same order (proved)."


def test_single_boundaries_are_named() -> None:
    one = in_words(QUIET, (alone(6, 0.4, 9.0),), (finding("unknown", "unknown", "possible", "Nothing explains it."),), 500)
    assert one.headline == "Loss jumps up at boundary 7 of 11, by +0.40"
    assert one.aside == "(9× the noise)"
    assert one.subline == "Unknown: nothing explains it."
    assert one.short == "jumps up at boundary 7"
    two = in_words(QUIET, (alone(2, 0.4, 9.0), alone(6, -0.8, -12.0)), (), 500)
    assert two.headline == "Loss jumps at 2 of 11 epoch boundaries (3 and 7), by up to −0.80"


def test_a_refusal_says_why() -> None:
    words = in_words(Pooled(reason="The run has one epoch so far."), (), (), 20)
    assert (words.headline, words.subline) == ("No verdict on epoch boundaries", "The run has one epoch so far.")
    assert words.short == "no verdict"
    assert in_words(Pooled(reason="No batch has been recorded yet."), (), (), 0).headline == "No batch recorded"


def test_a_bad_batch_is_the_headline_of_a_run_without_boundaries() -> None:
    bad = finding("bad_batch", "fault", "likely", "Inputs are off.", title="Bad batches 500 to 520", explains_jump=False)
    words = in_words(Pooled(reason="The run has one epoch so far."), (), (bad,), 800)
    assert words.headline == "Bad batches 500 to 520"
    assert words.subline == "Fault, likely: inputs are off. The run has one epoch so far."


def test_a_boundary_that_a_recorded_event_points_at_is_the_headline() -> None:
    cut = finding("lr_decrease", "benign", "likely", "The LR is cut to a tenth.", boundaries=(3,))
    quiet = Boundary(3, 10, 10, 1, 5, 1.0, 0.5, -0.5, -3.1, kind="benign", cause="lr_decrease")
    words = in_words(QUIET, (quiet,), (cut,), 500)
    assert words.headline == "Loss drops at boundary 4 of 11, by −0.50"
    assert words.subline == "Expected, likely: the LR is cut to a tenth."


def test_a_fault_inside_an_epoch_is_the_headline() -> None:
    bad = finding(
        "bad_batch", "fault", "likely", "Batches 500 to 519 hold inputs unlike all others.", title="Bad inputs in 20 batches"
    )
    words = in_words(QUIET, (), (bad,), 1200)
    assert words.headline == "Bad inputs in 20 batches"
    assert (
        words.subline
        == "Fault, likely: batches 500 to 519 hold inputs unlike all others. No jump beyond noise at 11 boundaries."
    )
    assert words.kind == "fault"


def test_a_loss_that_stops_being_finite_is_the_news_whatever_the_boundaries_did() -> None:
    nan = finding(
        "bad_batch", "fault", "proved", "Step 80 holds NaN.", title="The loss stops being finite", detail="nonfinite",
        explains_jump=False,
    )  # fmt: skip
    words = in_words(Pooled(-1, 0, 9, 9, -0.2, -2.6, 0.004), (), (nan,), 500)
    assert words.headline == "The loss stops being finite"
    assert words.subline == "Fault, proved: step 80 holds NaN. Loss drops at 9 of 9 epoch boundaries, median −0.20."
