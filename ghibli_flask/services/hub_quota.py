"""Asks the Hub how many GPU seconds a token has left today; that costs none. Called by `gpu_tokens.refresh`.

GET {hf_endpoint}/api/spaces/zero-gpu/quota with the token as bearer, as the Hub's OpenAPI document lists it.
"""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests
import urllib3

from ghibli_flask.proxies import proxy_trouble

PATH = "/api/spaces/zero-gpu/quota"
TIMEOUT_S = 3.0
LARGEST_ANSWER = 64 * 1024
LONGEST_PAUSE_S = 600.0

_RESET_FIELD = re.compile(r";\s*t=(\d+)")


@dataclass(frozen=True)
class Reading:
    """What the Hub said of one token: seconds a day, seconds left, and runs where it counts them too."""

    base: float
    left: float
    resets_at: datetime | None
    runs_limit: int | None = None
    runs_left: int | None = None
    runs_reset_at: datetime | None = None


class QuotaUnknown(Exception):
    """The Hub did not say; that never means that nothing is left. `pause_s`: how long it wants not to be asked."""

    def __init__(self, text: str, pause_s: float | None = None) -> None:
        self.pause_s = pause_s
        super().__init__(text)


class TokenRefused(Exception):
    """The Hub does not know this token, or no longer."""


class _Bearer(requests.auth.AuthBase):
    """As an object of requests' own kind, or a .netrc file with the Hub's name in it would replace the token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def read(endpoint: str, token: str) -> Reading:
    """Ask once; raises QuotaUnknown or TokenRefused. Neither says anything of the token or of the request."""
    try:
        with requests.get(
            f"{endpoint.rstrip('/')}{PATH}",
            auth=_Bearer(token),
            # Packed answers could grow without bounds while they are unpacked.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=TIMEOUT_S,
            allow_redirects=False,
            stream=True,
        ) as answer:
            _check(answer)
            return _reading(json.loads(_body(answer)))
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, OSError) as error:
        # The original carries the request and with it the token: only its kind travels on.
        raise QuotaUnknown(proxy_trouble(error) or type(error).__name__) from None


def _check(answer: requests.Response) -> None:
    if answer.status_code == requests.codes.unauthorized:
        raise TokenRefused("The Hub answered 401.")
    if answer.status_code != requests.codes.ok:
        raise QuotaUnknown(f"The Hub answered {answer.status_code}.", _pause(answer))


def _pause(answer: requests.Response) -> float | None:
    """How long a 429 asks to wait: Retry-After, else `t` of the RateLimit field; at most ten minutes."""
    if answer.status_code != requests.codes.too_many_requests:
        return None
    after = answer.headers.get("Retry-After", "").strip()
    found = _RESET_FIELD.search(answer.headers.get("RateLimit", ""))
    seconds = after if after.isdecimal() else found[1] if found else None
    return None if seconds is None else min(LONGEST_PAUSE_S, float(seconds))


def _body(answer: requests.Response) -> bytes:
    """The answer's bytes, bounded in number and time: requests' own timeout begins anew with each byte."""
    body, give_up_at = bytearray(), time.monotonic() + TIMEOUT_S
    while chunk := answer.raw.read1(LARGEST_ANSWER):
        body += chunk
        if len(body) > LARGEST_ANSWER or time.monotonic() > give_up_at:
            raise QuotaUnknown("The Hub's answer was too long or too slow.")
    return bytes(body)


def _reading(fields: Any) -> Reading:
    if not isinstance(fields, dict):
        raise QuotaUnknown("The Hub's answer has another form.")
    base, left = _amount(fields.get("base")), _amount(fields.get("current"))
    if base is None or left is None:
        raise QuotaUnknown("The Hub's answer has another form.")
    runs = fields.get("runs")
    runs = runs if isinstance(runs, dict) else {}
    limit, remaining = _amount(runs.get("limit")), _amount(runs.get("remaining"))
    counted = limit is not None and remaining is not None
    return Reading(
        base=base,
        left=left,
        resets_at=_moment(fields.get("resetsAt")),
        runs_limit=int(limit) if counted and limit is not None else None,
        runs_left=int(remaining) if counted and remaining is not None else None,
        runs_reset_at=_moment(runs.get("resetsAt")) if counted else None,
    )


def _amount(value: Any) -> float | None:
    """A number as JSON has them, at least 0; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return max(0.0, float(value))


def _moment(value: Any) -> datetime | None:
    """A moment in ISO 8601; None when there is none or it cannot be read."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
