"""`make bench-painter`: the bundled painter beside OpenCV's stylization, on the same pictures, on one core and on two.

    make bench-painter                  or    .venv/bin/python -m bench.painter [--rounds 3]

Every way paints in a process of its own, and the ways take turns, so that a slower machine is slower for all. The
pictures are photographs of docs/photographs at one megapixel, which is what the painter paints at most.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from bench.figures import Figure, Rounds
from bench.report import Report, json_path
from scripts.procfile import ROOT

PHOTOGRAPHS = ("china.jpg", "astronaut.png", "coffee.png", "flower.jpg")
MEGAPIXEL = 1_000_000
WAYS = ("ghibli", "golden", "night", "watercolour", "stylization")
LOOKS = {"ghibli": "meadow"}
"""Ours under the names of the site; the painter's own name where it differs."""


def painters(rounds: int = 3, repeats: int = 2, pixels: int = MEGAPIXEL, ways: tuple[str, ...] = WAYS) -> list[Figure]:
    """Every look and OpenCV's stylization on 1 and 2 cores; needs the Space's environment."""
    gathered = Rounds()
    cores = [number for number in (1, 2) if number <= len(os.sched_getaffinity(0))]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        pictures = _pictures(Path(name), pixels)
        for _round in range(rounds):
            for count in cores:
                for way in ways:
                    done = _paint(way, count, repeats, pictures)
                    gathered.add(
                        **{
                            f"{way} {count} wall": statistics.median(wall for wall, _cpu in done["taken"]),
                            f"{way} {count} cpu": statistics.median(cpu for _wall, cpu in done["taken"]),
                            f"{way} {count} peak": done["peak_mb"],
                        }
                    )
    figures = []
    for way in ways:
        words = "OpenCV's stylization" if way == "stylization" else f"our {way}"
        for count in cores:
            figures.append(gathered.figure(f"{way} {count} wall", f"{words}, {count} core{'s' * (count > 1)}", "s/MP"))
        figures.append(gathered.figure(f"{way} {cores[-1]} cpu", f"{words}, processor time", "s/MP"))
        figures.append(gathered.figure(f"{way} {cores[-1]} peak", f"{words}, highest memory of the process", "MiB"))
    return figures


def _pictures(folder: Path, pixels: int) -> list[Path]:
    """The photographs at this size."""
    made = []
    for name in PHOTOGRAPHS:
        with Image.open(ROOT / "docs/photographs" / name) as image:
            scale = (pixels / (image.width * image.height)) ** 0.5
            size = round(image.width * scale), round(image.height * scale)
            made.append(folder / f"{Path(name).stem}.png")
            image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(made[-1])
    return made


def _paint(way: str, cores: int, repeats: int, pictures: list[Path]) -> dict:
    """One process that paints all pictures."""
    command = [
        # Without -P the folder of the script comes first, and `painter` would be this module.
        ROOT / "space/.venv/bin/python", "-P", ROOT / "bench/easel.py", LOOKS.get(way, way), str(cores), str(repeats),
        *pictures,
    ]  # fmt: skip
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "space"),
        "NUMBA_NUM_THREADS": str(cores),
        "NUMBA_CACHE_DIR": str(ROOT / "instance/numba-cache"),
    }
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The painting failed: {done.stderr}")
    return json.loads(done.stdout)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=json_path("painter"))
    options = parser.parse_args()
    report = Report()
    words = f"{len(PHOTOGRAPHS)} photographs of one megapixel, wall seconds for each megapixel"
    report.add("painter", words, lambda: painters(options.rounds))
    report.finish(options.json)


if __name__ == "__main__":
    main()
