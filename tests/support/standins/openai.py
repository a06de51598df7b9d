"""A stand-in for OpenAI's image API: edits and generations, and every error in its documented form.

Written from OpenAI's API reference (images/edits, images/generations, models), its page of error codes, its page of
deprecations, and the types of the `openai` package 3.54.0, as they stood in November 2026.
"""

import base64
import json
import re
from typing import Any

from tests.support.standins.server import Heard, Reply, StandIn, json_reply

KEY = "sk-proj-0123456789abcdef0123456789abcdef"

EDITS = "/v1/images/edits"
MODEL_NAMES = "/v1/models/"
GENERATIONS = "/v1/images/generations"

MODELS = ("gpt-image-2", "gpt-image-2-2026-04-21", "gpt-image-2.6-flare", "gpt-image-1.5")
SIZES = ("1024x1024", "1536x1024", "1024x1536", "auto")
FIELDS = {"model", "prompt", "size", "output_format", "output_compression", "quality", "background", "n"}


def error(status: int, code: str | None, kind: str, message: str, **headers: str) -> Reply:
    """An error the way OpenAI gives it."""
    content = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return json_reply(content, status, **headers)


MODERATION = error(
    400,
    "moderation_blocked",
    "image_generation_user_error",
    "Your request was rejected by the safety system. safety_violations=[violence]. Request ID req_1",
)
RATE_LIMIT = error(429, "rate_limit_exceeded", "requests", "Rate limit reached for images per minute.")
NO_CREDIT = error(429, None, "insufficient_quota", "You exceeded your current quota.")
NOT_VERIFIED = error(403, None, "invalid_request_error", "Your organization must be verified to use this model.")
MODEL_GONE = error(404, "model_not_found", "invalid_request_error", "The model `gpt-image-1` does not exist.")
TOO_LARGE = error(413, None, "invalid_request_error", "The image is too large.")
SERVER_ERROR = error(500, None, "server_error", "The server had an error while processing your request.")
OVERLOADED = error(503, "server_is_overloaded", "service_unavailable_error", "Our servers are overloaded.")


class OpenAIStandIn(StandIn):
    """OpenAI's API on loopback. `picture` is what every order gives."""

    def reset(self) -> None:
        super().reset()
        self.picture = b"\xff\xd8\xff the picture"

    @property
    def api_url(self) -> str:
        return self.url + "/v1"

    @property
    def orders(self) -> int:
        """How many pictures were ordered, and would be billed if they came about."""
        return len(self.asked(EDITS)) + len(self.asked(GENERATIONS))

    def answer(self, heard: Heard) -> Reply:
        if heard.headers["Authorization"] != f"Bearer {KEY}":
            said = heard.headers["Authorization"].removeprefix("Bearer ")
            message = f"Incorrect API key provided: {said[:8]}***{said[-4:]}."
            return error(401, "invalid_api_key", "invalid_request_error", message)
        if heard.path.startswith(MODEL_NAMES):
            name = heard.path.removeprefix(MODEL_NAMES)
            known = {"id": name, "object": "model", "created": 1763800000, "owned_by": "system"}
            return json_reply(known) if name in MODELS else MODEL_GONE
        if heard.path == EDITS:
            fields, files = heard.form()
            if set(files) != {"image"}:
                return error(400, "missing_required_parameter", "invalid_request_error", "image is missing")
            return self._paint(fields)
        if heard.path == GENERATIONS:
            return self._paint(heard.json())
        return error(404, "unknown_url", "invalid_request_error", "Unknown request URL")

    def _paint(self, fields: dict[str, str]) -> Reply:
        if fields["model"] not in MODELS:
            return MODEL_GONE
        if unknown := set(fields) - FIELDS:
            return error(400, "unknown_parameter", "invalid_request_error", f"Unknown parameters: {unknown}")
        if not _size_is_allowed(fields["model"], fields["size"]):
            return error(400, "invalid_value", "invalid_request_error", f"Invalid size {fields['size']}")
        return self.picture_reply()

    def picture_reply(self, **changes: Any) -> Reply:
        """The answer to an order that succeeded."""
        content = {
            "created": 1763800000,
            "background": "opaque",
            "data": [{"b64_json": base64.b64encode(self.picture).decode()}],
            "output_format": "jpeg",
            "quality": "medium",
            "usage": {"input_tokens": 323, "output_tokens": 1056, "total_tokens": 1379},
        }
        return Reply(json.dumps(content).encode(), **changes)


def _size_is_allowed(model: str, size: str) -> bool:
    if size in SIZES:
        return True
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    if not match or not model.startswith("gpt-image-2"):
        return False
    width, height = int(match[1]), int(match[2])
    is_free = width % 16 == 0 == height % 16 and max(width, height) <= 3 * min(width, height)
    return is_free and 655_360 <= width * height <= 8_294_400
