"""`scripts/smoke.py URL`: walks through a running site as a visitor does, and takes everything away that it made.

Called by people after a change, by `deploy/upgrade.sh`, and by `make smoke URL=…`. It needs nothing but the public API.
Each step is one line with its time and the store that served it; the first one that fails is named and ends the walk.
A photo and, where an engine paints from words, some words are ordered as a guest: two free tries of this address, and
whatever the engine asks for. Ends with 0 when everything works, 1 when a step failed, 2 when the address is none.
"""

from __future__ import annotations

import argparse
import os
import secrets
import struct
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

WORKS, FAILED, NO_ADDRESS = 0, 1, 2

CONNECT_S, ANSWER_S, CLEAN_UP_S = 5.0, 30.0, 30.0
LONGEST_PAUSE_S = 5.0
PICTURE_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF")
MODES = ("image-to-image", "text-to-image")
REFUSALS_BY_RULE = frozenset({"sign_in_required", "no_credits", "maintenance", "site_limit", "too_many_requests"})
"""An operator's own rules: the site works, and nobody can be served here and now."""


class StepFailed(Exception):
    """The site did something else than it promises; the text says what."""


class StepSkipped(Exception):
    """A rule or the outcome of an earlier step leaves nothing to try; the text says which."""


@dataclass(frozen=True)
class Seen:
    """What a step that worked has to tell, and which store was part of it."""

    text: str = ""
    store: str = "-"


