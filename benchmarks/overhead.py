"""What recording costs a training, beside other watchers: `python -m benchmarks.overhead [--device cuda] [--json]`.

A share is extra time over the time of the training alone. Both run in turns in this process, each time from the start; the
time of the training thread is taken (wall time on a device), and the median of the turns. Recording also measures itself
inside each step; that is the finer figure where a step is long.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks.figures import Figure, show
from benchmarks.peers import Attach, installed, losslens, nothing, synchronize
from benchmarks.trainings import TRAININGS, Training

STEPS = {"MLP": 7936, "CNN": 120, "transformer": 60, "ResNet-18": 60}
"""Whole epochs, of 256 and of 60 steps: their ends cost more than a step."""
WARM = {"MLP": 12032, "CNN": 90, "transformer": 75, "ResNet-18": 75}
"""Steps before the clock starts: threads start, memory is taken, and what short runs are granted is spent."""
PEER = {"MLP": 0.05, "CNN": 0.2, "transformer": 0.25, "ResNet-18": 0.25}
"""Part of these steps that is made with a peer, some of which take many times as long as the training."""
TURNS = {"MLP": 5, "CNN": 3, "transformer": 3, "ResNet-18": 3}


def run(training: Training, attach: Attach, steps: int, warm: int, folder: Path) -> tuple[float, float]:
    """Seconds of `steps` steps after `warm` with a watcher, and what it says that it spent of them (NaN if it does not say)."""
    watcher = attach(training, folder)
    step = watcher.step or training.step
    clock = time.perf_counter if training.device.type == "cuda" else time.thread_time
    done, start, spent = 0, 0.0, 0.0
    begin = time.perf_counter()
    while done < steps + warm:
        for inputs, targets in watcher.loader:
            if done == warm:
                synchronize(training.device)
                start, begin = clock(), time.perf_counter()
                spent = watcher.spent() if watcher.spent else 0.0
            loss = step(inputs, targets)
            if watcher.after is not None:
                watcher.after(loss, done)
            done += 1
            if done == steps + warm:
                break
    synchronize(training.device)
    seconds, elapsed = clock() - start, time.perf_counter() - begin
    told = (watcher.spent() - spent) / elapsed * seconds if watcher.spent else float("nan")
    watcher.close()
    return seconds, told


def shares(name: str, device: torch.device, peers: dict[str, Attach]) -> tuple[dict[str, float], float, float]:
    """Share of each watcher in per cent by name, LossLens as it measures itself, and milliseconds of a step alone."""
    make = next(make for make in TRAININGS if make(torch.device("cpu")).name == name)
    ways: dict[str, Attach] = {"alone": nothing, "LossLens": losslens, **peers}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    told = []
    for _ in range(TURNS[name]):
        for way, attach in list(ways.items()):
            torch.manual_seed(0)
            part = PEER[name] if way in peers else 1
            steps, warm = max(2, int(STEPS[name] * part)), max(2, int(WARM[name] * part))
            with tempfile.TemporaryDirectory() as folder:
                try:
                    taken, inside = run(make(device), attach, steps, warm, Path(folder))
                except Exception as error:  # a peer that cannot watch this model is left out
                    if way not in peers:
                        raise
                    print(f"{way} cannot watch {name}: {str(error).splitlines()[0][:100]}")
                    del ways[way], seconds[way]
                    continue
            seconds[way].append(taken / steps)
            if way == "LossLens":
                told.append(inside / taken)
    alone = median(seconds.pop("alone"))
    return {way: (median(times) / alone - 1) * 100 for way, times in seconds.items()}, median(told) * 100, alone * 1e3


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=list(STEPS))
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(args.device)
    peers = {} if args.no_peers else installed()
    figures: dict[str, Figure] = {}
    for name in [args.only] if args.only else list(STEPS):
        extra, told, alone = shares(name, device, peers)
        ours = extra.pop("LossLens")
        step = f"% of a step of {alone:.3g} ms"
        figures[f"{name}, in situ"] = Figure(told, step)
        figures[f"{name}, with against without"] = Figure(ours, step, extra)
    show(figures)


if __name__ == "__main__":
    main()
