"""How the pages do in Lighthouse on a phone, as visitors get them: gunicorn behind nginx with deploy/nginx.

    make lighthouse                     or    .venv/bin/python -m bench.pages [--runs 5] [--json FILE]

Home, gallery, a shared picture and a finished order, each in a browser without anything kept: the median of so many
runs. It ends with 1 when a page is below what is promised.

A private page says `noindex`, so Lighthouse's audit `is-crawlable` must fail there. It is left out for the page of an
order, and for no other: search engines have no business with somebody's pictures.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from bench.front import Front
from scripts.processes import LOOPBACK
from tests.support.checkout import ROOT
from tests.support.ports import free_port
from tests.support.server import find_program
from tests.support.site import Site
from tests.support.space_server import SpaceServer

LIGHTHOUSE = ROOT / "bench/lighthouse/node_modules/.bin/lighthouse"
CHROME_FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
PHOTOGRAPHS = ROOT / "docs/photographs"
ORDERS = (("china.jpg", "ghibli"), ("chelsea.png", "golden"), ("coffee.png", "watercolour"), ("rocket.jpg", "night"))

LEAST = {"performance": 95, "accessibility": 100, "best-practices": 100, "seo": 100}
"""What every page has to reach, in Lighthouse's points."""
FIGURES = {
    "first-contentful-paint": "FCP ms", "largest-contentful-paint": "LCP ms", "total-blocking-time": "TBT ms",
    "cumulative-layout-shift": "CLS", "total-byte-weight": "bytes",
}  # fmt: skip
PRIVATE = ("is-crawlable",)
"""What cannot be asked of a private page."""


@dataclass(frozen=True)
class Report:
    """Points by category, figures by audit, and the audits that keep a category but performance from 100."""

    points: dict[str, int]
    figures: dict[str, float]
    faults: list[str]


@dataclass(frozen=True)
class Visit:
    """A page to look at: its address, the cookies of who looks, and the audits that it cannot pass on purpose."""

    name: str
    url: str
    cookie: str = ""
    skipped: Sequence[str] = ()


def audit(visit: Visit) -> Report:
    """One run of Lighthouse as a phone on a slow line; raises CalledProcessError when it could not run."""
    if not LIGHTHOUSE.exists():
        pytest.fail("Lighthouse is missing. Run: make setup-test", pytrace=False)
    chromium = find_program("chromium", "chromium-browser", "google-chrome", package="chromium")
    words = [
        LIGHTHOUSE,
        visit.url,
        "--quiet",
        "--output=json",
        "--output-path=stdout",
        f"--chrome-flags={CHROME_FLAGS}",
    ]
    if visit.cookie:
        words.append(f"--extra-headers={json.dumps({'Cookie': visit.cookie})}")
    if visit.skipped:
        words.append(f"--skip-audits={','.join(visit.skipped)}")
    env = {**os.environ, "CHROME_PATH": chromium}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=True)
    return _read(json.loads(done.stdout))


def _read(result: dict[str, Any]) -> Report:
    categories, audits = result["categories"], result["audits"]
    faults = [
        f"{name}: {ref['id']}"
        for name, category in categories.items()
        if name != "performance"
        for ref in category["auditRefs"]
        if ref["weight"] and audits[ref["id"]]["score"] not in (None, 1)
    ]
    points = {name: round((category["score"] or 0) * 100) for name, category in categories.items()}
    return Report(points, {key: audits[key]["numericValue"] for key in FIGURES}, faults)


def median_of(reports: Sequence[Report]) -> Report:
    """The medians of several runs, and every fault of any of them."""
    return Report(
        {key: round(statistics.median(one.points[key] for one in reports)) for key in LEAST},
        {key: statistics.median(one.figures[key] for one in reports) for key in FIGURES},
        sorted({fault for one in reports for fault in one.faults}),
    )


