"""Trains the gallery and measures the diagnosis on it: `python -m demo.gallery [--out demo/gallery_runs] [--seeds 0 1 2]`.

Run names are random, so that nothing but the recording can tell what was done. Written are `matrix.txt`, `matrix.json` (with
every training's score) and `matrix.svg`.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo.gallery.catalogue import LOOPS, Training, train, trainings
from demo.gallery.judge import Score, judge, summary
from demo.training import train_all


def measure(table: dict[str, Training], logdir: Path, console: Console) -> dict[str, Score]:
    """The score of every run of `table` that is recorded in `logdir`."""
    from tb_losslens import diagnose, load_runs

    loaded = load_runs(str(logdir))
    return {
        run: judge(LOOPS[one.loop].TRUTH, diagnose(loaded[run]))
        for run, one in track(table.items(), "diagnosing", len(table), console=console)
        if run in loaded
    }


def as_text(figures: dict[str, Any], scores: dict[str, Score], table: dict[str, Training]) -> str:
    """The figures, the matrix and what went wrong, as text."""
    lines = [f"{name}: {value}" for name, value in figures.items() if name != "matrix"]
    lines += ["", "cause that is there: what leads the findings"]
    for truth, said in figures["matrix"].items():
        lines.append(f"  {truth}: " + ", ".join(f"{cause} {count}" for cause, count in said.items()))
    lines += ["", "not right:"]
    for run, score in sorted(scores.items(), key=lambda item: asdict(table[item[0]])["loop"]):
        if not score.first or score.located is False or score.others:
            one = table[run]
            where = {True: "", False: ", not located", None: ""}[score.located]
            beside = f", false beside it: {', '.join(score.others)}" if score.others else ""
            lines.append(f"  {one.loop} on {one.base}, seed {one.seed} ({run}): {score.said}{where}{beside}")
    return "\n".join(lines) + "\n"


def _printed(figures: dict[str, Any]) -> Table:
    table = Table("figure", "value")
    for name, value in figures.items():
        if name != "matrix":
            table.add_row(name, f"{value:.1%}" if isinstance(value, float) else str(value))
    return table


def main(arguments: list[str] | None = None) -> int:
    """Trains, measures, writes, prints; 1 if a training failed."""
    parser = argparse.ArgumentParser(prog="python -m demo.gallery", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo/gallery_runs"), help="where runs and figures go")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--only", nargs="+", choices=sorted(LOOPS), help="these trainings only")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    parser.add_argument("--again", action="store_true", help="diagnose what is recorded there, without training")
    options = parser.parse_args(arguments)
    console = Console()
    logdir, names = options.out / "logs", options.out / "names.json"
    failed = []
    if options.again:
        table = {run: Training(**one) for run, one in json.loads(names.read_text()).items()}
        table = {run: one for run, one in table.items() if not options.only or one.loop in options.only}
    else:
        table = {secrets.token_hex(6): one for one in trainings(options.seeds, options.only)}
        logdir.mkdir(parents=True, exist_ok=True)
        names.write_text(json.dumps({run: asdict(one) for run, one in table.items()}, indent=1))
        made = train_all(partial(train, table), list(table), logdir, jobs=options.jobs)
        failed = [done for done in track(made, "training", len(table), console=console) if done.error]
    for done in failed:
        console.print(table[done.run], done.error, markup=False, highlight=False)
    scores = measure(table, logdir, console)
    figures = summary(scores.values())
    (options.out / "matrix.txt").write_text(as_text(figures, scores, table))
    every = [{"run": run, **asdict(table[run]), **asdict(score)} for run, score in scores.items()]
    (options.out / "matrix.json").write_text(json.dumps({**figures, "runs": every}, indent=1))
    from demo.gallery.picture import draw

    draw(figures["matrix"], options.out / "matrix.svg")
    console.print(_printed(figures))
    console.print(f"{options.out}/matrix.txt, matrix.json, matrix.svg", highlight=False)
    return 1 if failed or len(scores) < len(table) else 0


if __name__ == "__main__":
    sys.exit(main())
