"""scripts/smoke.py walks through the running site, and names what is broken on one that is not well."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from scripts import smoke
from scripts.smoke import Walk
from tests.support.checkout import ROOT, offline_env
from tests.support.site import Site

STEPS = [
    "test-env", "health", "upload", "order", "poll", "image", "thumbnail", "duplicate", "share", "share page",
    "gallery", "revoke", "delete", "words",
]  # fmt: skip
LINE = re.compile(r"(ok|skipped|FAILED) +(.{11}) +(\d+\.\d\d) s  (\S+) +(.*)")


def told(lines: list[str]) -> list[tuple[str, str]]:
    """Verdict and name of each step that was told of."""
    return [(match[1], match[2].strip()) for line in lines if (match := LINE.fullmatch(line.ljust(45)))]


def walked(walk: Walk) -> tuple[int, list[str]]:
    """Walk; gives the exit code and the lines."""
    lines: list[str] = []
    return smoke.run(walk, lines.append), lines


def live_shares(site: Site) -> int:
    """How many shares there are."""
    return int(requests.get(f"{site.url}/api/share/monitor", timeout=10).json()["live"])


def test_a_site_that_works(site: Site) -> None:
    """Every step is one line with a time and a store, the end is 0, and nothing of it is left on the site."""
    before = live_shares(site)
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/smoke.py", f"{site.url}/", "--seconds", "120"],
        env=offline_env(), capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert told(lines) == [("ok", name) for name in STEPS]
    assert lines[-1] == "The site works."
    assert re.search(r"upload .* local +256 x 192$", done.stdout, re.MULTILINE)
    assert re.search(r"words .* site +openai, ", done.stdout, re.MULTILINE)
    assert live_shares(site) == before


def test_a_site_without_a_painter(site: Site) -> None:
    """With the worker gone the poll is named within the given time, the end is 1, and the order is taken away."""
    site["worker"].stop()
    walk = Walk(site.url, seconds=4)
    code, lines = walked(walk)
    assert code == 1
    assert told(lines)[-1] == ("FAILED", "poll")
    assert "it is not done in time: queued" in lines[-2]
    assert lines[-1] == "The site does not work."
    task_id = walk._photo_task
    assert requests.get(f"{site.url}/api/poll-task", params={"taskId": task_id}, timeout=10).status_code == 404


def test_a_site_that_is_away() -> None:
    """Nobody at the address is the first step's failure, told at once and without a traceback."""
    code, lines = walked(Walk("http://127.0.0.1:1", seconds=5))
    assert (code, told(lines)) == (1, [("FAILED", "test-env")])
    assert "GET /api/test-env: no answer, ConnectionError" in lines[0]


class Spoiled(HTTPAdapter):
    """Carries requests to the site, but answers those of this method and path itself."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        super().__init__()
        self._method, self._path, self._status, self._text = method, re.compile(path), status, text

    def send(self, request: requests.PreparedRequest, *words: Any, **options: Any) -> requests.Response:
        if request.method != self._method or not self._path.fullmatch(urlsplit(request.url or "").path):
            return super().send(request, *words, **options)
        answer = requests.Response()
        answer.request, answer.url, answer.status_code = request, request.url or "", self._status
        answer._content = self._text.encode()
        answer.headers["Content-Type"] = "application/json"
        return answer


@pytest.mark.parametrize(
    ("step", "method", "path", "status", "text", "says"),
    [
        ("test-env", "GET", "/api/test-env", 200, '{"settings": {"API_TOKEN": "abc"}}', "tells more than"),
        ("health", "GET", "/health", 200, "[]", "another shape than promised"),
        ("upload", "POST", "/api/upload-image", 503, '{"code": "unavailable", "detail": "away"}', "unavailable: away"),
        ("image", "GET", "/api/image/[^/]+", 200, "{}", "gives no picture but application/json"),
        ("share page", "GET", "/share/[^/]+", 200, "<html></html>", "no card for chats"),
        ("revoke", "GET", "/share/[^/]+/card", 200, "{}", "/card answers 200"),
        ("delete", "GET", "/api/poll-task", 200, "{}", "/api/poll-task answers 200"),
    ],
)  # fmt: skip
def test_a_site_that_is_broken(
    site: Site, step: str, method: str, path: str, status: int, text: str, says: str
) -> None:
    """The step that meets a wrong answer is named, the end is 1, and nothing stays on the site."""
    before = live_shares(site)
    walk = Walk(site.url, seconds=60)
    wanted = dict(walk.steps)[step]

    def spoiled() -> smoke.Seen:
        walk._session.mount(site.url, Spoiled(method, path, status, text))
        try:
            return wanted()
        finally:
            walk._session.mount(site.url, HTTPAdapter())

    walk.steps = tuple((name, spoiled if name == step else one) for name, one in walk.steps)
    code, lines = walked(walk)
    assert code == 1
    assert told(lines) == [("ok", name) for name in STEPS[: STEPS.index(step)]] + [("FAILED", step)]
    assert says in lines[-2]
    assert live_shares(site) == before
    if walk._photo_task:
        poll = requests.get(f"{site.url}/api/poll-task", params={"taskId": walk._photo_task}, timeout=10)
        assert poll.status_code == 404


def test_a_site_whose_rules_forbid_the_order(site: Site) -> None:
    """Used-up free tries are the operator's own rule: what needs the picture is skipped, and the site works."""
    walk = Walk(site.url, seconds=60, with_words=False)
    refusal = '{"code": "sign_in_required", "detail": "Today\'s free tries are used up."}'
    walk._session.mount(site.url, Spoiled("POST", "/api/generate-image", 401, refusal))
    code, lines = walked(walk)
    assert code == 0
    assert told(lines) == [("ok", name) for name in STEPS[:3]] + [("skipped", name) for name in STEPS[3:]]
    assert "sign_in_required: Today's free tries are used up." in lines[3]


@pytest.mark.parametrize("url", ["paint.example.org", "ftp://paint.example.org", "https://"])
def test_an_address_that_is_none(url: str) -> None:
    """Something else than an address is code 2."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/smoke.py", url], env=offline_env(), capture_output=True, timeout=30
    )
    assert done.returncode == 2
