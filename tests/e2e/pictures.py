"""Takes pictures of the tab over the demo runs: `python -m tests.e2e.pictures [--runs DIR] [--out DIR] [--readme]`.

They are there to be looked at after each change of the page, light and dark, at the widths that it is drawn for.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
from PIL import Image

from tests.e2e.browser import missing, scenario
from tests.tensorboard_process import tensorboard

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = {
    "losslens": {"run": "cosine_restarts", "boundary": "1"},
    "epochs": {"run": "shuffle_once", "view": "epochs"},
    "batches": {"run": "bad_batches_500_to_520", "view": "batches", "batch": "507"},
}
"""The pictures of the README, by name: the runs are those of the demo."""
HEIGHTS = {"losslens": 950, "epochs": 1100, "batches": 1320}
COLOURS = ROOT / "frontend" / "src" / "views" / "colours.css"
MOST_BYTES = 150_000
VIEWS = ["boundary", "epochs", "batches", "layers", "compare"]
SIZES = [[800, 2200], [1280, 1500], [1400, 1400], [1920, 1200]]


def take(base: str, out: Path, places: dict[str, dict[str, str]], sizes: list[list[int]]) -> None:
    """Writes `NAME-WIDTH-light.png` and `-dark.png` into `out` for each place, a state of the page by name."""
    out.mkdir(parents=True, exist_ok=True)
    scenario("pictures", base, timeout=3600, folder=str(out), places=places, sizes=sizes)


def compress(source: Path, target: Path) -> int:
    """Writes `source` with at most 256 colours, without loss of sharpness; bytes written.

    The colours of the marks are kept as they are: a mark of few pixels would turn grey where the most frequent colours
    are chosen.
    """
    target.parent.mkdir(exist_ok=True)
    with Image.open(source) as opened:
        picture = opened.convert("RGB")
    own = [[int(pair, 16) for pair in re.findall("..", hexes)] for hexes in re.findall(r"#([0-9a-f]{6});", COLOURS.read_text())]
    seen, index, count = np.unique(np.asarray(picture).reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    frequent = seen[np.argsort(-count)[:128]].tolist()
    rest = np.reshape(picture.quantize(256, dither=Image.Dither.NONE).getpalette() or [], (-1, 3)).tolist()
    palette = np.array(list(dict.fromkeys(map(tuple, own + frequent + rest)))[:256], dtype=np.uint8)
    distance = ((seen[:, None].astype(np.int32) - palette.astype(np.int32)) ** 2).sum(axis=2)
    nearest = distance.argmin(axis=1).astype(np.uint8)
    written = Image.fromarray(nearest[index.reshape(-1)].reshape(picture.height, picture.width), mode="P")
    written.putpalette(palette.reshape(-1).tolist())
    written.save(target, optimize=True)
    return target.stat().st_size


def main() -> None:
    """Pictures of every run in the log directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=ROOT / "demo" / "runs")
    parser.add_argument("--out", type=Path, default=ROOT / "screenshots")
    parser.add_argument("--only", nargs="*", help="names of runs; default all")
    parser.add_argument("--views", nargs="*", default=VIEWS, help="views below the timeline; default all")
    parser.add_argument("--widths", type=int, nargs="*", help="only these; default all that the page is drawn for")
    parser.add_argument("--readme", action="store_true", help="write the pictures of the README, too")
    arguments = parser.parse_args()
    reason = missing()
    if reason:
        parser.error(reason)
    names = sorted(path.name for path in arguments.runs.iterdir() if path.is_dir())
    if arguments.only:
        names = [name for name in names if name in arguments.only]
    with tensorboard(arguments.runs) as server:
        server.wait_for_runs(names)
        places = {f"{name}-{view}": {"run": name, "view": view} for name in names for view in arguments.views}
        sizes = [size for size in SIZES if not arguments.widths or size[0] in arguments.widths]
        take(server.base, arguments.out.resolve(), places, sizes)
        if arguments.readme:
            server.wait_for_runs([place["run"] for place in README.values()])
            for name, place in README.items():
                take(server.base, arguments.out.resolve(), {f"readme-{name}": place}, [[1400, HEIGHTS[name]]])
                size = compress(arguments.out / f"readme-{name}-1400-light.png", DOCS / f"{name}.png")
                print(f"{name}.png: {size} bytes")
                if size > MOST_BYTES:
                    parser.exit(1, f"{name}.png is over {MOST_BYTES} bytes\n")
    print(f"pictures of {len(names)} runs are in {arguments.out}")


if __name__ == "__main__":
    main()
