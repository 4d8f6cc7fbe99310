"""The command `losslens`: reads arguments, calls the library, prints. Nothing is decided here.

Exit codes: 0 done; 1 a finding of the kind that `--fail-on` names; 2 something cannot be read, said in one sentence.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tb_losslens import __version__
from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.errors import LossLensError
from tb_losslens.store.label import run_label
from tb_losslens.store.run import Run

_FAILED = 1
_UNREADABLE = 2
_WIDTH = 110
"""Columns of a report that goes to a file or a pipe."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "demo":
            return _demo(arguments.logdir)
        return _report(arguments.logdir, arguments.format, arguments.run, arguments.fail_on)
    except LossLensError as error:
        sys.stderr.write(f"losslens: {error}\n")
        return _UNREADABLE
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="losslens", description="Why did the loss jump there?")
    parser.add_argument("--version", action="version", version=f"losslens {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    report = commands.add_parser("report", help="print the verdicts of the runs in a log directory")
    report.add_argument("logdir", help="what `tensorboard --logdir` would be given")
    report.add_argument("--format", choices=("text", "json", "markdown"), default="text", help="text by default")
    report.add_argument("--run", help="only the run of this name")
    report.add_argument(
        "--fail-on", choices=("fault", "artifact", "unknown"), help="exit with code 1 if a run has a finding of this kind"
    )
    demo = commands.add_parser("demo", help="train the demo runs and open them in TensorBoard (from a checkout)")
    demo.add_argument("--logdir", default="demo/runs", help="where the runs go (default: %(default)s)")
    return parser


def _report(logdir: str, form: str, only: str | None, fail_on: str | None) -> int:
    runs, plain = _load(logdir, only)
    diagnoses = [_judged(run) for run in runs]
    # Programs read the name by which the run is asked for.
    shown = diagnoses if form == "json" else [replace(one, run=run_label(one.run, logdir)) for one in diagnoses]
    _print(shown, form, plain)
    found = any(fail_on in (one.kind, *(finding.kind for finding in one.findings)) for one in diagnoses)
    return _FAILED if found else 0


def _judged(run: Run) -> Diagnosis:
    """The diagnosis of a run; one that cannot be judged must not take the others along."""
    from tb_losslens.analysis.engine import diagnose
    from tb_losslens.analysis.finding import Diagnosis

    try:
        return diagnose(run)
    except Exception as error:  # noqa: BLE001 - said in the run's own place
        trouble = f"This run could not be diagnosed ({type(error).__name__}: {error})."
        return Diagnosis(
            run.name, trouble, "unknown", headline=trouble, short="not diagnosed", problems=(trouble,), batches=len(run)
        )


def _load(logdir: str, only: str | None) -> tuple[list[Run], tuple[str, ...]]:
    """The recorded runs, sorted by name, and the names of those that were not recorded; of these none where one is asked for.

    Raises:
        LossLensError: if there is nothing recorded, or nothing of the name `only`.
    """
    from tb_losslens.store.logdir import load_runs, unrecorded

    runs = {name: run for name, run in sorted(load_runs(logdir).items()) if not run.plain}
    plain = unrecorded(logdir, runs)
    if not runs and not plain:
        raise LossLensError(f"no event files in {logdir} or below: give the directory that TensorBoard's --logdir gets")
    if not runs:
        count = f"the only run in {logdir} was not" if len(plain) == 1 else f"none of the {len(plain)} runs in {logdir} was"
        raise LossLensError(f"{count} recorded with LossLens: use LossLensWriter in place of SummaryWriter, then train again")
    if only is None:
        return list(runs.values()), plain
    if only in plain:
        raise LossLensError(f"run {only!r} in {logdir} was not recorded with LossLens: use LossLensWriter for it")
    if only not in runs:
        raise LossLensError(f"no run {only!r} in {logdir}; the recorded runs are: {', '.join(map(repr, runs))}")
    return [runs[only]], ()


def _print(diagnoses: list[Diagnosis], form: str, plain: tuple[str, ...]) -> None:
    from rich.console import Console

    from tb_losslens import report

    if form == "json":
        sys.stdout.write(report.to_json(diagnoses, plain) + "\n")
        return
    if form == "markdown":
        sys.stdout.write(report.to_markdown(diagnoses, plain) + "\n")
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the marks are not ASCII, and a run's name may be anything
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    for number, diagnosis in enumerate(diagnoses):
        if number:
            console.rule(style="dim")
        report.print_text(diagnosis, console)
    report.print_unrecorded(plain, console)


def _demo(logdir: str) -> int:
    root = Path(__file__).resolve().parents[1]
    if not (root / "demo" / "run.py").is_file():
        raise LossLensError("the demo trainings are part of the source: clone the repository and run `make demo` there")
    target = str(Path(logdir).resolve())
    for step in ("demo.run", "demo.serve"):
        code = subprocess.run([sys.executable, "-m", step, "--logdir", target], cwd=root, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