def prepare(url: str, orders: Sequence[tuple[str, str]] = ORDERS) -> list[Visit]:
    """Order, share and hang these photographs in these styles on a running site; gives the pages to look at."""
    session = requests.Session()
    session.headers["X-CSRFToken"] = session.get(f"{url}/api/csrf", timeout=30).json()["csrfToken"]
    tasks = [_painted(session, url, PHOTOGRAPHS / name, style) for name, style in orders]
    shares = [
        session.post(
            f"{url}/api/share", json={"taskId": task, "inGallery": True, "showOriginal": True}, timeout=60
        ).json()["shareId"]
        for task in tasks
    ]
    cookie = "; ".join(f"{one.name}={one.value}" for one in session.cookies)
    session.close()
    return [
        Visit("home", f"{url}/"),
        Visit("gallery", f"{url}/gallery"),
        Visit("share", f"{url}/share/{shares[0]}"),
        Visit("task", f"{url}/tasks/{tasks[0]}", cookie, PRIVATE),
    ]


def _painted(session: requests.Session, url: str, photo: Path, style: str) -> str:
    with photo.open("rb") as file:
        answer = session.post(f"{url}/api/generate-image", files={"image": file}, data={"style": style}, timeout=60)
    task = str(answer.json()["taskId"])
    while (state := session.get(f"{url}/api/poll-task", params={"taskId": task}, timeout=30).json())["nextPollMs"]:
        time.sleep(state["nextPollMs"] / 1000)
    if state["status"] != "SUCCESS":
        raise SystemExit(f"The bundled painter did not paint {photo.name}.")
    return task


def table(medians: dict[str, Report]) -> str:
    """The medians as people read them."""
    lines = ["page     " + "".join(f"{name:>16}" for name in (*LEAST, *FIGURES.values()))]
    for name, one in medians.items():
        figures = [f"{value:,.3f}" if value < 1 else f"{value:,.0f}" for value in one.figures.values()]
        lines.append(f"{name:<9}" + "".join(f"{value:>16}" for value in (*one.points.values(), *figures)))
        lines += [f"         {fault}" for fault in one.faults]
    return "\n".join(lines)


def measure(visits: Sequence[Visit], runs: int) -> dict[str, list[Report]]:
    """Every page so many times, in turns, so that a busy minute meets them all."""
    reports: dict[str, list[Report]] = {visit.name: [] for visit in visits}
    for number in range(runs):
        for visit in visits:
            reports[visit.name].append(audit(visit))
        print(f"run {number + 1} of {runs}", file=sys.stderr, flush=True)
    return reports


def main() -> int:
    """Start everything, measure, tell; 1 when a page is below what it has to reach."""
    parser = argparse.ArgumentParser(description="Measure the pages with Lighthouse.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, default=ROOT / "instance/lighthouse.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        space = SpaceServer(folder / "space")
        (folder / "site").mkdir()
        site = Site(
            ROOT,
            folder / "site",
            database_url=f"sqlite:///{folder}/site.sqlite3",
            gradio_url=space.url,
            APP_URL=f"http://{LOOPBACK}:{port}",
            TRUSTED_PROXIES="1",
        )
        front = Front(folder / "nginx", port, f"{LOOPBACK}:{site.port}")
        try:
            space.start()
            space.warm()
            site.start()
            front.start()
            reports = measure(prepare(front.url), options.runs)
        finally:
            front.stop()
            site.stop()
            space.stop()
    medians = {page: median_of(of_page) for page, of_page in reports.items()}
    print(table(medians))
    _keep(options.json, reports, medians)
    below = [page for page, one in medians.items() if any(one.points[key] < least for key, least in LEAST.items())]
    return 1 if below else 0


def _keep(target: Path, reports: dict[str, list[Report]], medians: dict[str, Report]) -> None:
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
    }
    pages = {
        page: {"median": asdict(medians[page]), "runs": [asdict(one) for one in of_page]}
        for page, of_page in reports.items()
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"machine": machine, "pages": pages}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
