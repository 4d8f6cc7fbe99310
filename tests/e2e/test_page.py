"""The tab in a real browser, on a real TensorBoard, with real recordings."""

from __future__ import annotations

import threading
import time

import pytest

from tests.e2e.browser import scenario
from tests.e2e.conftest import BARE, GAP, HUGE, NO_EPOCHS, ONE_SIDE, SILENT, SWEEP, TRAINED
from tests.plugin import logs
from tests.tensorboard_process import tensorboard


@pytest.mark.parametrize(
    "name", ["verdict_is_shown", "runs_are_chosen_by_keys", "dark_mode_follows_tensorboard", "hostile_names_never_execute"]
)
def test_reading(base, name):
    scenario(name, base)


@pytest.mark.parametrize(
    "name",
    [
        "findings_are_shown",
        "report_and_link_are_copied",
        "marks_open_the_lens",
        "keys_step_through_boundaries",
        "waterfall_adds_up",
        "evidence_is_shown_where_it_is_drawn",
        "axes_switch",
        "link_survives_reload",
        "place_survives_another_tab",
        "text_summary_opens_our_tab",
        "a_lost_connection_can_be_tried_again",
    ],
)
def test_trained_run(base, name):
    scenario(name, base, run=TRAINED)


def test_views_are_chosen_by_keys(base):
    scenario("views_are_chosen_by_keys", base, run=TRAINED, views=["Boundaries", "Epochs", "Batches", "Layers", "Compare"])


@pytest.mark.parametrize("name", ["epochs_are_folded", "the_map_is_drawn_as_measured", "the_fold_is_in_the_link"])
def test_epochs(base, name):
    scenario(name, base, run="big")


@pytest.mark.parametrize("run", [TRAINED, "big"])
def test_batches_are_sorted(base, run):
    scenario("batches_are_sorted", base, run=run)


@pytest.mark.parametrize("name", ["a_batch_is_opened_by_keys", "a_batch_that_is_not_there"])
@pytest.mark.parametrize("run", [TRAINED, "nan"])
def test_a_batch(base, name, run):
    scenario(name, base, run=run)


@pytest.mark.parametrize(
    "name", ["layers_are_read_cell_by_cell", "layers_follow_the_timeline", "the_signal_of_layers_is_in_the_link"]
)
def test_layers(base, name):
    scenario(name, base, run=TRAINED)


def test_runs_are_compared(base):
    scenario("runs_are_compared", base, run=TRAINED)


def test_a_sweep_is_read_at_sight(base):
    scenario("a_sweep_is_read_at_sight", base, runs=SWEEP)


@pytest.mark.parametrize("view", ["boundary", "epochs", "batches", "layers", "compare"])
def test_numbers_are_exported(base, view):
    scenario("numbers_are_exported", base, run=TRAINED, view=view)


@pytest.mark.parametrize("view", ["boundary", "epochs"])
def test_pictures_are_exported(base, view):
    scenario("pictures_are_exported", base, run=TRAINED, view=view)


def test_the_timeline_is_exported_as_lines(base):
    scenario("the_timeline_is_exported_as_lines", base, run=TRAINED)


def test_a_hostile_run_is_exported(base):
    scenario("a_hostile_run_is_exported", base, run="<script>alert(1)</script>")


def test_what_layers_lack(base):
    scenario("what_layers_lack_says_how", base, run=BARE)


def test_what_a_batch_lacks(base):
    scenario("what_a_batch_lacks_says_how", base, run=BARE)


def test_without_epochs(base):
    scenario("without_epochs_a_line_of_code_is_named", base, run=NO_EPOCHS)


@pytest.mark.parametrize("view", ["boundary", "epochs", "batches", "layers", "compare"])
def test_nothing_overflows(base, view):
    scenario("nothing_overflows", base, run=TRAINED, view=view)


def test_many_runs_are_listed(tmp_path):
    names = [f"run {number:03}" for number in range(200)]
    for seed, name in enumerate(names):
        logs.write_run(tmp_path / name, logs.losses(1, 5, seed=seed), 5)
    with tensorboard(tmp_path) as server:
        server.wait_for_runs(names)
        scenario("many_runs_are_listed", server.base, count=200, last="run 137")


def test_all_29_boundaries_are_marks(base):
    scenario("marks_open_the_lens", base, run="big")


def test_zoom_shows_raw_batches(base):
    scenario("zoom_shows_raw_batches", base, run="big", batches=logs.STEPS)


def test_wheel_zooms_and_pans(base):
    scenario("wheel_zooms_and_pans", base, run="big", batches=logs.STEPS)


