import json

import pytest

from tb_losslens.analysis.engine import diagnose
from tb_losslens.errors import LossLensError
from tb_losslens.plugin import api
from tb_losslens.plugin.cache import RunCache
from tb_losslens.store.run import Run
from tb_losslens.strict_json import dumps
from tests.plugin.test_api import Memory, NoScalars, jumping, steady


class Unreadable(Memory):
    def __init__(self, *runs, error):
        super().__init__(*runs, Run("broken"))
        self.error = error

    def read(self, name):
        if name == "broken":
            raise self.error
        return super().read(name)


def with_config(run, **config):
    return Run(run.name, run.columns, facts={"config": config})


@pytest.mark.parametrize("error", [LossLensError("holds no data"), OSError("disk on fire")])
def test_a_run_that_cannot_be_read_is_a_row_with_its_trouble(error):
    known = [with_config(jumping(), lr=0.1), with_config(steady(), lr=0.2)]
    cache = RunCache(Unreadable(*known, error=error), diagnose)
    for _ in range(2):  # before the failure is known from the background, and after it
        body = api.compare_impl(cache, ["jumping", "broken", "steady"])
        first, broken, last = body["runs"]
        assert (broken["kind"], broken["short"], broken["settings"]) == ("unknown", "not readable", [None])
        assert str(error) in broken["verdict"]
        assert [first["settings"], last["settings"]] == [[0.1], [0.2]]
        assert [each["name"] for each in body["differ"]] == ["config.lr"]  # it does not differ in all that was not read
        assert body["said"].startswith("3 runs, ")
        assert "1 not readable. They differ in lr." in body["said"]
        assert cache.wait()


def test_a_run_whose_diagnosis_failed_is_not_pending_for_ever():
    def fails(run):
        raise RuntimeError("no such thing")

    cache = RunCache(Memory(jumping()), fails)
    assert api.compare_impl(cache, ["jumping"])["runs"][0]["kind"] == "pending"
    assert cache.wait()
    (row,) = api.compare_impl(cache, ["jumping"])["runs"]
    (listed,) = api.runs_impl(cache, NoScalars())["runs"]
    assert [row[name] for name in ("kind", "verdict", "short")] == [listed[name] for name in ("kind", "verdict", "short")]
    assert row["kind"] == "unknown"
    assert row["last"] is not None


def test_a_sweep_beside_seeds_and_long_texts():
    notes = ["a long note on what was tried " * 5 + str(k) for k in range(3)]
    runs = [
        with_config(Run(f"r{k}", steady().columns), lr=0.1 * (k + 1), seed=k, note=note, huge=10**400)
        for k, note in enumerate(notes)
    ]
    body = json.loads(dumps(api.compare_impl(RunCache(Memory(*runs), diagnose), ["r0", "r1", "r2"])))
    assert body["sweep"] == "config.lr"
    shown = [row["settings"][2] for row in body["runs"]]
    assert len(set(shown)) == 3
    assert max(map(len, shown)) <= 60


def test_settings_with_endless_names_stay_small():
    runs = [with_config(steady("a"), **{"k" * 10**6: 1}), with_config(steady("b"), **{"k" * 10**6: 2})]
    body = api.compare_impl(RunCache(Memory(*runs), diagnose), ["a", "b"])
    assert len(body["differ"]) == 1
    assert len(dumps(body)) < 50_000


def test_findings_of_each_run_are_named():
    cache = RunCache(Memory(jumping(), steady()), diagnose)
    assert [row["findings"] for row in api.compare_impl(cache, ["jumping", "steady"])["runs"]] == [[], []]  # not judged yet
    cache.wait()
    body = api.compare_impl(cache, ["jumping", "steady"])
    for row in body["runs"]:
        known = api.diagnosis_impl(cache, row["run"])["findings"]
        assert row["findings"] == [{name: each[name] for name in ("cause", "title", "kind", "strength")} for each in known][:12]
    assert body["runs"][0]["findings"]
