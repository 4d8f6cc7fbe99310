"""What the page costs: `python -m benchmarks.page [--batches N] [--loads N] [--json]`.

A run of as many batches, in epochs of 1,000, is served by TensorBoard with default flags. Measured are the server's time for
each route, warm, and the bytes that it sends; and in Chromium the time from the frame's start to verdict and curve, the times
of frames while the wheel zooms and pans over the timeline, and the heap after every view was opened. Beside them are
TensorBoard's own Time Series tab on the same run, and Plotly drawing the same losses, at most 100,000 of them
(`pip install plotly`; where there is no WebGL it draws SVG, and more would take minutes).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2

from benchmarks.analysis import write
from benchmarks.figures import Figure, show
from tb_losslens import load_runs
from tb_losslens.record.disk.event_file import EventFile
from tests.e2e.browser import missing, scenario, shared_browser
from tests.tensorboard_process import TensorBoard, tensorboard

RUN = "measured"
TURNS = 9
MOST_OF_PLOTLY = 100_000


def routes(batches: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every route of one run as the page asks for it; the zoomed ones in the middle."""
    middle = batches // 2
    zoomed = {"from": middle, "to": middle + batches // 10}
    return {
        "first": ("first", {"points": 280}),
        "timeline": ("timeline", {"points": 280}),
        "timeline, zoomed": ("timeline", {**zoomed, "points": 280}),
        "timeline, raw": ("timeline", {"from": middle, "to": middle + 1000, "points": 1200}),
        "diagnosis": ("diagnosis", {}),
        "lens": ("lens", {"boundary": 1}),
        "overlay": ("overlay", {}),
        "fold": ("fold", {}),
        "batches": ("batches", {}),
        "batch": ("batch", {"batch": middle}),
        "layers": ("layers", {}),
        "compare": ("compare", {}),
        "report": ("report", {}),
    }


def of_server(server: TensorBoard, batches: int) -> dict[str, Figure]:
    """Median time of each route once it was asked, and what it sends, gzipped."""
    figures = {}
    for name, (route, params) in routes(batches).items():
        answers = [server.ask(route, gzipped=True, run=RUN, **params) for _ in range(TURNS + 1)]
        if any(answer.code != 200 for answer in answers):
            raise RuntimeError(f"{route} answered {answers[-1].code}: {answers[-1].text}")
        figures[f"route {name}"] = Figure(1000 * median(answer.seconds for answer in answers[1:]), "ms")
        figures[f"route {name}, sent"] = Figure(int(answers[-1].headers["Content-Length"]) / 1000, "KB")
    return figures


def of_browser(server: TensorBoard, loss: np.ndarray, loads: int) -> dict[str, Figure]:
    """First paint, frames and memory in Chromium, beside the peers."""
    ours = json.loads(scenario("page_costs", server.base, timeout=900, run=RUN, loads=loads))
    tab = json.loads(scenario("time_series_costs", server.base, timeout=900, loads=loads))
    peers = {"Time Series tab": tab}
    plotly = _plotly(server, loss, loads)
    if plotly is not None:
        peers[f"Plotly, {min(len(loss), MOST_OF_PLOTLY):,} points"] = plotly
    units = {"paint": "ms to the first useful paint", "frame": "ms, median frame", "late": "ms, 95 % of frames", "heap": "MiB"}
    return {
        name: Figure(ours[name], unit, {peer: values[name] for peer, values in peers.items() if name in values})
        for name, unit in units.items()
    }


def _plotly(server: TensorBoard, loss: np.ndarray, loads: int) -> dict[str, float] | None:
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        return None
    script = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    shown = loss[:MOST_OF_PLOTLY]
    with tempfile.TemporaryDirectory() as place:
        series = Path(place, "series.json")
        series.write_text(json.dumps({"x": list(range(len(shown))), "y": np.round(shown, 6).tolist()}))
        found: dict[str, float] = json.loads(
            scenario("plotly_costs", server.base, timeout=900, script=str(script), series=str(series), loads=min(loads, 3))
        )
    return found


def scalars(folder: Path, loss: np.ndarray) -> None:
    """The same losses as a scalar of each step, in a directory of their own, for TensorBoard's tab."""
    file = EventFile(folder)
    for step, value in enumerate(loss.tolist()):
        content = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag="Loss/train", simple_value=value)])
        file.add_event(event_pb2.Event(wall_time=1.7e9 + step, step=step, summary=content))
    file.close()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=1_000_000)
    parser.add_argument("--loads", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    reason = missing()
    if reason:
        parser.error(reason)
    with tempfile.TemporaryDirectory() as place:
        write(Path(place, RUN), args.batches)
        (run,) = load_runs(Path(place, RUN)).values()
        loss = np.array(run.loss)
        scalars(Path(place, "scalars"), loss)
        with tensorboard(Path(place)) as server, shared_browser():
            server.wait_for_runs([RUN])
            show({**of_server(server, args.batches), **of_browser(server, loss, args.loads)})


if __name__ == "__main__":
    main()
