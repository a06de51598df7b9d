"""The visitors of the soak: guests and members who do everything that the site offers, and some of it wrongly.

All of them together do so many things a second; each has a dice of its own, so that a seed is a crowd.
"""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pillow_heif
import requests
from PIL import Image

from bench.photos import numbered, phone_photo, two_megapixels
from bench.site import HOST
from scripts.processes import LOOPBACK
from tests.chaos.crowd import Told
from tests.support.member import PASSWORD

TIMEOUT_S = 60.0
KEEPS = 8
"""So many pictures a visitor keeps; of more, the oldest is deleted."""
ENDED = {"SUCCESS", "FAILED", "CANCELLED"}

WRONG_FILES = (b"", b"this is no picture", b"\xff\xd8\xff\xe0 half a picture", b"GIF89a\x01\x00")


class Photos:
    """Pictures of several kinds, made once; each order gets bytes of its own where the kind allows it."""

    def __init__(self) -> None:
        with Image.open(BytesIO(two_megapixels())) as photo:
            small = photo.resize((640, 427))
        self._kinds: list[tuple[str, Callable[[int], bytes]]] = [
            ("two.jpg", lambda number: numbered(two_megapixels(), number)),
            ("phone.jpg", lambda number: numbered(phone_photo(), number)),
            ("small.jpg", lambda number: numbered(_encoded(small, "JPEG"), number)),
        ]
        pillow_heif.register_heif_opener()
        transparent = small.convert("RGBA")
        transparent.putalpha(128)
        others = {"alpha.png": (transparent, "PNG"), "wide.webp": (small, "WEBP"), "phone.heic": (small, "HEIF"),
                  "old.gif": (small.convert("P"), "GIF"), "scan.tiff": (small, "TIFF")}  # fmt: skip
        for name, (image, kind) in others.items():
            data = _encoded(image, kind)
            self._kinds.append((name, lambda _number, data=data: data))

    def one(self, chance: random.Random, number: int) -> tuple[str, bytes]:
        """A name and bytes; most are ordinary photographs."""
        name, make = chance.choices(self._kinds, weights=[6, 1, 8, 1, 2, 1, 1, 1])[0]
        return name, make(number)


def _encoded(image: Image.Image, kind: str) -> bytes:
    out = BytesIO()
    image.save(out, kind)
    return out.getvalue()


class Pace:
    """Lets so many things happen a second, however many ask."""

    def __init__(self, a_second: float) -> None:
        self._gap_s, self._next_at, self._lock = 1 / a_second, time.monotonic(), threading.Lock()

    def wait(self, done: threading.Event) -> bool:
        """Wait for one's turn; False when the run is over."""
        with self._lock:
            self._next_at = max(self._next_at + self._gap_s, time.monotonic())
            moment = self._next_at
        return not done.wait(max(0.0, moment - time.monotonic()))