class Walk:
    """One walk through one site, bounded in time; `clean_up` takes away what is left."""

    def __init__(self, url: str, *, key: str | None = None, seconds: float = 300.0, with_words: bool = True) -> None:
        """`key` is the operator's; `seconds` bounds the walk, cleaning up apart."""
        self.url, self._key, self._with_words = url.rstrip("/"), key, with_words
        self._ends_at = time.monotonic() + seconds
        self._session = requests.Session()
        # Without an auth of its own a request would be given what ~/.netrc holds for the host.
        self._session.auth = lambda asked: asked
        self._order: dict[str, Any] = {}
        self._order_key = secrets.token_hex(16)
        self._token = self._photo_task = self._share_path = ""
        self._tasks: list[str] = []
        self._shares: dict[str, str] = {}
        self.steps: tuple[tuple[str, Callable[[], Seen]], ...] = (
            ("test-env", self._test_env),
            ("health", self._health),
            ("upload", self._upload),
            ("order", self._place_order),
            ("poll", self._poll),
            ("image", self._image),
            ("thumbnail", self._thumbnail),
            ("duplicate", self._duplicate),
            ("share", self._share),
            ("share page", self._share_page),
            ("gallery", self._gallery),
            ("revoke", self._revoke),
            ("delete", self._delete),
            ("words", self._words),
        )

    # --- The steps ---

    def _test_env(self) -> Seen:
        answer = self._ask("GET", "/api/test-env", headers=self._operator(), expect=(200, 404))
        if answer.status_code == 404:
            if self._key:
                raise StepFailed("the operator's key does not open it")
            return Seen("shut, as it should be without the operator's key")
        present = _json(answer)["settings"]
        if not all(isinstance(value, bool) for value in present.values()):
            raise StepFailed("it tells more than which settings are present")
        return Seen(f"{sum(present.values())} of {len(present)} settings are set")

    def _health(self) -> Seen:
        if _json(self._ask("GET", "/health", expect=(200,))) != {"status": "ok"}:
            raise StepFailed("/health does not say ok")
        health = _json(self._ask("GET", "/api/health", headers=self._operator(), expect=(200, 503)))
        down = ", ".join(name for name, state in health["checks"].items() if state != "up")
        if health["status"] == "down":
            raise StepFailed(f"no order can be accepted: {down}")
        return Seen(f"{health['version']}, {health['status']}" + (f", without {down}" if down else ""))

    def _upload(self) -> Seen:
        answer = self._ask(
            "POST", "/api/upload-image", files={"image": ("smoke.png", drawn_picture(), "image/png")}, expect=(201,)
        )
        upload = _json(answer)
        self._order = {"uploadId": upload["uploadId"]}
        self._picture(upload["url"])
        return Seen(f"{upload['width']} x {upload['height']}", upload["storage"])

    def _place_order(self) -> Seen:
        order = _json(self._submit(self._order, self._order_key, expect=(202,)))
        self._photo_task = order["taskId"]
        return Seen(f"position {order['queuePosition']}, {order['etaSeconds']} s expected")

    def _poll(self) -> Seen:
        task = self._wait(self._needs_task())
        return Seen(_outcome(task))

    def _image(self) -> Seen:
        return self._picture(f"/api/image/{self._needs_task()}")

    def _thumbnail(self) -> Seen:
        return self._picture(f"/api/image/{self._needs_task()}/thumbnail")

    def _duplicate(self) -> Seen:
        task_id = self._needs_task()
        again = _json(self._submit(self._order, self._order_key, expect=(200, 202)))
        if again["taskId"] != task_id or again["duplicate"] is not True:
            raise StepFailed("the same order with the same key was taken for a new one")
        return Seen("the same order again is the first one")

    def _share(self) -> Seen:
        answer = self._ask("POST", "/api/share", json={"taskId": self._needs_task()}, expect=(200, 201, 409))
        if answer.status_code == 409 and _json(answer)["code"] == "not_painted":
            raise StepSkipped("the photo itself came back, and that is never shared")
        share = _json(answer)
        self._shares[share["shareId"]] = self._photo_task
        self._share_path = urlsplit(share["shareUrl"]).path
        return Seen("has a link")

    def _share_page(self) -> Seen:
        self._needs_share()
        page = self._ask("GET", self._share_path, expect=(200,))
        if "og:image" not in page.text:
            raise StepFailed("the page has no card for chats")
        return self._picture(f"{self._share_path}/picture")

    def _gallery(self) -> Seen:
        share_id = self._needs_share()
        wish = {"inGallery": True, "taskId": self._photo_task}
        hung = _json(self._ask("PATCH", f"/api/share/{share_id}", json=wish, expect=(200,)))
        total = 0
        for mode in MODES:
            page = _json(self._ask("GET", "/api/share/list", params={"mode": mode}, expect=(200,)))
            if any(item["mode"] != mode for item in page["items"]):
                raise StepFailed(f"the gallery of {mode} shows others")
            total += page["total"]
            is_there = any(item["shareId"] == share_id for item in page["items"])
            if is_there != (mode == MODES[0] and not hung["awaitsApproval"]):
                raise StepFailed(f"the picture is {'' if is_there else 'not '}in the gallery of {mode}")
        return Seen("waits for approval" if hung["awaitsApproval"] else f"hangs there, one of {total}")

    def _revoke(self) -> Seen:
        share_id = self._needs_share()
        self._ask("DELETE", f"/api/share/{share_id}", params={"taskId": self._photo_task}, expect=(204,))
        for path in (self._share_path, f"{self._share_path}/picture", f"{self._share_path}/card"):
            self._ask("GET", path, expect=(404,))
        del self._shares[share_id]
        return Seen("gone at once")

    def _delete(self) -> Seen:
        task_id = self._needs_task()
        self._remove(task_id)
        self._ask("GET", "/api/poll-task", params={"taskId": task_id}, expect=(404,))
        self._ask("GET", f"/api/image/{task_id}", expect=(404,))
        return Seen("gone at once")

    def _words(self) -> Seen:
        if not self._with_words:
            raise StepSkipped("left out by --photo-only")
        styles = self._ask("GET", "/api/styles", expect=(200,)).json()
        if not any(MODES[1] in style["modes"] for style in styles):
            raise StepSkipped("no engine paints from words")
        wish = {"mode": MODES[1], "prompt": "A small house beside a river, in the morning."}
        task_id = _json(self._submit(wish, secrets.token_hex(16), expect=(202,)))["taskId"]
        task = self._wait(task_id)
        store = self._picture(task["urls"][0]).store
        self._remove(task_id)
        return Seen(_outcome(task), store)

    # --- What the steps do ---

    def _ask(self, method: str, path: str, *, expect: tuple[int, ...], **options: Any) -> requests.Response:
        """Send a request; raises StepFailed at another status than the expected ones."""
        remaining = self._ends_at - time.monotonic()
        if remaining <= 0:
            raise StepFailed("the time for the whole walk is over")
        options.setdefault("allow_redirects", False)
        headers = options.pop("headers", {})
        if method != "GET":
            headers = headers | {"X-CSRFToken": self._csrf_token()}
        try:
            answer = self._session.request(
                method, self.url + path, headers=headers, timeout=(CONNECT_S, min(ANSWER_S, remaining)), **options
            )
        except requests.RequestException as error:
            raise StepFailed(f"{method} {path}: no answer, {type(error).__name__}") from error
        if answer.status_code not in expect:
            refused = _problem(answer)
            if refused.get("code") in REFUSALS_BY_RULE:
                raise StepSkipped(f"{refused['code']}: {refused.get('detail')}")
            said = f" {refused['code']}: {refused.get('detail')}" if "code" in refused else ""
            raise StepFailed(f"{method} {path} answers {answer.status_code}{said}")
        return answer

    def _csrf_token(self) -> str:
        """The token of this walk's own cookie."""
        if not self._token:
            self._token = str(_json(self._ask("GET", "/api/csrf", expect=(200,)))["csrfToken"])
        return self._token

    def _submit(self, order: dict[str, Any], key: str, *, expect: tuple[int, ...]) -> requests.Response:
        answer = self._ask("POST", "/api/generate-image", json=order, headers={"Idempotency-Key": key}, expect=expect)
        task_id = str(_json(answer)["taskId"])
        if task_id not in self._tasks:
            self._tasks.append(task_id)
        return answer

    def _wait(self, task_id: str) -> dict[str, Any]:
        """The task once it has succeeded; raises StepFailed when it fails, goes backwards or takes too long."""
        before = (0, 0)
        while True:
            task = _json(self._ask("GET", "/api/poll-task", params={"taskId": task_id}, expect=(200,)))
            now = (task["attempt"], task["progress"])
            if now < before:
                raise StepFailed(f"the progress went back from {before[1]} to {now[1]}")
            before = now
            if task["status"] == "SUCCESS":
                return task
            if task["status"] in {"FAILED", "CANCELLED"}:
                raise StepFailed(f"{task['status']} ({task['code']}): {task['error']}")
            pause = min(LONGEST_PAUSE_S, (task["nextPollMs"] or 1000) / 1000)
            if time.monotonic() + pause >= self._ends_at:
                raise StepFailed(f"it is not done in time: {task['stage']}, {task['progress']} %")
            time.sleep(pause)

    def _picture(self, path: str) -> Seen:
        """Fetch a picture from the site, or from the store that it leads to."""
        answer = self._ask("GET", path, expect=(200, 302))
        store = "site"
        if answer.status_code == 302:
            target = answer.headers["Location"]
            store = urlsplit(target).hostname or "?"
            # Asked without this session: the store sees no cookie of the site's.
            answer = requests.get(target, auth=lambda asked: asked, timeout=(CONNECT_S, ANSWER_S))
            if not answer.ok:
                raise StepFailed(f"{store} answers {answer.status_code}")
        kind = answer.headers.get("Content-Type", "")
        if not kind.startswith("image/") or not answer.content.startswith(PICTURE_BEGINNINGS):
            raise StepFailed(f"{path} gives no picture but {kind or 'something without a type'}")
        return Seen(f"{kind}, {len(answer.content)} bytes", store)

    def _needs_task(self) -> str:
        """The id of the order of the photo; raises StepSkipped when it was not taken."""
        if not self._photo_task:
            raise StepSkipped("nothing was ordered")
        return self._photo_task

    def _needs_share(self) -> str:
        """The id of the share; raises StepSkipped when there is none."""
        if not self._shares:
            raise StepSkipped("nothing is shared")
        return next(iter(self._shares))

    def _remove(self, task_id: str) -> None:
        self._ask("DELETE", f"/api/tasks/{task_id}", expect=(204,))
        self._tasks.remove(task_id)

    def _operator(self) -> dict[str, str]:
        return {"X-API-Key": self._key} if self._key else {}

    # --- The end ---

    def clean_up(self) -> list[str]:
        """Take away what a walk that ended early has left; gives what could not be taken away."""
        self._ends_at = time.monotonic() + CLEAN_UP_S
        left = []
        for share_id, task_id in self._shares.items():
            if not self._tries("DELETE", f"/api/share/{share_id}", params={"taskId": task_id}):
                left.append(f"/share/{share_id}")
        for task_id in self._tasks:
            self._tries("POST", f"/api/tasks/{task_id}/cancel")
            if not self._tries("DELETE", f"/api/tasks/{task_id}"):
                left.append(f"/tasks/{task_id}")
        self._session.close()
        return left

    def _tries(self, method: str, path: str, **options: Any) -> bool:
        try:
            self._ask(method, path, expect=(200, 204, 404), **options)
        except (StepFailed, StepSkipped):
            return False
        return True


