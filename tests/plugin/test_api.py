import gzip

import numpy as np
import pytest
from tensorboard import errors

from tb_losslens.analysis.engine import diagnose
from tb_losslens.plugin import api
from tb_losslens.plugin.cache import RunCache
from tb_losslens.plugin.scalars import Points, rows_of
from tb_losslens.store.run import Gap, Run, RunEvent
from tb_losslens.strict_json import dumps


class Memory:
    """Runs that are in memory already."""

    def __init__(self, *runs):
        self.runs = {run.name: run for run in runs}

    def tokens(self):
        return {name: len(run) for name, run in self.runs.items()}

    def read(self, name):
        return self.runs[name]

    def forget(self, name):
        pass


class NoScalars:
    def __init__(self, **tags):
        self._tags = tags

    def tags(self):
        return self._tags


def jumping(name="jumping", epochs=12, length=60, jump=1.0):
    """The loss falls within each epoch and is back up at the start of the next."""
    rng = np.random.default_rng(7)
    within = np.tile(np.linspace(jump, 0.0, length), epochs)
    return Run.from_arrays(name, epoch_length=length, loss=2.0 + within + rng.normal(0, 0.05, epochs * length))


def steady(name="steady"):
    return Run.from_arrays(name, epoch_length=60, loss=2.0 + np.random.default_rng(3).normal(0, 0.2, 720))


@pytest.fixture
def cache():
    return RunCache(Memory(jumping(), steady()), diagnose)


def test_a_lens_lays_all_boundaries_over_each_other(cache):
    body = api.lens_impl(cache, "jumping", boundary=3, m=10)["all"]
    assert body["count"] == 11
    offset, mean, low, high = body["columns"]
    assert offset == list(range(-10, 10))
    assert abs(mean[9]) < 0.2 < 0.8 < mean[10]
    assert all(a < b < c for a, b, c in zip(low, mean, high, strict=True))
    short = RunCache(Memory(jumping(epochs=3)), diagnose)
    assert api.lens_impl(short, "jumping", boundary=0, m=10)["all"] is None


def test_what_is_read_first_never_waits_for_a_diagnosis(cache):
    asked = {"first": 0, "last": None, "points": 50}
    assert api.first_impl(cache, "jumping", **asked)["diagnosis"] is None
    whole = api.diagnosis_impl(cache, "jumping")
    body = api.first_impl(cache, "jumping", **asked)
    assert body == {"timeline": api.timeline_impl(cache, "jumping", **asked), "diagnosis": whole}


def test_runs_are_pending_first_and_judged_later(cache):
    first = api.runs_impl(cache, NoScalars())
    assert [row["run"] for row in first["runs"]] == ["jumping", "steady"]
    assert {(row["kind"], row["verdict"]) for row in first["runs"]} == {("pending", "")}
    assert first["hint"] == ""
    assert cache.wait()
    rows = {row["run"]: row for row in api.runs_impl(cache, NoScalars())["runs"]}
    assert rows["jumping"]["verdict"] == diagnose(jumping()).verdict
    assert rows["jumping"]["batches"] == 720
    assert rows["jumping"]["epochs"] == 12
    assert rows["steady"]["kind"] == "benign"
    assert set(rows["steady"]) == {"run", "batches", "epochs", "verdict", "kind", "short", "live", "plain", "label", "version"}


def test_plain_runs_are_listed_beside_recorded_ones_and_say_why(cache):
    rows = api.runs_impl(cache, NoScalars(old=["loss"], jumping=["loss"]))["runs"]
    assert [(row["run"], row["plain"]) for row in rows] == [("jumping", False), ("old", True), ("steady", False)]
    assert rows[1]["kind"] == "plain"
    assert "record" in rows[1]["verdict"]


def test_directories_below_a_recorded_run_are_parts_of_it(cache):
    """`add_scalars` and `add_hparams` of torch make such directories, and so does each rank."""
    tags = {"jumping/rank1": ["x"], "jumping/Loss_train": ["x"], "jumping2": ["x"], "other/jumping": ["x"]}
    rows = api.runs_impl(cache, NoScalars(**tags))["runs"]
    assert [row["run"] for row in rows if row["plain"]] == ["jumping2", "other/jumping"]