def test_keys_zoom_and_pan(base):
    scenario("keys_zoom_and_pan", base, run="big", batches=logs.STEPS)


def test_drag_with_shift_pans(base):
    scenario("drag_with_shift_pans", base, run="big")


def test_what_was_not_recorded_says_how(base):
    scenario("what_was_not_recorded_says_how", base, run=BARE)


def test_a_gap_is_not_bridged(base):
    scenario("a_gap_is_not_bridged", base, run=GAP, before=100, lost=100)


def test_no_finite_loss_is_crosses_everywhere(base):
    scenario("no_finite_loss_is_crosses_everywhere", base, run=SILENT)


def test_lens_follows_the_timelines_scale(base):
    scenario("lens_follows_the_timelines_scale", base, run=HUGE, boundary=2)


def test_notes_are_read_where_they_stand(base):
    scenario("notes_are_read_where_they_stand", base, run=HUGE, notes=["first note", "the second note"])


def test_scalar_is_laid_under(base):
    scenario("scalar_is_laid_under", base, run="big", tag="Loss/val")


def test_smoothing(base):
    scenario("smoothing_leaves_the_raw_line", base, run="big")


def test_other_runs_are_drawn_over_it(base):
    scenario("other_runs_are_drawn_over_it", base, run="big", other=TRAINED)


def test_the_window_moves_over_the_whole_run(base):
    scenario("the_window_moves_over_the_whole_run", base, run="big", batches=logs.STEPS)


def test_findings_are_filtered_by_kind(base):
    scenario("findings_are_filtered_by_kind", base)


def test_findings_of_all_runs_are_counted(base):
    scenario("findings_of_all_runs_are_counted", base, run="big")


def test_boundaries_are_laid_over_each_other(base):
    scenario("boundaries_are_laid_over_each_other", base, run="big", few=BARE)


def test_waits_and_modes_have_lanes(base):
    scenario("waits_and_modes_have_lanes", base, run=TRAINED)


def test_missing_run(base):
    scenario("missing_run_shows_the_servers_sentence", base)


def test_plain_run(base):
    scenario("plain_run_shows_its_scalar", base, run="plain", tag="loss", points=50)


def test_axe_finds_nothing(base):
    """Names, roles, contrast and structure, for who reads by ear or by keys."""
    views = [{"run": TRAINED, "view": view} for view in ("boundary", "epochs", "batches", "layers", "compare")]
    views.append({"run": TRAINED, "view": "batches", "batch": "100"})
    scenario("axe_finds_nothing", base, places=[*views, {"run": GAP}, {"run": "plain"}, {"run": "no such run"}])


def test_a_signal_that_was_read_on_one_side_is_drawn_so(base):
    scenario("one_side_is_drawn_as_such", base, run=ONE_SIDE, boundary=1)


def test_a_log_directory_that_is_the_run_goes_by_its_name(logdir):
    with tensorboard(logdir / TRAINED) as server:
        server.wait_for_runs(["."])
        scenario("a_run_without_a_name_is_called_by_its_directory", server.base, label=TRAINED)


def test_what_is_read_first_is_asked_for_at_once(base):
    """How soon it is there is measured by benchmarks/page.py; here, what it waits for."""
    scenario("little_is_asked_before_the_first_paint", base, run="big")


def test_path_prefix(logdir):
    with tensorboard(logdir, "--path_prefix", "/some/where") as server:
        server.wait_for_runs([TRAINED])
        assert server.base.endswith("/some/where/")
        scenario("marks_open_the_lens", server.base, run=TRAINED)


def test_empty_logdir(tmp_path):
    with tensorboard(tmp_path) as server:
        scenario("empty_logdir_says_how_to_start", server.base)


def test_live_run_grows(tmp_path):
    stop = threading.Event()

    def record() -> None:
        with logs.session(tmp_path / "live") as (recorder, file):
            step = 0
            while not stop.is_set():
                if step % 50 == 0:
                    recorder.record("epoch_begin", step=step, fields={"epoch": step // 50}, when=time.time())
                    logs.scalar(file, "Loss/train", 1.0, step, time.time())
                recorder.put(
                    {"step": step, "time": time.time(), "loss": 1.0 + 1 / (1 + step), "epoch": step // 50, "index": step % 50}
                )
                step += 1
                stop.wait(0.02)

    writing = threading.Thread(target=record)
    writing.start()
    try:
        with tensorboard(tmp_path) as server:
            server.wait_for_runs(["live"])
            scenario("live_run_grows", server.base, run="live")
    finally:
        stop.set()
        writing.join()
