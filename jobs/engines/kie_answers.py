"""What KIE's answers mean: the codes as a table, and the record of a task in all its forms. Read by `kie`.

From docs.kie.ai (common error codes, get-task-detail, 4o-image-api and flux-kontext-api), November 2026. HTTP 200
says nothing there: the code in the body counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jobs.engines.base import (
    CredentialRejected,
    EngineBroken,
    EngineBusy,
    EngineError,
    QuotaExhausted,
    RequestRejected,
)
from jobs.engines.http import Answer

OK = 200
INPUT_NOT_FETCHED = 451
RATE_WINDOW_S = 10.0
"""20 new tasks in 10 s: a refused one was not queued, and a whole window has to pass."""

REST_S = 3600.0
"""No answer names when an account without credits has some again: somebody has to buy them."""


class InputNotFetched(EngineBroken):
    """KIE could not read the photograph from its own upload address."""


def _quota(text: str, key: str) -> EngineError:
    return QuotaExhausted(text, retry_after=REST_S, secret=key)


def _rate(text: str, key: str) -> EngineError:
    return EngineBusy(text, retry_after=RATE_WINDOW_S, secret=key)


def _busy(text: str, key: str) -> EngineError:
    return EngineBusy(text, secret=key)


def _broken(text: str, key: str) -> EngineError:
    return EngineBroken(text, secret=key)


MEANINGS: dict[int, Callable[[str, str], EngineError]] = {
    # The order's fields are all ours, so a wrong one is our mistake and not the visitor's: another engine may paint.
    400: _broken,
    401: lambda text, key: CredentialRejected(text, secret=key),
    402: _quota,
    404: _broken,
    408: _busy,
    422: _broken,
    429: _rate,
    433: _quota,
    INPUT_NOT_FETCHED: lambda text, key: InputNotFetched(text, secret=key),
    455: _broken,
    # A task may have been made all the same, and a second one would be billed too.
    500: _broken,
    501: _broken,
    505: _broken,
    550: _busy,
}

_POLICY = re.compile(
    r"content.polic|flagged|moderation|nsfw|prohibited|inappropriate|"
    r"sensitive (content|word|information)|safety (system|filter|polic)",
    re.IGNORECASE,
)
_POLICY_CODES = frozenset({400, 422, 500, 501, None})
"""Where a refusal of the content comes: at once, or as the end of a task under whatever code the model's maker gave."""


def code_of(answer: Answer) -> int:
    """The code in the body, or the HTTP status when there is none."""
    return _number(answer.json().get("code")) or answer.status


def text_of(body: dict[str, Any]) -> str:
    """The message in an answer, under either of its names."""
    return str(body.get("msg") or body.get("message") or "no message")


def refusal(answer: Answer, key: str) -> EngineError:
    """What to do about an answer whose code is not 200.

    An answer that is not KIE's own, such as a gateway's page, says little: a wrong key and too many requests are
    believed, everything else counts as broken. That includes 403 with `error code: 1010`, which is Cloudflare's word
    on the client's name and no word on the key.
    """
    code, body = code_of(answer), answer.json()
    if body or code in {401, 429}:
        return meaning(code, text_of(body), key)
    return EngineBroken(f"KIE's host answered {answer.status}: {answer.text()}", secret=key)


def meaning(code: int | None, text: str, key: str) -> EngineError:
    """What to do about a code and its message."""
    said = f"KIE said {code}: {text}"
    if code in _POLICY_CODES and _POLICY.search(text):
        return RequestRejected(said, secret=key, reason="moderation")
    return MEANINGS.get(code or 0, _broken)(said, key)


@dataclass(frozen=True)
class Record:
    """Where a task stands. `state` is "waiting", "generating", "success" or "fail"; `fraction` runs from 0 to 1."""

    state: str
    fraction: float | None = None
    picture_url: str | None = None
    fail_code: int | None = None
    fail_text: str = ""

    def failure(self, key: str) -> EngineError:
        """What to do about a task that failed; the key was good enough to make it."""
        error = meaning(self.fail_code, self.fail_text, key)
        return EngineBroken(error.safe_text) if isinstance(error, CredentialRejected) else error


def record_of(data: dict[str, Any]) -> Record:
    """Read the `data` of a record in the form of any family; what is unknown counts as still going on."""
    return Record(
        _state(data),
        _fraction(data.get("progress")),
        _picture_url(data),
        _number(data.get("failCode") or data.get("errorCode")),
        str(data.get("failMsg") or data.get("errorMessage") or "no message"),
    )


def _state(data: dict[str, Any]) -> str:
    # 4o and Flux Kontext: 0 is going on, 1 is done, and what lies above are kinds of failure.
    flag = _number(data.get("successFlag"))
    if flag is not None:
        return "generating" if flag == 0 else "success" if flag == 1 else "fail"
    match str(data.get("state") or data.get("status")).lower():
        case "success":
            return "success"
        case "fail" | "create_task_failed" | "generate_failed":
            return "fail"
        case "waiting" | "queuing":
            return "waiting"
        case _:
            return "generating"


def _picture_url(data: dict[str, Any]) -> str | None:
    for result in (_object(data.get("resultJson")), _object(data.get("response"))):
        for name in ("resultUrls", "result_urls", "resultImageUrl"):
            urls = result.get(name)
            first = urls[0] if isinstance(urls, list) and urls else urls
            if isinstance(first, str) and first:
                return first
    return None


def _object(value: Any) -> dict[str, Any]:
    """A JSON object that may have come as the text of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int | None:
    """A whole number that may have come as text."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value if isinstance(value, int) else None


def _fraction(progress: Any) -> float | None:
    """`progress` comes as "0.45", as 0.45 or as per cent."""
    try:
        value = float(progress)
    except (TypeError, ValueError):
        return None
    if not 0 <= value <= 100:
        return None
    return value if value <= 1 else value / 100
