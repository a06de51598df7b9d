"""The `openai` engine: paints through OpenAI's image API, which answers in one long request. Made by `registry`,
called by `jobs.chain`.

From OpenAI's API reference (images/edits, images/generations, error codes) and the types of its own library 3.54,
November 2026. That library is not used: it repeats a request by itself after a lost answer, and each is billed.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from typing import Any

from ghibli_flask.engine_catalogue import Mode
from jobs.engines.base import (
    CONNECTING,
    PAINTING,
    CredentialRejected,
    Deadline,
    EngineBroken,
    EngineBusy,
    EngineError,
    News,
    PaintRequest,
    QuotaExhausted,
    RequestRejected,
)
from jobs.engines.call import Call
from jobs.engines.http import Answer, Conversation, usable_key
from jobs.engines.instructions import instruction

OLDER_SIZES = ((1024, 1024), (1536, 1024), (1024, 1536))
FREE_SIZES = "gpt-image-2"
"""Models whose names begin so paint any size by these three rules."""
STEP = 16
LONGEST_RATIO = 3
FEWEST_PIXELS = 655_360

CHECK_S = 20.0
REST_S = 3600.0
"""No answer names when an account without credit has some again: somebody has to pay."""

_QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
    }
)
_MODERATION_CODES = frozenset({"moderation_blocked", "content_policy_violation"})
_MODERATION_TEXT = re.compile(r"safety system|content policy", re.IGNORECASE)


class OpenAIEngine:
    """Paints with one image model of OpenAI. Safe over threads; holds nothing between two calls."""

    name = "openai"
    modes = frozenset(Mode)

    def __init__(self, model: str, base_url: str, max_result_bytes: int = 32 * 1024 * 1024) -> None:
        """Name the model and the API's address with its version, such as https://api.openai.com/v1."""
        self.model = model
        self.base_url = base_url.rstrip("/")
        self.max_result_bytes = max_result_bytes

    def paint(
        self,
        request: PaintRequest,
        *,
        credential: str | None,
        deadline: Deadline,
        on_news: Callable[[News], None],
        is_cancelled: Callable[[], bool],
    ) -> bytes:
        """See `base.Engine`. One request and no second one, whatever becomes of it; the API takes no seed."""
        if request.mode not in self.modes or (request.mode == Mode.IMAGE_TO_IMAGE and request.image is None):
            raise RequestRejected(f"The openai engine cannot work in the mode {request.mode} with what it was given.")
        key = usable_key(credential, "OPENAI_API_KEY")
        call = Call(deadline, on_news, is_cancelled)
        call.check()
        call.tell(News(CONNECTING))
        path, body = self._order(request)
        call.tell(News(PAINTING))
        with Conversation(call) as conversation:
            answer = conversation.send("POST", self.base_url + path, key=key, max_bytes=self._max_body_bytes, **body)
        if answer.status != 200:
            raise refusal(answer, key)
        return self._picture(answer)

    def check(self, *, credential: str | None, deadline: Deadline) -> str:
        """See `base.Engine`. Looks the model up, which costs nothing; it cannot tell whether the account has credit."""
        key = usable_key(credential, "OPENAI_API_KEY")
        with Conversation(Call(deadline, lambda _news: None, lambda: False)) as conversation:
            answer = conversation.send("GET", f"{self.base_url}/models/{self.model}", key=key, patience=CHECK_S)
        if answer.status != 200:
            raise refusal(answer, key)
        return f"{self.base_url} knows the key and the model {self.model}"

    def close(self) -> None:
        """Nothing is held."""

    @property
    def _max_body_bytes(self) -> int:
        return self.max_result_bytes * 4 // 3 + 64 * 1024

    def _order(self, request: PaintRequest) -> tuple[str, dict[str, Any]]:
        """Where to send this order, and what: a form with the photograph, or JSON when there is none."""
        width, height = size_for(self.model, request.width, request.height)
        fields = {
            "model": self.model,
            "prompt": instruction(request),
            "size": f"{width}x{height}",
            "output_format": "jpeg",
        }
        if request.image is None:
            return "/images/generations", {"json": fields}
        file = ("photograph.jpg", request.image, "image/jpeg")
        return "/images/edits", {"data": fields, "files": {"image": file}}

    def _picture(self, answer: Answer) -> bytes:
        data = answer.json().get("data")
        first = data[0] if isinstance(data, list) and data else None
        coded = first.get("b64_json") if isinstance(first, dict) else None
        if not isinstance(coded, str) or not coded:
            raise EngineBroken("OpenAI answered without a picture.")
        try:
            picture = base64.b64decode(coded, validate=True)
        except (binascii.Error, ValueError):
            raise EngineBroken("OpenAI's picture is not Base64.") from None
        if len(picture) > self.max_result_bytes:
            raise EngineBroken(f"The picture is larger than {self.max_result_bytes} bytes.")
        return picture


def size_for(model: str, width: int, height: int) -> tuple[int, int]:
    """The size to ask this model for, closest in shape to `width` by `height` pixels.

    Newer models take sides that are multiples of 16 with a ratio up to 3:1 and a least number of pixels; older ones
    know three sizes.
    """
    if not model.startswith(FREE_SIZES):
        return min(OLDER_SIZES, key=lambda size: abs(math.log(size[0] / size[1] * height / width)))
    short = min(width, height)
    long = min(max(width, height), LONGEST_RATIO * short)
    scale = max(1.0, math.sqrt(FEWEST_PIXELS / (short * long)))
    short = math.ceil(short * scale / STEP) * STEP
    long = min(math.ceil(long * scale / STEP) * STEP, LONGEST_RATIO * short)
    return (long, short) if width >= height else (short, long)


def refusal(answer: Answer, key: str) -> EngineError:
    """What to do about an answer whose status is not 200.

    429, 500 and 503 in OpenAI's own words say that nothing was painted, so the order may be sent again. Of a
    gateway's page that cannot be known, except for 429.
    """
    error = answer.json().get("error")
    error = error if isinstance(error, dict) else {}
    kinds = {str(error.get("code")), str(error.get("type"))}
    text = f"OpenAI answered {answer.status} ({error.get('code') or error.get('type')}): "
    text += str(error.get("message")) if error else answer.text()
    match answer.status:
        case 401:
            # The message quotes parts of the key.
            return CredentialRejected(f"OpenAI answered 401 ({error.get('code')}).", secret=key)
        case 400 if kinds & _MODERATION_CODES or _MODERATION_TEXT.search(text):
            return RequestRejected(text, secret=key, reason="moderation")
        case 400 | 403 | 429 if kinds & _QUOTA_CODES:
            return QuotaExhausted(text, retry_after=REST_S, secret=key)
        case 429:
            return EngineBusy(text, retry_after=answer.retry_after(), secret=key)
        case 500 | 503 if error and answer.headers.get("x-should-retry") != "false":
            return EngineBusy(text, retry_after=answer.retry_after(), secret=key)
        case _:
            return EngineBroken(text, secret=key)