class Wanderer(threading.Thread):
    """One visitor. What it was told goes into `told`, what was wrong into `told.broken`, what it did is counted."""

    def __init__(
        self, url: str, seed: int, told: Told, photos: Photos, pace: Pace, over: threading.Event, email: str | None
    ) -> None:
        super().__init__(name=f"wanderer-{seed}", daemon=True)
        self._url, self._told, self._photos, self._pace, self._over, self._email = url, told, photos, pace, over, email
        self._chance, self._seed, self._number = random.Random(seed), seed, seed * 1_000_000
        self._cookies: dict[str, str] = {}
        self._token = ""
        self._own: list[str] = []
        self._shares: dict[str, str] = {}
        self.done_counts: Counter[str] = Counter()
        self._actions: dict[Callable[[], None], int] = {
            self._order: 14, self._poll: 40, self._look_at_pages: 12, self._look_at_pictures: 12, self._history: 6,
            self._gallery: 6, self._share: 4, self._unshare: 2, self._cancel: 3, self._delete: 3, self._retry: 2,
            self._order_by_upload: 3, self._do_it_wrongly: 8, self._come_anew: 1,
        }  # fmt: skip

    def run(self) -> None:
        """Do one thing after the other until it is over."""
        try:
            self._come_anew()
            while self._pace.wait(self._over):
                action = self._chance.choices([*self._actions], weights=[*self._actions.values()])[0]
                action()
                self.done_counts[action.__name__.strip("_").replace("_", " ")] += 1
        except Exception as error:
            with self._told.lock:
                self._told.broken.append(f"a visitor gave up: {type(error).__name__}: {error}")

    # --- Orders ---

    def _order(self) -> None:
        self._number += 1
        name, data = self._photos.one(self._chance, self._number)
        style = self._chance.choice(("ghibli", "golden", "night", "watercolour"))
        form = {"prompt": f"number {self._number}", "style": style}
        self._accepted(self._post("/api/generate-image", {200, 202}, data=form, files={"image": (name, data)}))

    def _order_by_upload(self) -> None:
        self._number += 1
        name, data = self._photos.one(self._chance, self._number)
        sent = self._post("/api/upload-image", {201, 429}, files={"image": (name, data)})
        if sent.status_code == 201:
            wish = {"uploadId": sent.json()["uploadId"], "prompt": f"number {self._number}"}
            self._accepted(self._post("/api/generate-image", {200, 202}, json=wish))

    def _retry(self) -> None:
        if self._own:
            path = f"/api/tasks/{self._chance.choice(self._own)}/retry"
            answer = self._post(path, {200, 202, 404, 409, 410}, json={"style": "night"})
            if answer.status_code == 202:
                self._accepted(answer)

    def _accepted(self, answer: requests.Response) -> None:
        if answer.status_code not in {200, 202}:
            return
        task_id = answer.json()["taskId"]
        with self._told.lock:
            self._told.accepted[uuid.uuid4().hex if answer.status_code == 202 else task_id] = task_id
        self._own.append(task_id)
        if len(self._own) > KEEPS:
            self._remove(self._own[0])

    def _cancel(self) -> None:
        if self._own:
            self._post(f"/api/tasks/{self._own[-1]}/cancel", {200, 404, 409})

    def _delete(self) -> None:
        if self._own:
            self._remove(self._chance.choice(self._own))

    def _remove(self, task_id: str) -> None:
        self._send("DELETE", f"/api/tasks/{task_id}", {204, 404})
        self._own.remove(task_id)
        self._shares.pop(task_id, None)

    # --- Looking ---

    def _poll(self) -> None:
        if self._own:
            self._get(f"/api/poll-task?taskId={self._own[-1]}", {200, 404})

    def _look_at_pages(self) -> None:
        own = [f"/tasks/{self._own[-1]}"] if self._own else []
        page = self._chance.choice(["/", "/pictures", "/gallery", "/help", "/privacy-policy", "/auth/signin", *own])
        self._get(page, {200, 302, 303})

    def _look_at_pictures(self) -> None:
        if self._own:
            kind = self._chance.choice(("", "/thumbnail", "/original", "?download=1"))
            self._get(f"/api/image/{self._chance.choice(self._own)}{kind}", {200, 404, 409, 410})

    def _history(self) -> None:
        state = self._chance.choice(("", "&state=painted", "&state=unfinished"))
        self._get(f"/api/tasks?limit={self._chance.randint(1, 100)}{state}", {200})

    def _gallery(self) -> None:
        answer = self._get(f"/api/share/list?limit={self._chance.randint(1, 40)}", {200})
        items = answer.json()["items"]
        if items:
            self._get(f"/share/{self._chance.choice(items)['shareId']}", {200, 404})

    # --- Sharing ---

    def _share(self) -> None:
        if self._own:
            task_id = self._chance.choice(self._own)
            wish = {"taskId": task_id, "inGallery": self._chance.random() < 0.5, "showOriginal": True}
            answer = self._post("/api/share", {200, 201, 404, 409}, json=wish)
            if answer.ok:
                self._shares[task_id] = answer.json()["shareId"]
                for part in ("", "/card", "/picture"):
                    self._get(f"/share/{self._shares[task_id]}{part}", {200})

    def _unshare(self) -> None:
        if self._shares:
            _task, share_id = self._shares.popitem()
            self._send("DELETE", f"/api/share/{share_id}", {204, 404})

    # --- What nobody should do, and beginning again ---

    def _do_it_wrongly(self) -> None:
        wrong = self._chance.choice(WRONG_FILES)
        match self._chance.randrange(5):
            case 0:
                self._post("/api/generate-image", {400, 415, 422}, files={"image": ("a.jpg", wrong)})
            case 1:
                self._post("/api/generate-image", {422}, json={"imageBase64": 7, "style": "none"})
            case 2:
                self._send("POST", "/api/generate-image", {403}, headers={"X-CSRFToken": "wrong"}, json={})
            case 3:
                self._get(f"/api/poll-task?taskId={uuid.uuid4().hex}", {404})
            case 4:
                self._post("/api/share", {404, 422}, json={"taskId": uuid.uuid4().hex})

    def _come_anew(self) -> None:
        """A member signs out and in again; a guest comes as another browser, after taking its pictures away."""
        if self._email and self._token:
            self._post("/auth/signout", {303})
        for task_id in list(self._own) if not self._email else ():
            self._remove(task_id)
        self._token = self._get("/api/csrf", {200}).json()["csrfToken"]
        if self._email:
            form = {"email": self._email, "password": PASSWORD, "csrf_token": self._token}
            self._post("/auth/signin", {303}, data=form)
        else:
            self._cookies.clear()
        self._token = self._get("/api/csrf", {200}).json()["csrfToken"]

    # --- HTTP ---

    def _get(self, path: str, expected: set[int]) -> requests.Response:
        return self._send("GET", path, expected)

    def _post(self, path: str, expected: set[int], **options: Any) -> requests.Response:
        return self._send("POST", path, expected, headers={"X-CSRFToken": self._token}, **options)

    def _send(self, method: str, path: str, expected: set[int], **options: Any) -> requests.Response:
        headers = {
            "Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-For": f"10.0.{self._seed >> 8}.{self._seed & 255}",
            "Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items()),
            "X-CSRFToken": self._token, **options.pop("headers", {}),
        }  # fmt: skip
        answer = requests.request(
            method, self._url + path, headers=headers, allow_redirects=False, timeout=TIMEOUT_S, **options
        )
        self._told.hear(answer)
        for cookie in answer.cookies:
            self._cookies[cookie.name] = cookie.value or ""
        # 503 is the site's word for "in a moment": a busy core, a full queue.
        if answer.status_code not in expected | {503}:
            with self._told.lock:
                self._told.broken.append(f"{method} {path}: {answer.status_code} instead of {sorted(expected)}")
        return answer


def site_url(port: int) -> str:
    """Where the crowd goes."""
    return f"http://{LOOPBACK}:{port}"
