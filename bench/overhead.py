"""What the road adds to the painting: orders over HTTP beside bare gradio_client calls to the same Space, in turn.

Start the product first (GUEST_DAILY_LIMIT and its per-address twin raised, ORDERS_PER_MINUTE=0), then

    .venv/bin/python -m bench.overhead --site http://127.0.0.1:3000 --space http://127.0.0.1:7860 [--runs 30]

Prints both medians and the ratio, and the difference run by run, for a photograph of 2 megapixels.
"""

import argparse
import statistics
import tempfile
import time
from io import BytesIO
from pathlib import Path

import requests
from gradio_client import Client, handle_file
from PIL import Image

PHOTO = Path(__file__).resolve().parent.parent / "docs/photographs/china.jpg"
POLL_EVERY_S = 0.02


def photo_of_two_megapixels(number: int) -> bytes:
    """The same scene at 1,733 x 1,156 px; the comment makes each run's bytes its own."""
    out = BytesIO()
    with Image.open(PHOTO) as image:
        image.convert("RGB").resize((1733, 1156), Image.Resampling.LANCZOS).save(
            out, "JPEG", quality=88, comment=f"{time.time()} {number}"
        )
    return out.getvalue()


def by_the_road(site: str, photo: bytes) -> float:
    """Seconds from the first byte sent to the picture in hand, by our API."""
    begin = time.perf_counter()
    answer = requests.post(f"{site}/api/generate-image", files={"image": ("p.jpg", photo)}, timeout=60)
    answer.raise_for_status()
    task = answer.json()["taskId"]
    while True:
        state = requests.get(f"{site}/api/poll-task", params={"taskId": task}, timeout=60).json()
        if state["status"] == "SUCCESS":
            break
        if state["status"] != "PENDING" and state["status"] != "PROCESSING":
            raise SystemExit(f"an order ended {state['status']}: {state['error']}")
        time.sleep(POLL_EVERY_S)
    requests.get(site + state["urls"][0], timeout=60).raise_for_status()
    return time.perf_counter() - begin


def by_bare_client(client: Client, photo: bytes) -> float:
    """Seconds for the same painting by gradio_client alone, its result downloaded."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(photo)
        file.flush()
        begin = time.perf_counter()
        client.predict(
            prompt="Ghibli Studio style, Charming hand-drawn anime-style illustration",
            spatial_img=handle_file(file.name),
            height=688,
            width=1024,
            seed=42,
            control_type="Ghibli",
            api_name="/single_condition_generate_image",
        )
        return time.perf_counter() - begin


def main() -> None:
    """Read the addresses and measure in turn, so that a slower machine is slower for both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", required=True)
    parser.add_argument("--space", required=True)
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # gradio_client leaves an empty folder there for every picture.
        measure(options.site, options.space, options.runs)


def measure(site: str, space: str, runs: int) -> None:
    """One warm-up of each, then the runs in turn."""
    client = Client(space, token=False, verbose=False)
    by_the_road(site, photo_of_two_megapixels(-1))
    by_bare_client(client, photo_of_two_megapixels(-2))
    road, bare = [], []
    for number in range(runs):
        road.append(by_the_road(site, photo_of_two_megapixels(number)))
        bare.append(by_bare_client(client, photo_of_two_megapixels(number)))
    extra = [ours - theirs for ours, theirs in zip(road, bare, strict=True)]
    print(f"road  median {statistics.median(road):.3f} s (min {min(road):.3f}, max {max(road):.3f})")
    print(f"bare  median {statistics.median(bare):.3f} s (min {min(bare):.3f}, max {max(bare):.3f})")
    ratio = statistics.median(road) / statistics.median(bare)
    print(f"extra median {statistics.median(extra):.3f} s; ratio of medians {ratio:.2f}")


if __name__ == "__main__":
    main()
