"""Whatever was recorded, the diagnosis, the lens, the overlay and the report come out, without a warning."""

from __future__ import annotations

import json
import math
import warnings

import pytest

from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.lens import lens
from tb_losslens.analysis.overlay import overlay
from tb_losslens.plugin import batches, folded, layers
from tests.analysis.causes.test_contract import RUNS


@pytest.mark.parametrize("name", RUNS)
def test_every_answer_is_json_and_adds_up(name: str) -> None:
    run = RUNS[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnosis = diagnose(run)
        json.dumps(diagnosis.to_dict(), allow_nan=False)
        json.dumps(overlay(run), allow_nan=False)
        json.dumps(folded.build(run, 96, 160), allow_nan=False)
        json.dumps(batches.build(run), allow_nan=False)
        for signal in layers.SIGNALS:
            json.dumps(layers.build(run, signal, 0, len(run), 160), allow_nan=False)
        for batch in range(0, len(run), max(1, len(run) // 5)):
            json.dumps(batches.one(run, batch), allow_nan=False)
        assert diagnosis.headline
        assert diagnosis.short
        assert diagnosis.headline in diagnosis.verdict
        assert diagnosis.to_markdown().startswith("## ")
        for boundary in diagnosis.boundaries[:4]:
            out = lens(run, diagnosis, boundary.index)
            json.dumps(out, allow_nan=False)
            parts = out["waterfall"]
            if parts:
                total = math.fsum(part["value"] for part in parts[:-1])
                assert math.isclose(total, parts[-1]["value"], rel_tol=1e-6, abs_tol=1e-9)
