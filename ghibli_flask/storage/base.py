"""What every store can do, and the error that it raises. `services.files` and the serving routes are the callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class StoreError(Exception):
    """A store did not do what it was asked; the text is for the log and never shown to a visitor."""


class FileMissing(StoreError):
    """There is no file under this key."""


@dataclass(frozen=True)
class StoredFile:
    """Where a file lies: rows keep this pair and never an address."""

    store: str
    key: str


class Store(Protocol):
    """One place where bytes live; safe to use from several threads."""

    name: str

    def write(self, key: str, data: bytes) -> None:
        """Write a new file whole or not at all; raises StoreError."""

    def read(self, key: str) -> bytes:
        """The bytes of a file; raises FileMissing or StoreError."""

    def delete(self, key: str) -> None:
        """Remove a file; one that is already gone is no error. Raises StoreError."""
