"""The application's stores in the order in which they are tried. Opened by the factory, used by `services.files`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import cast

from flask import Flask, current_app

from ghibli_flask.settings import Settings
from ghibli_flask.storage.base import Store, StoredFile, StoreError
from ghibli_flask.storage.local import LocalStore

log = logging.getLogger(__name__)

STORES_KEY = "ghibli_stores"
# Zips grow on this machine's disk, whatever store has the pictures; here they are only deleted.
EXPORTS = "exports"


class Stores:
    """Every configured store by its name."""

    def __init__(self, by_name: Mapping[str, Store]) -> None:
        self._by_name = dict(by_name)

    @property
    def first(self) -> str:
        """The name of the store that takes the next file."""
        return next(iter(self._by_name))

    def write(self, file: StoredFile, data: bytes) -> None:
        """Write a new file; raises StoreError."""
        self._store(file).write(file.key, data)

    def read(self, file: StoredFile) -> bytes:
        """The bytes of a file; raises FileMissing or StoreError."""
        return self._store(file).read(file.key)

    def delete(self, file: StoredFile) -> None:
        """Remove a file, gone already or not; raises StoreError."""
        self._store(file).delete(file.key)

    def _store(self, file: StoredFile) -> Store:
        try:
            return self._by_name[file.store]
        except KeyError:
            raise StoreError(f"the store {file.store} is not configured") from None


def install_stores(app: Flask, settings: Settings) -> None:
    """Give an application its stores; nothing is opened or written yet."""
    app.extensions[STORES_KEY] = Stores(
        {
            "local": LocalStore(settings.instance_dir / "files"),
            EXPORTS: LocalStore(settings.instance_dir / EXPORTS),
        }
    )


def stores() -> Stores:
    """The stores of the current application."""
    return cast(Stores, current_app.extensions[STORES_KEY])
