"""A browser that turns to whichever machine it is told to: the same cookies at all of them."""

import time
from typing import Any

import requests

from tests.chaos.crowd import picture
from tests.support.member import PASSWORD

TIMEOUT_S = 15.0
ENDED_WITHIN_S = 40.0
ENDED = {"SUCCESS", "FAILED", "CANCELLED"}


class Browser:
    """Cookies and the token; `address` is where its requests come from, as a proxy in front would say."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._cookies: dict[str, str] = {}
        self._token = ""

    def enter(self, url: str) -> None:
        """Come by for the first time, or again after the cookies changed."""
        self._token = self.get(url, "/api/csrf").json()["csrfToken"]

    def sign_in(self, url: str, email: str) -> int:
        """Sign in; gives the status."""
        form = {"email": email, "password": PASSWORD, "csrf_token": self._token}
        status = self.post(url, "/auth/signin", data=form).status_code
        self.enter(url)
        return status

    def get(self, url: str, path: str, **options: Any) -> requests.Response:
        """GET at one machine."""
        return self._send("GET", url, path, **options)

    def post(self, url: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> requests.Response:
        """POST at one machine, without following where it leads."""
        headers = {"X-CSRFToken": self._token, **(headers or {})}
        return self._send("POST", url, path, headers=headers, allow_redirects=False, **options)

    def order(self, url: str, number: int, key: str | None = None) -> requests.Response:
        """Order a picture at one machine."""
        files = {"image": ("photo.jpg", picture(number), "image/jpeg")}
        return self.post(url, "/api/generate-image", {"Idempotency-Key": key} if key else None, files=files)

    def status(self, url: str, task_id: str) -> dict[str, Any]:
        """How an order is doing, as one machine says."""
        return dict(self.get(url, f"/api/poll-task?taskId={task_id}").json())

    def wait(self, url: str, task_id: str, wanted: set[str] | frozenset[str] = frozenset(ENDED)) -> str:
        """Poll one machine until the order has got there, or for as long as is sensible; gives the last status."""
        ends_at = time.monotonic() + ENDED_WITHIN_S
        while (status := str(self.status(url, task_id)["status"])) not in wanted and time.monotonic() < ends_at:
            time.sleep(0.1)
        return status

    def _send(self, method: str, url: str, path: str, **options: Any) -> requests.Response:
        headers = {"X-Forwarded-For": self._address, **options.pop("headers", {})}
        answer = requests.request(
            method, url + path, headers=headers, cookies=self._cookies, timeout=TIMEOUT_S, **options
        )
        self._cookies.update({cookie.name: cookie.value or "" for cookie in answer.cookies})
        return answer
