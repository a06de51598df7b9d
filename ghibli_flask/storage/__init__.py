"""Where bytes live, behind one interface."""

from ghibli_flask.storage.base import FileMissing, Store, StoredFile, StoreError
from ghibli_flask.storage.stores import Stores, install_stores, stores

__all__ = ["FileMissing", "Store", "StoreError", "StoredFile", "Stores", "install_stores", "stores"]
