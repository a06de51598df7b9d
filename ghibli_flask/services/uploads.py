"""The bytes that come with an order, in whichever form they were sent. Called by the front doors."""

from __future__ import annotations

import base64
import binascii

from ghibli_flask.errors import FieldError, InvalidFields, TooLarge, _
from ghibli_flask.extensions import runtime


def from_base64(text: str) -> bytes:
    """Decode a picture from base64, a `data:` address included; raises InvalidFields or TooLarge."""
    payload = text.split(",", 1)[1] if text.startswith("data:") and "," in text else text
    if len(payload) // 4 * 3 > runtime().settings.max_upload_bytes + 2:
        raise too_large()
    try:
        return within_limit(base64.b64decode("".join(payload.split()), validate=True))
    except binascii.Error as error:
        raise InvalidFields(fields=(FieldError("imageBase64", _("This is not valid base64.")),)) from error


def within_limit(data: bytes) -> bytes:
    """The same bytes, if a photograph may have so many; raises TooLarge."""
    if len(data) > runtime().settings.max_upload_bytes:
        raise too_large()
    return data


def too_large() -> TooLarge:
    """The refusal that names the limit."""
    return TooLarge(
        _("That file is larger than %(max_mb)s MB. Nothing was charged."), max_mb=runtime().settings.max_upload_mb
    )
