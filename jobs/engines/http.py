"""HTTP for the engines that call an API by themselves: bounded in bytes and time, ended at once, never repeated.

`kie` and `openai` open a Conversation for each painting. requests blocks while it waits, so every request runs in a
thread of its own; the calling thread looks after the deadline and the cancel, and cuts the connection when one comes.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import ipaddress
import json
import math
import re
import threading
import time
import urllib.parse
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

import requests
import urllib3
from requests.auth import AuthBase

from ghibli_flask.proxies import proxy_trouble
from jobs.engines.base import CredentialRejected, EngineBroken, EngineBusy
from jobs.engines.call import Call
from jobs.engines.connections import Line, session_over

CONNECT_S = 10.0
DOWNLOAD_S = 30.0
DOWNLOAD_TRIES = 3
DOWNLOAD_PAUSE_S = 1.0
MOST_REDIRECTS = 3
CHUNK_BYTES = 64 * 1024
JSON_BYTES = 1024 * 1024

_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError)
"""What requests lets through; ValueError is what names and addresses raise that cannot be written down."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class NotReached(EngineBusy):
    """No request left this machine, so another try costs nothing."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retries=1)


class AnswerLost(EngineBroken):
    """A request was sent and its answer never came: what was asked for may have been done, and billed."""


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer. The keys of `headers` are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is none."""
        try:
            content = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def text(self) -> str:
        """The beginning of the body, for a log."""
        return self.body[:300].decode(errors="replace").strip()

    def retry_after(self) -> float | None:
        """The seconds after which the server wants to be asked again, from either header that names them."""
        return retry_after(self.headers)


class Conversation:
    """The requests of one painting, one after another, over one session. A context manager.

    No connection and no cookie outlives it, and no thread, unless it still looks up a name or makes a connection (for
    CONNECT_S at most), which is then refused.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._line = Line()
        self._session = session_over(self._line)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()

    def send(
        self,
        method: str,
        url: str,
        *,
        key: str | None = None,
        max_bytes: int = JSON_BYTES,
        patience: float = math.inf,
        public_only: bool = False,
        **body: Any,
    ) -> Answer:
        """Make one request and read its answer, whatever its status; no redirect is followed, nothing is repeated.

        `key` is sent as a bearer token, `body` is what requests calls `json`, `data`, `files`, `params`, `headers`.
        `patience` bounds this request in seconds within the call's deadline; `public_only` refuses to connect to an
        address that is not on the public network.

        Raises NotReached, AnswerLost (also when patience ended), EngineBroken for an answer of more than
        `max_bytes`, and what Call.check raises.
        """
        self._line.begin(public_only)
        outcome: Future[Answer] = Future()
        work = functools.partial(self._ask, self._session, method, url, key, max_bytes, patience, body)
        # A daemon, because a process that ends must not wait for a look-up of a name that hangs.
        # In a copy of the caller's context, so that a line that is logged on the way says whose order it is about.
        run = functools.partial(contextvars.copy_context().run, _run, work, outcome)
        threading.Thread(target=run, name="engine-http", daemon=True).start()
        self._await(outcome, url, patience)
        try:
            return outcome.result()
        except _FAILURES as error:
            self._call.check()
            # The original holds the request with its key: only the kind of the failure travels on.
            raise self._lost(url, proxy_trouble(error) or _cause(error)) from None

    def download(self, url: str, *, home: tuple[str, ...], max_bytes: int) -> bytes:
        """Fetch a picture that an API named, without any credential, in three tries: it has been paid for.

        What is not at the origin of one of the `home` addresses must be https on the public network, at the first
        address and at each one that it redirects to. The bytes are not proven to be a picture. Raises EngineBroken.
        """
        for attempt in range(DOWNLOAD_TRIES):
            if attempt:
                self._call.pause(DOWNLOAD_PAUSE_S)
            try:
                return self._fetch(url, home, max_bytes)
            except (AnswerLost, NotReached) as error:
                last = error
        raise EngineBroken(f"The picture could not be fetched: {last.safe_text}")

    def _fetch(self, url: str, home: tuple[str, ...], max_bytes: int) -> bytes:
        there = url
        for _ in range(MOST_REDIRECTS + 1):
            url = _absolute(url, there)
            public_only = _origin(url) not in {_origin(address) for address in home}
            if public_only:
                _check_public(url)
            answer = self.send("GET", url, max_bytes=max_bytes, patience=DOWNLOAD_S, public_only=public_only)
            if answer.status not in _REDIRECTS:
                return _picture(answer)
            there = answer.headers.get("location", "")
        raise EngineBroken("The picture's address redirects too often.")

    def _await(self, outcome: Future[Answer], url: str, patience: float) -> None:
        gives_up_at = time.monotonic() + patience
        try:
            while not outcome.done():
                self._call.check()
                if time.monotonic() >= gives_up_at:
                    raise self._lost(url, f"no answer within {patience:.0f} s")
                wait((outcome,), timeout=self._call.tick())
        except BaseException:
            self._hang_up()
            # A conversation may go on after its patience with one answer has ended.
            self._line = Line()
            self._session = session_over(self._line)
            raise

    def _lost(self, url: str, reason: str) -> NotReached | AnswerLost:
        host = urllib.parse.urlsplit(url).hostname
        if self._line.asked:
            return AnswerLost(f"{host} did not answer: {reason.rstrip('.')}.")
        return NotReached(f"{host} could not be reached: {reason.rstrip('.')}.")

    def _hang_up(self) -> None:
        self._line.cut()
        self._session.close()

    def _ask(
        self,
        session: requests.Session,
        method: str,
        url: str,
        key: str | None,
        max_bytes: int,
        patience: float,
        body: dict[str, Any],
    ) -> Answer:
        """Runs in the request's own thread."""
        # The calling thread keeps the time; this is for the case that its cut does not reach the socket.
        silence_s = min(patience, self._call.deadline.remaining()) + 1.0
        with session.request(
            method, url, auth=_Bearer(key), timeout=(CONNECT_S, silence_s), stream=True, allow_redirects=False, **body
        ) as response:
            if response.status_code == requests.codes.proxy_authentication_required:
                response.raise_for_status()  # Not the host's answer: no host asks so.
            headers = {name.lower(): value for name, value in response.headers.items()}
            if headers.get("content-encoding", "identity") != "identity":
                raise EngineBroken("The answer came packed although it was asked for unpacked.")
            return Answer(response.status_code, headers, _read(response, max_bytes))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server's headers name; their keys are lower-case, or found in any case."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
            return float(value) * unit_s
    return None


