"""What a browser gets from a real TensorBoard with its default flags."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from tb_losslens import diagnose, load_runs
from tests.plugin import logs
from tests.tensorboard_process import tensorboard

JSON_ROUTES = [
    ("runs", {}),
    ("diagnosis", {"run": "big"}),
    ("first", {"run": "big"}),
    ("boundaries", {"run": "big"}),
    ("timeline", {"run": "big"}),
    ("timeline", {"run": "big", "points": 1300}),
    ("lens", {"run": "big", "boundary": 3}),
    ("lens", {"run": "big", "boundary": 28, "m": 200}),
    ("overlay", {"run": "big"}),
    ("fold", {"run": "big"}),
    ("batches", {"run": "big"}),
    ("batch", {"run": "big", "batch": 1234}),
    ("layers", {"run": "big"}),
    ("compare", {"run": "big"}),
    ("scalars", {"run": "big"}),
    ("scalar", {"run": "big", "tag": "Loss/train"}),
    ("report", {"run": "big"}),
]


def test_the_tab_is_listed_and_opens_our_module(server):
    listing = server.get("data/plugins_listing").json()["losslens"]
    assert listing["enabled"] is True
    assert listing["tab_name"] == "LossLens"
    assert listing["loading_mechanism"]["module_path"].endswith("data/plugin/losslens/static/index.js")
    page = server.get("data/plugin_entry.html", name="losslens")
    assert page.code == 200
    assert 'import("./static/index.js")' in page.text


def test_all_29_boundaries_with_every_batch_around_them_under_default_flags(server, capsys):
    boundaries = server.data("boundaries", run="big")
    assert boundaries["step"] == [logs.LENGTH * k for k in range(1, 30)]
    assert boundaries["epoch"] == list(range(1, 30))
    loss = logs.losses()
    for k, at in enumerate(boundaries["step"]):
        around = server.data("timeline", **{"run": "big", "from": at - 50, "to": at + 50, "points": 100})
        assert around["raw"] is True
        assert around["columns"][1] == list(range(at - 50, at + 50))
        np.testing.assert_array_equal(np.float32(around["columns"][2]), loss[at - 50 : at + 50])
        if k % 7 == 0:
            offsets = server.data("lens", run="big", boundary=k, m=50)["columns"][0]
            assert offsets == list(range(-50, 50))
    stock = server.get("data/plugin/scalars/scalars", run="big", tag="Loss/train").json()
    kept = {step for _, step, _ in stock}
    both = sum(1 for at in boundaries["step"] if {at - 1, at} <= kept)
    with capsys.disabled():
        print(f"\n{server.base}: LossLens shows {len(boundaries['step'])} of 29 boundaries; stock scalars keep", end=" ")
        print(f"{len(stock)} of {logs.STEPS} points and both sides of {both} of 29")
    assert len(stock) == 1000  # the built-in tabs are as they always were
    assert both < 10


@pytest.mark.parametrize(("route", "params"), JSON_ROUTES, ids=str)
def test_every_route_is_small_strict_json_that_nobody_caches(server, route, params):
    answer = server.ask(route, **params)
    assert answer.code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert "no-cache" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert len(answer.body) < 250_000
    assert longest_series(answer.json()) <= 4000
    gzipped = server.ask(route, gzipped=True, **params)
    assert gzipped.headers["Content-Encoding"] == "gzip"
    assert int(gzipped.headers["Content-Length"]) <= len(answer.body) + 30
    assert type(gzipped.json()) is dict


def longest_series(value):
    if isinstance(value, list):
        return max([len(value), *(longest_series(item) for item in value)])
    return max((longest_series(item) for item in value.values()), default=0) if isinstance(value, dict) else 0


def test_tables_have_columns_of_equal_length(server):
    for route, params in JSON_ROUTES:
        body = server.data(route, **params)
        for table in (body, body.get("lanes", {})):
            if "columns" in table and "names" in table:
                assert len(table["names"]) == len(table["columns"])
                assert len({len(column) for column in table["columns"]}) == 1


def test_the_page_the_command_and_the_library_agree(server, logdir):
    command = [sys.executable, "-m", "tb_losslens.cli", "report", str(logdir), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = {run["run"]: run for run in json.loads(done.stdout)["runs"]}
    runs = load_runs(logdir)
    shown = {row["run"]: row for row in server.data("runs")["runs"] if not row["plain"]}
    assert sorted(told) == sorted(shown)
    for name, row in shown.items():
        page = server.data("diagnosis", run=name)
        assert page == told[name]
        assert page == json.loads(json.dumps(diagnose(runs[name]).to_dict()))
        assert (row["verdict"], row["kind"], row["short"]) == (page["verdict"], page["kind"], page["short"])
        assert row["batches"] == page["batches"] == len(runs[name])


@pytest.mark.parametrize("name", logs.NAMES)
def test_any_name_can_be_asked_for(server, name):
    body = server.data("timeline", run=name)
    assert body["run"] == name
    assert body["batches"] == 160
    assert body["events"]["text"][-1] == f"note of {name}"
    assert server.data("diagnosis", run=name)["run"] == name
    assert server.data("report", run=name)["markdown"].startswith("## ")
    assert server.data("scalars", run=name) == {"tags": ["Loss/val"]}


def test_a_scalar_written_by_epoch_lies_at_the_end_of_each_epoch(server):
    batch, step, value = server.data("scalar", run="big", tag="Loss/val")["columns"]
    assert step == list(range(30))
    assert batch == [logs.LENGTH * (k + 1) - 1 for k in range(30)]
    np.testing.assert_allclose(value, logs.losses()[logs.LENGTH - 1 :: logs.LENGTH] + 0.1, rtol=1e-6)


def test_plain_runs_are_listed_with_a_sentence(server):
    row = next(row for row in server.data("runs")["runs"] if row["run"] == "plain")
    assert (row["kind"], row["plain"]) == ("plain", True)
    assert row["verdict"].endswith(".")
    assert server.data("scalars", run="plain") == {"tags": ["loss"]}
    batch, step, value = server.data("scalar", run="plain", tag="loss")["columns"]
    assert batch == step == list(range(50))
    np.testing.assert_allclose(value, 1 / (1 + np.arange(50)), rtol=1e-6)
    answer = server.ask("timeline", run="plain")
    assert answer.code == 404
    assert "'plain'" in answer.text


def test_short_and_broken_runs_are_shown_as_far_as_they_go(server):
    assert server.data("timeline", run="one batch")["batches"] == 1
    assert server.data("boundaries", run="one epoch") == {"step": [], "epoch": [], "jump": [], "z": []}
    assert server.data("diagnosis", run="one batch")["pooled"]["reason"]
    answer = server.ask("lens", run="one epoch", boundary=0)
    assert answer.code == 404
    body = server.data("timeline", run="nan")
    assert body["columns"][2][399] is not None
    assert body["columns"][2][125] is None
    assert body["nonfinite"] == [125, *range(400, 600)]


def test_a_run_that_rests_is_answered_alike_each_time_with_and_without_gzip(server):
    first = server.ask("timeline", run="big", gzipped=True)
    again = server.ask("timeline", run="big", gzipped=True)
    assert again.body == first.body
    assert again.headers["Content-Length"] == first.headers["Content-Length"]
    assert server.ask("timeline", run="big").json() == first.json()
    assert server.data("timeline", run="big", points=10)["columns"] != first.json()["columns"]


def test_the_fold_holds_the_means_of_what_was_recorded(server):
    body = server.data("fold", run="big", positions=20)
    loss = logs.losses().astype(np.float64).reshape(logs.EPOCHS, logs.LENGTH)
    edges = [*body["position"], logs.LENGTH]
    cells = np.stack([loss[:, a:b].mean(axis=1) for a, b in itertools.pairwise(edges)], axis=1)
    np.testing.assert_allclose(body["cells"], cells, rtol=1e-4)
    np.testing.assert_allclose(body["level"], loss.mean(axis=1), rtol=1e-6)
    assert (body["epoch"], body["per_row"], body["length"]) == (list(range(30)), 1, logs.LENGTH)
    assert "a sawtooth" in body["said"]
    assert server.data("fold", run="one epoch")["said"].startswith("1 whole epoch so far")


def test_outlying_batches_are_those_that_lie_far_off(server):
    body = server.data("batches", run="nan")
    assert body["nonfinite"] == [125, *range(400, 599)]
    assert body["columns"][0] == sorted(body["columns"][0])
    assert 125 in body["columns"][0]
    one = server.data("batch", run="big", batch=logs.LENGTH + 5)
    assert (one["epoch"], one["index"], one["around"]["columns"][0]) == (1, 5, list(range(-20, 21)))
    np.testing.assert_array_equal(np.float32(one["around"]["columns"][1]), logs.losses()[logs.LENGTH - 15 : logs.LENGTH + 26])
    assert {each["name"]: each["value"] for each in one["numbers"]}["batch_size"] == 77
    assert server.ask("batch", run="big", batch=logs.STEPS).code == 404


def test_built_files_are_served_or_their_absence_is_explained(server):
    answer = server.ask("static/index.js", gzipped=True)
    if answer.code == 404:
        assert "index.js" in answer.text
        pytest.skip("the page is not built")
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert b"render" in answer.body


def test_an_empty_log_directory_says_how_to_start(tmp_path):
    with tensorboard(tmp_path) as running:
        body = running.data("runs")
        assert body["runs"] == []
        assert "LossLensWriter" in body["hint"]
        assert running.ask("diagnosis", run="x").code == 404


@pytest.mark.parametrize("load_fast", [True, False])
def test_corrupt_and_newer_chunks_cost_only_themselves(tmp_path, load_fast):
    loss = logs.losses(20, 256)
    logs.write_run(tmp_path / "bad", loss, 256)
    chunks = []

    def spoil(number, chunk):
        chunks.append((chunk.first_batch, chunk.count))
        if number == 5:
            return logs.flip(chunk)
        if number == 9:
            return chunk.SerializeToString()[: len(chunk.SerializeToString()) // 2]
        if number == 12:
            chunk.format = 99
        return b"\xff\x00garbage" if number == 15 else chunk

    logs.rewrite_chunks(tmp_path / "bad", spoil)
    gone = sum(chunks[number][1] for number in (5, 9, 12, 15))
    assert 0 < gone < len(loss) / 2
    with tensorboard(tmp_path, load_fast=load_fast) as running:
        running.wait_for_runs(["bad"])
        running.wait_until(lambda: running.data("timeline", run="bad")["batches"] == len(loss) - gone)
        body = running.data("diagnosis", run="bad")
        said = " ".join(body["problems"])
        assert "newer" in said
        assert any(str(count) in said.replace(",", "") for count in (gone, *(chunks[n][1] for n in (5, 9, 15)))), said
        kept = np.concatenate([loss[a : a + n] for i, (a, n) in enumerate(chunks) if i not in (5, 9, 12, 15)])
        shown = list(
            itertools.chain.from_iterable(
                running.data("timeline", **{"run": "bad", "from": a, "to": a + 1000, "points": 1000})["columns"][2]
                for a in range(0, len(kept), 1000)
            )
        )
        np.testing.assert_array_equal(np.float32(shown), kept)


@pytest.mark.parametrize("load_fast", [True, False])
def test_a_value_of_the_users_own_is_respected(tmp_path, load_fast):
    """With `losslens=3` TensorBoard keeps 3 chunks of a tag; a note says what is lost, nothing breaks."""
    logs.write_run(tmp_path / "r", logs.losses(8, 256), 256)
    with tensorboard(tmp_path, "--samples_per_plugin", "losslens=3,scalars=5", load_fast=load_fast) as running:
        running.wait_for_runs(["r"])
        assert 0 < running.data("timeline", run="r")["batches"] < 8 * 256
        stock = running.get("data/plugin/scalars/scalars", run="r", tag="Loss/val").json()
        assert len(stock) == 5


def test_a_run_that_grows_is_followed(tmp_path):
    loss = logs.losses(6, 100)
    with logs.session(tmp_path / "live") as (recorder, _file):
        put = iter(range(600))
        add(recorder, loss, itertools.islice(put, 250))
        with tensorboard(tmp_path) as running:
            running.wait_until(lambda: [r for r in running.data("runs")["runs"] if r["batches"] == 250])
            assert running.data("timeline", run="live")["batches"] == 250
            add(recorder, loss, put)
            running.wait_until(lambda: running.data("timeline", run="live")["batches"] == 600)
            running.wait_until(lambda: [r for r in running.data("runs")["runs"] if r["batches"] == 600])
            assert len(running.data("boundaries", run="live")["step"]) == 5


def add(recorder, loss, steps):
    for step in steps:
        recorder.put({"step": step, "loss": float(loss[step]), "epoch": step // 100, "index": step % 100})
        if step % 100 == 99:
            recorder.record("epoch_end", step=step, fields={"epoch": step // 100})
    recorder.flush()
