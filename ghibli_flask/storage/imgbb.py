"""ImgBB as a store of results, after https://api.imgbb.com. `storage.stores` opens it.

Its addresses are public and its interface cannot delete. So it takes results alone, each with an expiration, and a key
tells all that is known about a file: when it goes by itself, the page on which a person can delete it, and where it
lies: `<expiry>/<id>/<delete hash>/<folder>/<file name>`. The file name is 128 random bits of ours.
"""

from __future__ import annotations

import base64
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import requests

from ghibli_flask.clock import Clock
from ghibli_flask.proxies import proxy_trouble
from ghibli_flask.storage.base import FileMissing, Store, StoreError

API = "https://api.imgbb.com"
PICTURES = "https://i.ibb.co"
PAGES = "https://ibb.co"
LARGEST = 32 * 1024 * 1024
# What the interface takes as expiration.
SHORTEST_LIFE, LONGEST_LIFE = timedelta(minutes=1), timedelta(days=180)
# Seconds to connect, of silence, and for reading a picture as a whole.
TIMEOUT_S = (2.0, 10.0)
READ_WITHIN_S = 20.0
CHUNK = 64 * 1024

# The lengths keep a key within the column that holds it.
_PICTURE = r"(?P<folder>[A-Za-z0-9]{1,20})/(?P<name>[\w-]{1,50}\.[a-z]{3,4})"
_PAGE = r"(?P<id>[A-Za-z0-9]{1,20})/(?P<hash>[A-Za-z0-9]{1,40})"
_KEY = re.compile(rf"(?P<expiry>\d{{10}})/{_PAGE}/{_PICTURE}")


class ImgBBStore(Store):
    """Results at ImgBB until they expire."""

    name = "imgbb"

    def __init__(self, upload_url: str, api_key: str | None, clock: Clock) -> None:
        self._upload_url, self._api_key, self._clock = upload_url, api_key, clock
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(upload_url))
        self._pictures = PICTURES if origin == API else origin

    def takes(self, kind: str, expires_in: timedelta | None) -> bool:
        """Results whose end is known and not too far; never a photograph and nothing that is to be taken back."""
        return kind == "results" and expires_in is not None and SHORTEST_LIFE <= expires_in <= LONGEST_LIFE

    def write(self, key: str, data: bytes, expires_at: datetime | None = None) -> str:
        """Upload a result; gives the key under which it is found. Raises StoreError."""
        if expires_at is None or not self._api_key:
            raise StoreError("imgbb: nothing goes there without a key of ours and an end")
        form = {
            "key": self._api_key,
            "image": base64.b64encode(data).decode(),
            "name": PurePosixPath(key).stem,
            "expiration": str(int((expires_at - self._clock.now()).total_seconds())),
        }
        try:
            answer = requests.post(self._upload_url, form, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise StoreError(f"imgbb: the upload did not go through: {_cause(error)}") from error
        return self._key_of(_told(answer), expires_at)

    def _key_of(self, told: dict[str, Any], expires_at: datetime) -> str:
        """The key of an uploaded file, from addresses that are checked to be the ones that a key can give back."""
        picture = re.fullmatch(f"{re.escape(self._pictures)}/{_PICTURE}", str(told.get("url")))
        page = re.fullmatch(f"{PAGES}/{_PAGE}", str(told.get("delete_url")))
        if not (picture and page):
            raise StoreError("imgbb: the answer names no picture, or no page for deleting it, where they should be")
        where = f"{page['id']}/{page['hash']}/{picture['folder']}/{picture['name']}"
        return f"{int(expires_at.timestamp())}/{where}"

    def read(self, key: str) -> bytes:
        """The bytes of a file from its public address, bounded; raises FileMissing or StoreError."""
        parts = _parts(key)
        if parts is None:
            raise FileMissing(f"imgbb: no file {key}")
        address = f"{self._pictures}/{parts['folder']}/{parts['name']}"
        try:
            with requests.get(address, timeout=TIMEOUT_S, stream=True, allow_redirects=False) as answer:
                if answer.status_code in {404, 410}:
                    raise FileMissing(f"imgbb: no file {key}")
                if answer.status_code != 200:
                    raise StoreError(f"imgbb: cannot read {key}: status {answer.status_code}")
                return _bounded(answer)
        except requests.RequestException as error:
            raise StoreError(f"imgbb: cannot read {key}: {_cause(error)}") from error

    def delete(self, key: str) -> None:
        """Nothing that a program could do: the file goes at its expiry."""

    def probe(self) -> None:
        """Ask for the front door of the interface; any answer of it will do. Raises StoreError."""
        try:
            answer = requests.get(self._upload_url, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise StoreError(f"imgbb: does not answer: {_cause(error)}") from error
        if answer.status_code >= 500:
            raise StoreError(f"imgbb: answers with status {answer.status_code}")

    def expiry_of(self, key: str) -> datetime | None:
        """When this file goes by itself."""
        parts = _parts(key)
        return datetime.fromtimestamp(int(parts["expiry"]), UTC) if parts else None

    def delete_page(self, key: str) -> str | None:
        """The page on which a person can delete this file."""
        parts = _parts(key)
        return f"{PAGES}/{parts['id']}/{parts['hash']}" if parts else None


def _cause(error: requests.RequestException) -> str:
    """Why a request failed; the texts of requests are left out, because they may hold a proxy's password."""
    return proxy_trouble(error) or type(error).__name__


def _parts(key: str) -> dict[str, str] | None:
    found = _KEY.fullmatch(key)
    return found.groupdict() if found else None


def _told(answer: requests.Response) -> dict[str, Any]:
    """What a successful answer tells. Errors come as 400 with a text, or as a page of something in front of ImgBB."""
    try:
        body = answer.json()
        told = body["data"] if answer.status_code == 200 else body["error"]["message"]
    except (requests.JSONDecodeError, KeyError, TypeError):
        told = None
    if answer.status_code == 200 and isinstance(told, dict):
        return told
    raise StoreError(f"imgbb: refused with status {answer.status_code}: {str(told or 'no reason given')[:200]}")


def _bounded(answer: requests.Response) -> bytes:
    data, until = bytearray(), time.monotonic() + READ_WITHIN_S
    for chunk in answer.iter_content(CHUNK):
        data += chunk
        if len(data) > LARGEST or time.monotonic() > until:
            raise StoreError(f"imgbb: sent {len(data)} bytes and did not come to an end")
    return bytes(data)
