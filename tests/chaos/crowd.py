"""The visitors of a chaos run: they order, some of them stop what they ordered, and one of them keeps asking."""

import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from io import BytesIO

import requests
from PIL import Image

from tests.chaos.town import Town
from tests.support.member import PASSWORD

GIVES_UP_AFTER_S = 60.0
PAUSE_S = 0.3
CANCELS = 0.06
TIMEOUT_S = 15.0


@dataclass
class Told:
    """What the visitors were told; shared by all of them."""

    accepted: dict[str, str] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    asked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, answer: requests.Response) -> None:
        """Look at an answer: it is quick, and never a stack trace or a plain 500."""
        with self.lock:
            self.asked += 1
            self.slowest_s = max(self.slowest_s, answer.elapsed.total_seconds())
            if answer.status_code == 500 or "Traceback" in answer.text:
                self.broken.append(f"{answer.request.method} {answer.url}: {answer.status_code}")


def picture(number: int) -> bytes:
    """A small photograph; each number gives another one."""
    out = BytesIO()
    Image.new("RGB", (320, 256), (number % 256, number // 256 % 256, 90)).save(out, "JPEG", comment=str(number))
    return out.getvalue()


class Visitor(threading.Thread):
    """One browser that orders its share, slowly; with an address it signs in first."""

    def __init__(self, town: Town, told: Told, seed: int, orders: int, pause_s: float, email: str | None) -> None:
        super().__init__(name=f"visitor-{seed}")
        self._town, self._told, self._orders, self._pause_s, self._email = town, told, orders, pause_s, email
        self._chance = random.Random(seed)
        self._session = requests.Session()
        self._token = ""
        self._number = seed * 1000

    def run(self) -> None:
        """Order, and now and then stop an order."""
        self._enter()
        for _ in range(self._orders):
            self._number += 1
            task_id = self._order()
            if task_id and self._chance.random() < CANCELS:
                time.sleep(self._chance.uniform(0.0, 1.5))
                self._send("POST", f"/api/tasks/{task_id}/cancel")
            time.sleep(self._chance.uniform(0.5, 1.5) * self._pause_s)

    def _enter(self) -> None:
        self._token = self._insist("GET", "/api/csrf", 200).json()["csrfToken"]
        if self._email:
            form = {"email": self._email, "password": PASSWORD, "csrf_token": self._token}
            self._insist("POST", "/auth/signin", 303, data=form, allow_redirects=False)
            self._token = self._insist("GET", "/api/csrf", 200).json()["csrfToken"]

    def _insist(self, method: str, path: str, status: int, **options: object) -> requests.Response:
        """Try until it is answered so."""
        while True:
            answer = self._send(method, path, **options)
            if answer is not None and answer.status_code == status:
                return answer
            time.sleep(PAUSE_S)

    def _order(self) -> str | None:
        """Order once, as often as it takes: the key makes every repetition the same order."""
        key, ends_at = uuid.UUID(int=self._chance.getrandbits(128)).hex, time.monotonic() + GIVES_UP_AFTER_S
        while time.monotonic() < ends_at:
            files = {"image": ("photo.jpg", picture(self._number), "image/jpeg")}
            answer = self._send("POST", "/api/generate-image", files=files, headers={"Idempotency-Key": key})
            if answer is not None and answer.status_code in {200, 202}:
                task_id: str = answer.json()["taskId"]
                with self._told.lock:
                    self._told.accepted[key] = task_id
                return task_id
            time.sleep(PAUSE_S)
        with self._told.lock:
            self._told.given_up.append(key)
        return None

    def _send(self, method: str, path: str, **options: object) -> requests.Response | None:
        headers = {"X-CSRFToken": self._token, **options.pop("headers", {})}  # type: ignore[dict-item]
        urls = self._town.urls()
        url = self._chance.choice(urls) if urls else None
        if url is None:
            return None
        try:
            answer = self._session.request(method, url + path, headers=headers, timeout=TIMEOUT_S, **options)  # type: ignore[arg-type]
        except requests.RequestException:
            return None
        self._told.hear(answer)
        if answer.status_code >= 400:
            with self._told.lock:
                code = answer.json().get("code", "?") if "json" in answer.headers["Content-Type"] else "page"
                self._told.refused[code] = self._told.refused.get(code, 0) + 1
        return answer


class Asker(threading.Thread):
    """Asks for a page and a status again and again, whatever is down; what it hears is judged."""

    def __init__(self, town: Town, told: Told) -> None:
        super().__init__(name="asker")
        self._town, self._told = town, told
        self.done = threading.Event()

    def run(self) -> None:
        """Ask until told to stop."""
        while not self.done.wait(0.25):
            with self._told.lock:
                task_id = next(reversed(self._told.accepted.values()), "nothing")
            for url in self._town.urls():
                for path in ("/", f"/api/poll-task?taskId={task_id}"):
                    try:
                        self._told.hear(requests.get(url + path, timeout=TIMEOUT_S))
                    except requests.ReadTimeout:
                        with self._told.lock:
                            self._told.broken.append(f"GET {url}{path}: no answer in {TIMEOUT_S:.0f} s")
                    except requests.RequestException:
                        continue  # This web process has just been killed.
