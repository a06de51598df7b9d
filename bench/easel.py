"""One painter at work, in a process of its own: `easel.py HOW CORES REPEATS PICTURE…` under space/.venv.

Started by `bench.painter` once for each way and number of cores, with the environment that the libraries read when
they are imported. HOW is one of the painter's looks, or `stylization`, OpenCV's own. Prints as JSON the seconds of each
painting (wall and processor) and the process's highest memory.
"""

import json
import os
import resource
import sys
import time

import cv2
import numpy as np
from painter.paint import paint as paint_look
from PIL import Image


def paintings(how: str):
    """The chosen way to paint, as a function of one picture."""
    if how == "stylization":
        return cv2.stylization
    return lambda photo: paint_look(photo, how, 0)


def main() -> None:
    """Paint every picture so many times."""
    how, cores, repeats, *paths = sys.argv[1:]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    cv2.setNumThreads(int(cores))
    paint = paintings(how)
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    paint(np.ascontiguousarray(photos[0][:96, :128]))  # What is compiled or loaded at the first call is no painting.
    taken = []
    for photo in photos:
        for _repeat in range(int(repeats)):
            began, began_cpu = time.perf_counter(), time.process_time()
            paint(photo)
            megapixels = photo.shape[0] * photo.shape[1] / 1e6
            taken.append(((time.perf_counter() - began) / megapixels, (time.process_time() - began_cpu) / megapixels))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"taken": taken, "peak_mb": peak_kb / 1024}))


if __name__ == "__main__":
    main()
