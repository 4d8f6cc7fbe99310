
import numpy as np
import pytest

from tb_losslens.plugin.timeline import build
from tb_losslens.store.run import Gap, Run, RunEvent
from tb_losslens.strict_json import dumps


def a_run(n=1000, epoch_length=100, events=(), facts=None, **columns):
    columns.setdefault("loss", np.linspace(2, 1, n).astype(np.float32))
    run = Run.from_arrays("r", epoch_length=epoch_length, **columns)
    return Run("r", run.columns, events=tuple(events), facts=facts or {})


def test_raw_batches_once_zoomed_in():
    run = a_run(step=np.arange(1000) * 4 + 7)
    body = build(run, 250, 350, 100)
    batch, step, mean, low, high = body["columns"]
    assert body["raw"] is True
    assert (body["from"], body["to"], body["batches"]) == (250, 350, 1000)
    assert batch == list(range(250, 350))
    assert step == [b * 4 + 7 for b in batch]
    assert mean == low == high
    assert np.float32(mean) == pytest.approx(run.loss[250:350])
    assert body["epochs"] == {"epoch": [2, 3], "from": [200, 300], "to": [300, 400]}


def test_the_full_view_keeps_every_extreme():
    loss = np.ones(23_460)
    loss[12_345] = 9.0
    loss[20_000] = -3.0
    body = build(a_run(loss=loss, epoch_length=782), 0, 23_460, 1000)
    assert body["raw"] is False
    assert len(body["columns"][0]) <= 1000
    assert max(body["columns"][4]) == 9.0
    assert min(body["columns"][3]) == -3.0
    assert len(body["epochs"]["epoch"]) == 30


def test_one_nan_does_not_hide_in_a_bucket():
    loss = np.ones(10_000)
    loss[4321] = np.nan
    loss[8000:9000] = np.inf
    body = build(a_run(loss=loss), 0, 10_000, 100)
    assert 4321 in body["nonfinite"]
    empty = [b for b, mean in zip(*body["columns"][::2][:2], strict=True) if mean is None]
    assert empty == list(range(8000, 9000, 100))
    assert set(empty) <= set(body["nonfinite"])
    assert body["nonfinite"] == sorted(body["nonfinite"])


def test_a_loss_that_is_logged_every_tenth_batch_is_no_failure():
    loss = np.full(10_000, np.nan)
    loss[::10] = 1.0
    body = build(a_run(loss=loss), 0, 10_000, 500)
    assert body["nonfinite"] == []
    assert None not in body["columns"][2]


def test_learning_rate_lane_only_where_it_was_recorded():
    assert build(a_run(), 0, 1000, 50)["lanes"]["names"] == ["batch"]
    lr = np.where(np.arange(1000) < 500, 0.1, 0.01).astype(np.float32)
    lanes = build(a_run(lr=lr), 0, 1000, 50)["lanes"]
    assert lanes["names"] == ["batch", "lr"]
    assert lanes["columns"][1][0] == pytest.approx(0.1)
    assert lanes["columns"][1][-1] == pytest.approx(0.01)
    assert len(lanes["columns"][0]) == len(lanes["columns"][1])


def test_the_lane_holds_each_extreme_of_the_learning_rate_and_where_it_steps():
    """A cosine that restarts within a bucket, and one batch at ten times the LR: what a sample of rows would lose."""
    at = np.arange(1000)
    lr = 0.001 + 0.1 * (1 + np.cos(np.pi * (at % 333) / 333)) / 2
    lr[777] = 1.0
    body = build(a_run(lr=lr), 0, 1000, 20)
    batch, value = body["lanes"]["columns"]
    assert batch == sorted(set(batch))
    assert (batch[0], batch[-1]) == (0, 999)
    assert set(body["columns"][0]) <= set(batch)
    assert {332, 333, 665, 666, 777} <= set(batch)
    assert value == pytest.approx(lr[batch], rel=1e-6)
    assert (min(value), max(value)) == pytest.approx((lr.min(), lr.max()), rel=1e-6)
    noisy = a_run(n=9000, lr=np.random.default_rng(1).uniform(size=9000))
    assert len(build(noisy, 0, 9000, 1300)["lanes"]["columns"][0]) <= 4000


def test_a_learning_rate_with_gaps_is_shown_where_it_is_known():
    lr = np.full(1000, np.nan)
    lr[500:600] = 0.1
    batch, value = build(a_run(lr=lr), 0, 1000, 10)["lanes"]["columns"]
    assert [b for b, v in zip(batch, value, strict=True) if v is not None] == [500]
    assert batch[-1] == 999


def test_what_was_never_recorded_comes_with_the_line_that_records_it():
    def said(**given):
        return {item["label"]: item["how"] for item in build(a_run(**given), 0, 10, 50)["missing"]}

    assert "watch(" in said()["LR"]
    assert "wrap(" in said()["validation"]
    ran = RunEvent("validation_end", 500, 500)
    assert said(events=[ran])["validation"] == "writer.log_validation(value)"
    measured = RunEvent("validation_end", 500, 500, fields={"value": 1.0})
    assert said(events=[measured], lr=np.full(1000, 0.1)) == {}, "the range 0 to 10 holds none, but the run does"