def run(walk: Walk, say: Callable[[str], None] = print) -> int:
    """Take every step until one fails, and tell of each on one line; gives the exit code."""
    failed = False
    try:
        for name, step in walk.steps:
            began, verdict = time.monotonic(), "ok"
            try:
                seen = step()
            except StepSkipped as reason:
                verdict, seen = "skipped", Seen(str(reason))
            except StepFailed as error:
                verdict, seen = "FAILED", Seen(str(error))
            except (KeyError, IndexError, TypeError, ValueError) as error:
                verdict, seen = "FAILED", Seen(f"an answer in another shape than promised: {error!r}")
            say(f"{verdict:8} {name:11} {time.monotonic() - began:7.2f} s  {seen.store:8} {seen.text}")
            if failed := verdict == "FAILED":
                break
    finally:
        left = walk.clean_up()
        for path in left:
            say(f"FAILED   clean up                        {path} could not be taken away")
    works = not failed and not left
    say("The site works." if works else "The site does not work.")
    return WORKS if works else FAILED


def drawn_picture(width: int = 256, height: int = 192) -> bytes:
    """A small landscape as PNG: a sky that brightens towards a hill, in a tint of its own each time."""
    tint = secrets.randbelow(60)
    rows = []
    for y in range(height):
        line = bytearray([0])
        for x in range(width):
            is_hill = y > height * 0.6 + (x - width / 2) ** 2 / (2 * width)
            line += bytes((90, 140 + tint, 70) if is_hill else (120 + tint, 170 + y // 4, 230))
        rows.append(bytes(line))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _json(answer: requests.Response) -> dict[str, Any]:
    """The object of an answer; raises ValueError when it is none."""
    body = answer.json()
    if not isinstance(body, dict):
        raise ValueError("no JSON object")
    return body


def _problem(answer: requests.Response) -> dict[str, Any]:
    try:
        return _json(answer)
    except ValueError:
        return {}


def _outcome(task: dict[str, Any]) -> str:
    note = f" ({task['note']})" if task["note"] else ""
    return f"{task['engine'] or 'no engine'}, {task['elapsedMs'] / 1000:.1f} s after the order{note}"


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="smoke", description=__doc__)
    parser.add_argument("url", help="the site's address, such as https://paint.example.org")
    parser.add_argument(
        "--key",
        default=os.environ.get("ADMIN_API_KEY"),
        help="the operator's key, for test-env and the details of health; by default that of the environment",
    )
    parser.add_argument("--seconds", type=float, default=300.0, help="how long the walk may take (300)")
    parser.add_argument("--photo-only", action="store_true", help="order nothing from words, which some engines bill")
    return parser.parse_args(words)


def main() -> int:
    """Walk; gives the exit code."""
    arguments = parse()
    parts = urlsplit(arguments.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        print("The address must be one such as https://paint.example.org", file=sys.stderr)
        return NO_ADDRESS
    walk = Walk(arguments.url, key=arguments.key, seconds=arguments.seconds, with_words=not arguments.photo_only)
    return run(walk)


if __name__ == "__main__":
    sys.exit(main())
