"""Where bytes live, behind one interface."""

from ghibli_flask.storage.base import FileMissing, Store, StoredFile, StoreError, content_type
from ghibli_flask.storage.stores import Stores, install_stores, stores

__all__ = ["FileMissing", "Store", "StoreError", "StoredFile", "Stores", "content_type", "install_stores", "stores"]