def usable_key(credential: str | None, name: str) -> str:
    """The credential, proven to fit into a header; `name` is the setting that it comes from.

    Raises CredentialRejected, with nothing of the credential in the text.
    """
    if not credential or not credential.isascii() or not credential.isprintable() or " " in credential:
        raise CredentialRejected(f"{name} is missing, or holds characters that no key has.")
    return credential


def _check_public(url: str) -> None:
    """Raise EngineBroken unless this is an https address whose host could be on the public network.

    A name is judged when its address is known, at the connection.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise EngineBroken("The picture's address is not a plain https address.")
    with contextlib.suppress(ValueError):
        if not ipaddress.ip_address(parts.hostname).is_global:
            raise EngineBroken("The picture's address is not on the public network.")


def _absolute(url: str, there: str) -> str:
    """Where a link at `url` leads, as requests will read it, so that what is checked is what is connected to."""
    try:
        absolute = requests.Request("GET", urllib.parse.urljoin(url, there)).prepare().url or ""
        _origin(absolute)
    except (requests.RequestException, ValueError):
        raise EngineBroken("The picture's address is none.") from None
    return absolute


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _run(work: functools.partial[Answer], outcome: Future[Answer]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:
        outcome.set_exception(error)


def _read(response: requests.Response, max_bytes: int) -> bytes:
    body = bytearray()
    while chunk := response.raw.read(CHUNK_BYTES, decode_content=False):
        body += chunk
        if len(body) > max_bytes:
            raise EngineBroken(f"The answer is larger than {max_bytes} bytes.")
    return bytes(body)


def _picture(answer: Answer) -> bytes:
    if answer.status >= 500:
        raise AnswerLost(f"the address answered {answer.status}")
    if answer.status != 200:
        raise EngineBroken(f"The picture's address answered {answer.status}.")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind not in {"application/octet-stream", "binary/octet-stream"}:
        raise EngineBroken(f"The picture's address gave {kind or 'no type'} instead of a picture.")
    return answer.body


def _cause(error: BaseException) -> str:
    """The kind of a failure, and what the system said of it: requests and urllib3 wrap that several times."""
    inner = error
    for _ in range(10):
        wrapped = (getattr(inner, "reason", None), *inner.args, inner.__cause__)
        inner = next((found for found in wrapped if isinstance(found, BaseException)), inner)
    said = (inner.strerror or str(inner)) if isinstance(inner, OSError) else type(inner).__name__
    return f"{type(error).__name__}, {said}"


class _Bearer(AuthBase):
    """The key, or nothing; without an auth of its own a request would be given what ~/.netrc holds for the host."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request
