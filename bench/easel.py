"""One painter at work, in a process of its own: `easel.py HOW CORES REPEATS PICTURE…` under space/.venv.

Started by `bench.painter` once for each way and number of cores. HOW is one of the painter's looks, or `stylization`,
OpenCV's own. Prints as JSON the seconds of each painting (wall and processor) and the process's highest memory.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

how, cores, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
# Both libraries read this when they are imported.
os.environ["NUMBA_NUM_THREADS"] = str(cores)
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "space"))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

cv2.setNumThreads(cores)


def paintings():
    """The chosen way to paint, as a function of one picture."""
    if how == "stylization":
        return lambda photo: cv2.stylization(photo)
    from painter.paint import paint

    return lambda photo: paint(photo, how, 0)


def main() -> None:
    """Paint every picture so many times."""
    paint = paintings()
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in sys.argv[4:]]
    paint(np.ascontiguousarray(photos[0][:96, :128]))  # What is compiled or loaded at the first call is no painting.
    taken = []
    for photo in photos:
        for _repeat in range(repeats):
            began, began_cpu = time.perf_counter(), time.process_time()
            paint(photo)
            megapixels = photo.shape[0] * photo.shape[1] / 1e6
            taken.append(((time.perf_counter() - began) / megapixels, (time.process_time() - began_cpu) / megapixels))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"taken": taken, "peak_mb": peak_kb / 1024}))


if __name__ == "__main__":
    main()
