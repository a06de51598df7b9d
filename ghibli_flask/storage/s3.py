"""Cloudflare R2, or any S3, as a store, through obstore. `storage.stores` opens it.

R2 answers requests with checksum headers, streaming signatures, access lists or tags with an error
(https://developers.cloudflare.com/r2/api/s3/api/), so none is sent: one plain signed PUT a file, one DELETE a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store as Bucket

from ghibli_flask.storage.base import FileMissing, Store, StoreError, content_type, first_line

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Credential

FAILURES = (BaseError, OSError, ValueError)
# Keys are never written twice, so whoever may see a file may keep it.
CACHE_CONTROL = "private, max-age=31536000, immutable"


@dataclass(frozen=True)
class Bounds:
    """How long a request may take, in seconds, and how often it is tried again."""

    connect_s: float
    request_s: float
    retries: int
    retry_for_s: float


WEB = Bounds(connect_s=2, request_s=10, retries=1, retry_for_s=3)
WORKER = Bounds(connect_s=5, request_s=20, retries=4, retry_for_s=20)


@dataclass(frozen=True)
class Account:
    """Which bucket, where, and with which keys; `public_url` is the bucket's public address, if it has one."""

    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: str
    public_url: str | None = None


class S3Store(Store):
    """Files in a bucket, under their keys, with content type and cache rules as their metadata."""

    name = "r2"

    def __init__(self, account: Account, bounds: Bounds) -> None:
        self._account, self._bounds = account, bounds

    @cached_property
    def _bucket(self) -> Bucket:
        # Opened at first use: an S3 store that was used before a fork hangs the child.
        account = self._account
        return Bucket(
            account.bucket,
            endpoint=account.endpoint,
            region=_region_of(account.endpoint),
            credential_provider=self._credential,
            disable_bulk_delete=True,
            client_options=self._client_options(),
            retry_config=self._retry_config(),
            # obstore fills what is left out from AWS_… variables, which are meant for other programs.
            aws_endpoint_url_s3=account.endpoint,
            virtual_hosted_style_request=False,
            unsigned_payload=False,
            skip_signature=False,
            request_payer=False,
        )

    def _credential(self) -> S3Credential:
        account = self._account
        return {
            "access_key_id": account.access_key_id,
            "secret_access_key": account.secret_access_key,
            "token": None,
            "expires_at": None,
        }

    def _client_options(self) -> ClientConfig:
        return {
            "allow_http": self._account.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=self._bounds.connect_s),
            "timeout": timedelta(seconds=self._bounds.request_s),
        }

    def _retry_config(self) -> RetryConfig:
        return {
            "max_retries": self._bounds.retries,
            "retry_timeout": timedelta(seconds=self._bounds.retry_for_s),
            "backoff": {
                "init_backoff": timedelta(milliseconds=200),
                "max_backoff": timedelta(seconds=4),
                "base": 2,
            },
        }

    def write(self, key: str, data: bytes, expires_at: datetime | None = None) -> str:
        """Write a new file whole or not at all; raises StoreError."""
        about = {"Content-Type": content_type(key), "Cache-Control": CACHE_CONTROL}
        try:
            obstore.put(self._bucket, key, data, attributes=about, use_multipart=False)
        except FAILURES as error:
            raise StoreError(f"r2: cannot write {key}: {first_line(error)}") from error
        return key

    def read(self, key: str) -> bytes:
        """The bytes of a file; raises FileMissing or StoreError."""
        try:
            return bytes(obstore.get(self._bucket, key).bytes())
        except FAILURES as error:
            # Without the bucket every file would look deleted.
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                raise FileMissing(f"r2: no file {key}") from error
            raise StoreError(f"r2: cannot read {key}: {first_line(error)}") from error

    def delete(self, key: str) -> None:
        """Remove a file. S3 confirms one that is gone already; a 404 means that the bucket is missing: StoreError."""
        try:
            obstore.delete(self._bucket, key)
        except FAILURES as error:
            raise StoreError(f"r2: cannot delete {key}: {first_line(error)}") from error

    def signed_address(self, key: str, method: Literal["GET", "HEAD"], lasts: timedelta) -> str | None:
        """An address that gives this file to whoever holds it, for this long; computed here, without a request."""
        try:
            return obstore.sign(self._bucket, method, key, lasts)
        except FAILURES as error:
            raise StoreError(f"r2: cannot sign an address of {key}: {first_line(error)}") from error

    def public_address(self, key: str) -> str | None:
        """The lasting address of a file, where the bucket has a public one."""
        return f"{self._account.public_url}/{quote(key)}" if self._account.public_url else None

    @property
    def origins(self) -> tuple[str, ...]:
        """Where signed and public addresses lead."""
        return tuple(origin_of(address) for address in (self._account.endpoint, self._account.public_url) if address)


def origin_of(address: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _region_of(endpoint: str) -> str:
    """The region that requests are signed for: R2 says `auto`, MinIO takes any, Amazon has it in the host's name."""
    host = urlsplit(endpoint).hostname or ""
    if not host.endswith(".amazonaws.com"):
        return "auto"
    named = re.search(r"s3[.-]([a-z]{2}-[a-z-]+-\d)\.amazonaws\.com$", host)
    return named[1] if named else "us-east-1"