@pytest.mark.parametrize("tags", [{}, {"old": ["loss"]}])
def test_without_a_recording_the_hint_says_how_to_start(tags):
    body = api.runs_impl(RunCache(Memory(), diagnose), NoScalars(**tags), "/logs")
    assert [row["run"] for row in body["runs"]] == list(tags)
    sentence, *code = body["hint"].splitlines()
    assert sentence.endswith(":")
    assert "\n".join(code) == body["code"]
    compile(body["code"], "hint", "exec")
    assert '"/logs/exp1"' in body["code"]


def test_a_run_that_is_the_log_directory_is_called_by_its_name():
    alone = RunCache(Memory(jumping(".")), diagnose)
    (row,) = api.runs_impl(alone, NoScalars(), "/logs/exp 7")["runs"]
    assert (row["run"], row["label"]) == (".", "exp 7")
    assert api.report_impl(alone, ".", "/logs/exp 7")["markdown"].startswith("## exp 7: ")
    assert api.diagnosis_impl(alone, ".")["run"] == "."


def test_boundaries_are_those_of_the_diagnosis(cache):
    columns = api.boundaries_impl(cache, "jumping")
    direct = diagnose(jumping()).boundaries
    assert columns["step"] == [b.step for b in direct] == [60 * k for k in range(1, 12)]
    assert columns["jump"] == [b.jump for b in direct]
    assert {len(column) for column in columns.values()} == {11}
    assert min(columns["jump"]) > 0.5


def test_very_many_boundaries_are_cut_to_the_strongest_with_their_own_index():
    rng = np.random.default_rng(0)
    many = Run.from_arrays("many", epoch_length=20, loss=rng.normal(5, 1, 5000 * 20))
    cache = RunCache(Memory(many), diagnose)
    body = api.diagnosis_impl(cache, "many")
    index = [b["index"] for b in body["boundaries"]]
    assert len(index) == 4000
    assert index == sorted(index)
    assert len(api.boundaries_impl(cache, "many")["step"]) == 4000
    kept = min(abs(b["z"]) for b in body["boundaries"] if b["z"] is not None)
    lost = [abs(b.z) for b in diagnose(many).boundaries if b.index not in set(index)]
    assert max(lost) <= kept * 1.00001
    assert len(gzip.compress(dumps(body).encode(), 3)) < 250_000


def test_the_timeline_takes_the_end_of_the_run_for_anything_beyond(cache):
    body = api.timeline_impl(cache, "jumping", first=700, last=10**12, points=100)
    assert (body["from"], body["to"], body["raw"]) == (700, 720, True)


@pytest.mark.parametrize(("first", "last"), [(720, None), (10**14, None), (5, 5), (6, 5)])
def test_a_range_without_batches_is_refused_with_the_range_that_exists(cache, first, last):
    with pytest.raises(errors.InvalidArgumentError, match="0 to 719"):
        api.timeline_impl(cache, "jumping", first=first, last=last, points=100)


def test_a_run_without_batches_has_an_empty_timeline():
    cache = RunCache(Memory(Run("empty")), diagnose)
    assert api.timeline_impl(cache, "empty", first=0, last=None, points=100)["columns"] == [[]] * 5


def test_unknown_runs_are_not_found(cache):
    for ask in (
        lambda: api.diagnosis_impl(cache, "nope"),
        lambda: api.boundaries_impl(cache, "nope"),
        lambda: api.timeline_impl(cache, "nope", first=0, last=None, points=100),
        lambda: api.lens_impl(cache, "nope", boundary=0, m=None),
        lambda: api.overlay_impl(cache, "nope", points=100),
        lambda: api.report_impl(cache, "nope"),
        lambda: api.scalars_impl(cache, NoScalars(), "nope"),
        lambda: api.scalar_impl(cache, NoScalars(), "nope", "loss"),
    ):
        with pytest.raises(errors.NotFoundError, match="'nope'"):
            ask()


def test_a_recorded_run_without_scalars_has_no_tags(cache):
    assert api.scalars_impl(cache, NoScalars(plain=["loss"]), "jumping") == {"tags": []}
    assert api.scalars_impl(cache, NoScalars(plain=["loss"]), "plain") == {"tags": ["loss"]}


def test_an_unknown_boundary_is_not_found(cache):
    with pytest.raises(errors.NotFoundError, match="11 boundaries"):
        api.lens_impl(cache, "jumping", boundary=11, m=None)