def test_epochs_are_thinned_to_groups_that_leave_no_gap():
    body = build(a_run(n=9000, epoch_length=9), 0, 9000, 100)
    epochs = body["epochs"]
    assert len(epochs["epoch"]) <= 400
    assert epochs["from"][0] == 0
    assert epochs["to"][-1] == 9000
    assert epochs["from"][1:] == epochs["to"][:-1]


def test_events_and_validations_in_the_range_only():
    events = [
        RunEvent("epoch_begin", 0),
        RunEvent("note", 10, step=10, text="<b>hi</b>"),
        RunEvent("validation_begin", 100),
        RunEvent("validation_end", 100, step=100, fields={"value": 0.5, "epoch": 0}),
        RunEvent("facts", 100),
        RunEvent("epoch_end", 100),
        RunEvent("validation_end", 200, fields={"value": float("nan")}),
        RunEvent("save", 900, text="x" * 10_000),
    ]
    body = build(a_run(events=events), 0, 1000, 100)
    assert body["events"]["kind"] == ["note", "validation_end", "validation_end", "save"]
    assert body["events"]["text"][0] == "<b>hi</b>"
    assert len(body["events"]["text"][3]) == 500
    assert body["validation"] == {"batch": [100, 200], "step": [100, 0], "value": [0.5, None]}
    part = build(a_run(events=events), 50, 150, 100)
    assert part["events"]["batch"] == [100]
    assert part["validation"]["batch"] == [100]


def test_rare_events_outlive_thousands_of_validations():
    events = [RunEvent("validation_end", b, fields={"value": 1.0}) for b in range(5000)]
    events[2500:2500] = [RunEvent("restore", 2500)]
    body = build(a_run(n=5000, events=events), 0, 5000, 100)
    assert len(body["events"]["batch"]) == 400
    assert "restore" in body["events"]["kind"]
    assert body["events"]["batch"] == sorted(body["events"]["batch"])
    assert len(body["validation"]["batch"]) <= 4000


def test_an_empty_run_and_a_run_of_one_batch():
    empty = build(Run("e"), 0, 0, 100)
    assert empty["columns"] == [[], [], [], [], []]
    assert empty["batches"] == 0
    single = build(a_run(n=1), 0, 1, 100)
    assert single["raw"] is True
    assert single["columns"] == [[0], [0], [2.0], [2.0], [2.0]]


def test_settings_come_from_the_facts():
    body = build(a_run(facts={"loss_source": "criterion", "overhead": 0.004, "elapsed": 90.5}), 0, 1000, 100)
    assert body["settings"] == {"loss_source": "criterion", "overhead": 0.004, "elapsed": 90.5}
    assert build(a_run(), 0, 1000, 100)["settings"] == {"loss_source": "", "overhead": None, "elapsed": None}


def test_a_million_batches_are_small():
    n = 1_000_000
    rng = np.random.default_rng(0)
    events = [RunEvent("note", b, text="x" * 100) for b in range(0, n, 1000)]
    run = a_run(n=n, epoch_length=1000, events=events, loss=rng.normal(size=n).astype(np.float32), lr=rng.random(n))
    assert len(dumps(build(run, 0, n, 1300))) < 250_000


def test_holes_in_the_record_are_named():
    run = a_run()
    run = Run("r", run.columns, gaps=(Gap(300, 50), Gap(700, 1)))
    assert build(run, 0, 1000, 100)["gaps"] == {"batch": [300, 700], "lost": [50, 1]}
    assert build(run, 400, 1000, 100)["gaps"] == {"batch": [700], "lost": [1]}
    assert build(a_run(), 0, 1000, 100)["gaps"] == {"batch": [], "lost": []}


def test_without_any_finite_loss_every_bucket_is_a_cross():
    body = build(a_run(loss=np.full(1000, np.nan)), 0, 1000, 100)
    assert body["nonfinite"] == body["columns"][0]


def test_the_longest_wait_and_a_lapse_of_the_mode_are_lanes():
    wait, mode = np.full(10_000, 0.001), np.ones(10_000)
    wait[4_321], mode[7_777] = 2.5, 0.0

    def more(**columns):
        return build(a_run(n=10_000, **columns), 0, 10_000, 100)["more"]

    assert more() == []
    assert [each["name"] for each in more(data_wait=wait, train_mode=np.ones(10_000))] == ["data_wait"]
    longest, lowest = more(data_wait=wait, train_mode=mode)
    assert [(at, value) for at, value in enumerate(longest["value"]) if value != 0.001] == [(43, 2.5)]
    assert [(at, value) for at, value in enumerate(lowest["value"]) if value != 1] == [(77, 0)]
