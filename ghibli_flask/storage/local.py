"""The local folder as a store, through obstore. `storage.stores` opens it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore as Folder

from ghibli_flask.storage.base import FileMissing, StoreError


class LocalStore:
    """Files under one folder. obstore writes beside the target and renames, so no half-written file is ever seen."""

    name = "local"

    def __init__(self, folder: Path) -> None:
        self._path = folder

    @cached_property
    def _folder(self) -> Folder:
        # Opened at first use and so after every fork: obstore's threads do not survive one.
        self._path.mkdir(parents=True, exist_ok=True)
        return Folder(prefix=self._path, mkdir=True)

    def write(self, key: str, data: bytes) -> None:
        """Write a new file whole or not at all; raises StoreError."""
        try:
            obstore.put(self._folder, key, data, mode="create")
        except (BaseError, OSError) as error:
            raise StoreError(f"local: cannot write {key}: {_first_line(error)}") from error

    def read(self, key: str) -> bytes:
        """The bytes of a file; raises FileMissing or StoreError."""
        try:
            return bytes(obstore.get(self._folder, key).bytes())
        except FileNotFoundError as error:
            raise FileMissing(f"local: no file {key}") from error
        except (BaseError, OSError) as error:
            raise StoreError(f"local: cannot read {key}: {_first_line(error)}") from error

    def delete(self, key: str) -> None:
        """Remove a file; one that is already gone is no error. Raises StoreError."""
        try:
            obstore.delete(self._folder, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise StoreError(f"local: cannot delete {key}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """obstore tells its whole chain of causes below the first line; one line is enough for a log."""
    return str(error).partition("\n")[0]
