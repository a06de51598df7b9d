"""HTTP with a Gradio server: how long it is waited for, how much it may say, and its event streams.

`gradio.py` makes its client of these; `gradio_session` and `gradio_queue` ask through them.
"""

from __future__ import annotations

import functools
import json
import ssl
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from jobs.engines.base import EngineBroken, EngineBusy

# A server sends a heartbeat every 15 s: after three of silence it is gone.
TIMEOUT = httpx.Timeout(45.0, connect=10.0)

MOST_OF_ANSWER = 1024 * 1024
"""Bytes of an answer's body. Real ones have some hundred."""

MOST_OF_DESCRIPTION = 8 * 1024 * 1024
"""Bytes of what a Space says of itself, which grows with its page: the largest ones say some megabytes."""

MOST_OF_MESSAGE = 2 * 1024 * 1024
"""Bytes of one message of the event stream. Real ones have some hundred; a picture never travels in them."""

Message = dict[str, Any]


@functools.cache
def tls() -> ssl.SSLContext:
    """The one TLS context of this process: building one takes 30 ms, and httpx would build one per request.

    It trusts the system's authorities, or those that SSL_CERT_FILE and SSL_CERT_DIR name.
    """
    return ssl.create_default_context()


async def ask(
    http: httpx.AsyncClient, method: str, url: str, *, max_bytes: int = MOST_OF_ANSWER, **request: Any
) -> httpx.Response:
    """Make one request and read its whole answer; `request` is what httpx calls `headers`, `json` and `files`.

    Raises HTTPStatusError for a bad answer, with the beginning of what was said, and EngineBroken for an endless one.
    """
    async with http.stream(method, url, **request) as response:
        body = await read(response, max_bytes, "answer")
    if response.is_success:
        return httpx.Response(response.status_code, headers=response.headers, content=body, request=response.request)
    said = " ".join(body[:2000].decode(errors="replace").split())
    text = f"{response.status_code} {response.reason_phrase} from {response.url.path}: {said[:300]}"
    raise httpx.HTTPStatusError(text, request=response.request, response=response)


async def read(response: httpx.Response, max_bytes: int, what: str) -> bytes:
    """The body, which raises EngineBroken when it is larger, or packed: that could grow while it is unpacked."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise EngineBroken(f"The {what} came packed although it was asked for unpacked.")
    length = response.headers.get("content-length", "")
    too_large = EngineBroken(f"The {what} is larger than {max_bytes} bytes.")
    if length.isdigit() and int(length) > max_bytes:
        raise too_large
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise too_large
    return bytes(body)


async def listen(http: httpx.AsyncClient, url: str, **request: Any) -> AsyncGenerator[Message, None]:
    """The JSON objects of an event stream, heartbeats left out; closing this generator hangs up.

    Raises HTTPStatusError when there is no stream, EngineBusy when it is cut, EngineBroken at an endless message.
    """
    try:
        async with http.stream("GET", url, **request) as response:
            # Without its text, which could be of any length.
            response.raise_for_status()
            rest = b""
            async for chunk in response.aiter_raw():
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MOST_OF_MESSAGE:
                    raise EngineBroken("The endpoint returned something very long instead of a picture.")
                for line in lines:
                    if line.startswith(b"data:"):
                        message: Message = json.loads(line[5:])
                        if message.get("msg") != "heartbeat":
                            yield message
    except (httpx.RemoteProtocolError, httpx.ReadError) as error:
        raise EngineBusy(f"The event stream was cut: {type(error).__name__}: {error}", retries=1) from None
