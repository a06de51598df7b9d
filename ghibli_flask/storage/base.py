"""What every store can do, and the errors that it raises. `storage.stores` holds them all together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Literal

CONTENT_TYPES = {".jpg": "image/jpeg", ".webp": "image/webp", ".png": "image/png"}
"""What is kept, by the end of its key."""


class StoreError(Exception):
    """A store did not do what it was asked; the text is for the log and never shown to a visitor."""


class FileMissing(StoreError):
    """There is no file under this key."""


@dataclass(frozen=True)
class StoredFile:
    """Where a file lies: rows keep this pair and never an address."""

    store: str
    key: str


class Store:
    """One place where bytes live; safe to use from several threads. What follows `delete` not every store can do."""

    name: str
    rests = True
    """Whether a failure keeps new files away for a while: asking again costs time."""

    def takes(self, kind: str, expires_in: timedelta | None) -> bool:
        """Whether a file of this kind and life may be kept here."""
        return True

    def write(self, key: str, data: bytes, expires_at: datetime | None = None) -> str:
        """Write a new file whole or not at all and give the key under which it is found. Raises StoreError."""
        raise NotImplementedError

    def read(self, key: str) -> bytes:
        """The bytes of a file; raises FileMissing or StoreError."""
        raise NotImplementedError

    def delete(self, key: str) -> None:
        """Remove a file; one that is already gone is no error. Raises StoreError."""
        raise NotImplementedError

    def probe(self) -> None:
        """Ask the store something that changes nothing; raises StoreError when it does not answer."""
        self.delete("health/none")

    def expiry_of(self, key: str) -> datetime | None:
        """When a file that cannot be deleted goes by itself; None in a store that deletes."""
        return None

    def delete_page(self, key: str) -> str | None:
        """The page on which a person can delete what `delete` cannot."""
        return None

    def signed_address(self, key: str, method: Literal["GET", "HEAD"], lasts: timedelta) -> str | None:
        """An address that gives this file to whoever holds it, for this long; None where there is no such thing."""
        return None

    def public_address(self, key: str) -> str | None:
        """The lasting address of a file that was published, None where there is none."""
        return None

    def path_of(self, key: str) -> Path | None:
        """Where the file lies on this machine; None in a store elsewhere."""
        return None

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins from which browsers load this store's pictures."""
        return ()


def content_type(key: str) -> str:
    """The media type of a kept picture."""
    return CONTENT_TYPES[PurePosixPath(key).suffix]


def first_line(error: Exception) -> str:
    """obstore tells its whole chain of causes below the first line; one line is enough for a log."""
    return str(error).partition("\n")[0]
