"""The command `losslens`: reads arguments, calls the library, prints. Nothing is decided here.

Exit codes: 0 done; 1 a finding of the kind that `--fail-on` names; 2 something cannot be read, said in one sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tb_losslens import __version__
from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.errors import LossLensError
from tb_losslens.store.label import run_label
from tb_losslens.store.run import Run

if TYPE_CHECKING:
    from tb_losslens.report import LeftOut

_FAILED = 1
_UNREADABLE = 2
_WIDTH = 110
"""Columns of a report that goes to a file or a pipe."""
_MOST_RUNS = 12
"""Runs up to which each is printed below the table of all."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "demo":
            return _demo(arguments.logdir)
        return _report(arguments)
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
    report.add_argument("--format", choices=("text", "json", "markdown", "html"), default="text", help="text by default")
    report.add_argument("--output", metavar="FILE", help="where the report goes in place of the terminal")
    report.add_argument("--run", help="only the run of this name")
    report.add_argument("--full", action="store_true", help="text: all evidence of all findings, for every run")
    report.add_argument(
        "--fail-on", choices=("fault", "artifact", "unknown"), help="exit with code 1 if a run has a finding of this kind"
    )
    plain = report.add_argument_group("logs that were not recorded with LossLens")
    plain.add_argument("--loss-tag", metavar="TAG", help="the scalar that is the training loss; found by its name without this")
    plain.add_argument(
        "--batches-per-epoch", type=_count, metavar="N", help="steps of an epoch, as that scalar counts; else from the log"
    )
    demo = commands.add_parser("demo", help="train the demo runs and open them in TensorBoard (from a checkout)")
    demo.add_argument("--logdir", default="demo/runs", help="where the runs go (default: %(default)s)")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


def _report(arguments: argparse.Namespace) -> int:
    from tb_losslens.report import LeftOut

    logdir, form, only, fail_on = arguments.logdir, arguments.format, arguments.run, arguments.fail_on
    runs = _load(logdir, only, {"loss_tag": arguments.loss_tag, "batches_per_epoch": arguments.batches_per_epoch})
    diagnoses, kept, left_out = [], [], []
    for run in runs:
        told = _judged(run)
        if run.plain and not told.findings and not told.epochs:
            left_out.append(LeftOut(run.name, told.pooled.reason or told.verdict))
        else:
            diagnoses.append(told)
            kept.append(run)
    _nothing_left(logdir, only, diagnoses, left_out)
    # Programs read the name by which the run is asked for.
    shown = diagnoses if form == "json" else [replace(one, run=run_label(one.run, logdir)) for one in diagnoses]
    with _to(arguments.output):
        _print(shown, form, left_out, kept, full=arguments.full)
    found = any(fail_on in (one.kind, *(finding.kind for finding in one.findings)) for one in diagnoses)
    return _FAILED if found else 0


def _nothing_left(logdir: str, only: str | None, diagnoses: list[Diagnosis], left_out: list[LeftOut]) -> None:
    """Says what is lacking where no run can be judged.

    Raises:
        LossLensError: if `diagnoses` is empty.
    """
    if diagnoses:
        return
    why = left_out[0].why if len(left_out) == 1 else "`losslens report --run NAME` says what each of them lacks."
    if only is not None:
        raise LossLensError(f"run {only!r} in {logdir} was not recorded with LossLens: use LossLensWriter for it. {why}")
    count = f"the only run in {logdir} was not" if len(left_out) == 1 else f"none of the {len(left_out)} runs in {logdir} was"
    raise LossLensError(
        f"{count} recorded with LossLens: use LossLensWriter in place of SummaryWriter, then train again. "
        f"Of the log as it is: {why}"
    )


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


def _load(logdir: str, only: str | None, how: dict[str, Any]) -> list[Run]:
    """The recorded runs, sorted by name, then the plain ones; only that of the name `only` where one is asked for.

    Raises:
        LossLensError: if there are no event files, or nothing of the name `only`.
    """
    from tb_losslens.store.logdir import load_runs, unrecorded
    from tb_losslens.store.plain import plain_runs

    runs = dict(sorted(load_runs(logdir).items()))
    names = unrecorded(logdir, runs)
    if not runs and not names:
        raise LossLensError(f"no event files in {logdir} or below: give the directory that TensorBoard's --logdir gets")
    if only in runs:
        return [runs[only]]
    if only is not None and only not in names:
        kinds = f"recorded runs are: {', '.join(map(repr, runs))}" if runs else f"runs are: {', '.join(map(repr, names))}"
        raise LossLensError(f"no run {only!r} in {logdir}; the {kinds}")
    plain = plain_runs(logdir, runs, only=only, **how)
    return [*([] if only else runs.values()), *plain.values()]


@contextlib.contextmanager
def _to(output: str | None) -> Iterator[None]:
    """What is printed inside goes to the file `output`, all at once at the end; to the terminal where that is None.

    Raises:
        LossLensError: if the file cannot be written.
    """
    if output is None:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        yield
    try:
        Path(output).write_bytes(printed.getvalue().encode("utf-8", errors="replace"))
    except OSError as error:
        raise LossLensError(f"cannot write {output}: {error.strerror}") from error


def _print(diagnoses: list[Diagnosis], form: str, plain: list[LeftOut], runs: list[Run], *, full: bool) -> None:
    from rich.console import Console

    from tb_losslens import report

    if form == "html":
        from tb_losslens.html.document import to_html

        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # as the document itself says
        sys.stdout.write(to_html(list(zip(runs, diagnoses, strict=True)), plain))
        return
    if form == "json":
        sys.stdout.write(report.to_json(diagnoses, plain) + "\n")
        return
    if form == "markdown":
        sys.stdout.write(report.to_markdown(diagnoses, plain) + "\n")
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the marks are not ASCII, and a run's name may be anything
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    if len(diagnoses) > 1:
        report.print_runs(diagnoses, console)
    if full or len(diagnoses) <= _MOST_RUNS:
        for diagnosis in diagnoses:
            if len(diagnoses) > 1:
                console.rule(style="dim")
            report.print_text(diagnosis, console, full=full)
    else:
        console.print()
        console.print("`--run NAME` prints one of them, `--full` all.", style="dim", markup=False)
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