def test_the_waterfall_of_the_lens_adds_up(cache):
    body = api.lens_impl(cache, "jumping", boundary=3, m=None)
    *parts, total = body["waterfall"]
    assert total["label"] == "jump"
    assert sum(part["value"] for part in parts) == pytest.approx(total["value"], abs=1e-9)
    assert body["boundary"]["index"] == 3
    assert len({len(column) for column in body["columns"]}) == 1


def test_the_overlay_lays_epochs_on_one_axis(cache):
    body = api.overlay_impl(cache, "jumping", points=50)
    assert body["epoch"] == list(range(12))
    assert len(body["position"]) <= 50
    assert {len(column) for column in body["columns"]} == {len(body["position"])}


def test_the_report_is_the_diagnosis_as_markdown(cache):
    assert api.report_impl(cache, "jumping") == {"markdown": diagnose(jumping()).to_markdown()}


def points(step, time=None):
    step = np.asarray(step, dtype=np.int64)
    return Points(step, np.zeros(len(step)) if time is None else np.asarray(time), np.zeros(len(step)))


def test_a_scalar_lies_at_the_batch_of_its_step():
    run = Run.from_arrays(loss=np.ones(100), step=np.arange(100) * 10, epoch_length=25)
    assert rows_of(run, points([0, 10, 500, 505, 990, 99_999])).tolist() == [0, 1, 50, 51, 99, 99]


def test_a_scalar_that_counts_epochs_lies_where_it_was_written():
    time = 1.7e9 + np.arange(100.0)
    run = Run.from_arrays(loss=np.ones(100), epoch_length=25, time=time)
    assert rows_of(run, points(range(4), time[24::25] + 0.5)).tolist() == [24, 49, 74, 99]


@pytest.mark.parametrize("counted_from", [0, 1])
def test_without_times_it_lies_at_the_end_of_its_epoch(counted_from):
    run = Run.from_arrays(loss=np.ones(100), epoch_length=25)
    assert rows_of(run, points(np.arange(4) + counted_from)).tolist() == [24, 49, 74, 99]


def test_a_run_or_tag_without_points():
    assert rows_of(Run("r"), points([1, 2])).tolist() == []
    assert rows_of(Run.from_arrays(loss=np.ones(3)), points([])).tolist() == []


def test_the_lens_speaks_of_the_run_that_was_judged():
    """A restart overtakes rows between the diagnosis and the lens: both must be of one state."""
    memory = Memory(jumping())
    cache = RunCache(memory, diagnose, every=3600, list_every=0.0)
    api.diagnosis_impl(cache, "jumping")
    short = jumping(epochs=2)
    memory.runs["jumping"] = Run("jumping", short.columns, events=(RunEvent("restore", 5),))
    body = api.lens_impl(cache, "jumping", boundary=10, m=None)
    assert body["boundary"]["batch"] == 660


def test_the_lens_names_the_epochs_on_both_sides_and_what_was_lost_between():
    loss = np.random.default_rng(0).normal(1, 0.1, 300)
    arrays = Run.from_arrays("r", loss=loss, epoch=np.repeat([0, 2, 3], 100), index=np.tile(np.arange(100), 3))
    run = Run("r", arrays.columns, gaps=(Gap(100, 100),))
    cache = RunCache(Memory(run), diagnose)
    first = api.lens_impl(cache, "r", boundary=0, m=20)
    assert (first["epochs"], first["gaps"]) == ([0, 2], {"batch": [100], "lost": [100]})
    second = api.lens_impl(cache, "r", boundary=1, m=20)
    assert (second["epochs"], second["gaps"]) == ([2, 3], {"batch": [], "lost": []})


def test_a_lens_over_hundreds_of_columns_stays_small():
    rng = np.random.default_rng(5)
    own = {f"my_metric_{i}": rng.normal(size=3000) for i in range(200)}
    run = Run.from_arrays("wide", epoch_length=500, loss=rng.normal(5, 1, 3000), lr=np.full(3000, 0.1), **own)
    body = api.lens_impl(RunCache(Memory(run), diagnose), "wide", boundary=2, m=200)
    assert len(dumps(body)) < 250_000
    assert len(body["signals"]) >= 20
