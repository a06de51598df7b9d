"""The local folder as a store, through obstore. `storage.stores` opens it."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore as Folder

from ghibli_flask.storage.base import FileMissing, Store, StoreError, first_line

# obstore raises ValueError for a key with `..` in it.
FAILURES = (BaseError, OSError, ValueError)


class LocalStore(Store):
    """Files under one folder. obstore writes beside the target and renames, so no half-written file is ever seen."""

    name = "local"
    rests = False

    def __init__(self, folder: Path) -> None:
        self._path = folder

    @cached_property
    def _folder(self) -> Folder:
        # Opened at first use and so after every fork: obstore's threads do not survive one.
        self._path.mkdir(parents=True, exist_ok=True)
        return Folder(prefix=self._path, mkdir=True)

    def write(self, key: str, data: bytes, expires_at: datetime | None = None) -> str:
        """Write a new file whole or not at all; raises StoreError."""
        self.path_of(key)
        try:
            obstore.put(self._folder, key, data, mode="create", use_multipart=False)
        except FAILURES as error:
            raise StoreError(f"local: cannot write {key}: {first_line(error)}") from error
        return key

    def read(self, key: str) -> bytes:
        """The bytes of a file; raises FileMissing or StoreError."""
        self.path_of(key)
        try:
            return bytes(obstore.get(self._folder, key).bytes())
        except FileNotFoundError as error:
            raise FileMissing(f"local: no file {key}") from error
        except FAILURES as error:
            raise StoreError(f"local: cannot read {key}: {first_line(error)}") from error

    def delete(self, key: str) -> None:
        """Remove a file, and what a process that was killed while writing it has left. Raises StoreError."""
        target = self.path_of(key)
        try:
            obstore.delete(self._folder, key)
        except FileNotFoundError:
            pass
        except FAILURES as error:
            raise StoreError(f"local: cannot delete {key}: {first_line(error)}") from error
        # obstore stages a file as `<name>#1`, or a higher number, before it renames it.
        for part in target.parent.glob(f"{target.name}#*"):
            part.unlink(missing_ok=True)

    def path_of(self, key: str) -> Path:
        """Where the file lies; raises StoreError for a key that leads out of the folder."""
        path = (self._path / key).resolve()
        if not path.is_relative_to(self._path.resolve()):
            raise StoreError(f"local: {key} lies outside the folder")
        return path
