"""The application's stores in the order in which they are tried. Opened by the factory, used by `services.files`."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import cast

from flask import Flask, current_app

from ghibli_flask.clock import Clock
from ghibli_flask.settings import Settings
from ghibli_flask.storage.base import Store, StoredFile, StoreError
from ghibli_flask.storage.imgbb import ImgBBStore
from ghibli_flask.storage.local import LocalStore
from ghibli_flask.storage.resting import Resting
from ghibli_flask.storage.s3 import WEB, WORKER, Account, S3Store

log = logging.getLogger(__name__)

STORES_KEY = "ghibli_stores"
# Zips grow on this machine's disk, whatever store has the pictures; here they are only deleted.
EXPORTS = "exports"


class Stores:
    """Every store that can be read by its name, and the order in which they are tried with a new file.

    A remote store that failed rests; a `patient` process tries it all the same once no other store has taken a file.
    """

    def __init__(
        self,
        by_name: Mapping[str, Store],
        order: Sequence[str] | None = None,
        clock: Clock | None = None,
        *,
        patient: bool = False,
    ) -> None:
        self._by_name = dict(by_name)
        self._order = tuple(by_name) if order is None else tuple(order)
        self._clock, self._patient = clock or Clock(), patient
        self._resting = Resting()
        self._fallbacks: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def order(self) -> tuple[str, ...]:
        """The names of the stores that take new files, in the order in which they are tried."""
        return self._order

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins from which browsers load pictures beside our own."""
        return tuple(origin for store in self._by_name.values() for origin in store.origins)

    @property
    def fallbacks(self) -> dict[str, int]:
        """How many files went to which store instead of which, as `r2>imgbb`, since this process began."""
        with self._lock:
            return dict(self._fallbacks)

    @property
    def resting(self) -> dict[str, datetime]:
        """The stores that rest, and until when."""
        return self._resting.until(self._clock.now())

    def takers(self, kind: str, expires_in: timedelta | None = None) -> tuple[str, ...]:
        """The names of the stores for files of this kind and life, best first."""
        return tuple(name for name in self._order if self._by_name[name].takes(kind, expires_in))

    def willing(self, kind: str, expires_in: timedelta | None = None) -> Iterator[str]:
        """The takers that do not rest; whoever gets one tries it before asking for the next."""
        asleep = []
        for name in self.takers(kind, expires_in):
            if self._resting.may_try(name, self._clock.now()):
                yield name
            else:
                asleep.append(name)
        if self._patient:
            yield from asleep

    def count_fallback(self, wanted: str, taken: str) -> None:
        """Count a file that another store took than the one that is first for it."""
        with self._lock:
            self._fallbacks[f"{wanted}>{taken}"] += 1

    def write(self, file: StoredFile, data: bytes, expires_at: datetime | None = None) -> StoredFile:
        """Write a new file and say where it lies then; raises StoreError."""
        with self._watched(file.store) as store:
            return StoredFile(file.store, store.write(file.key, data, expires_at))

    def read(self, file: StoredFile) -> bytes:
        """The bytes of a file; raises FileMissing or StoreError."""
        return self.of(file).read(file.key)

    def delete(self, file: StoredFile) -> None:
        """Remove a file, gone already or not; raises StoreError."""
        self.of(file).delete(file.key)

    def of(self, file: StoredFile) -> Store:
        """The store of a file; raises StoreError when it is not configured."""
        return self._named(file.store)

    def expiry_of(self, file: StoredFile) -> datetime | None:
        """When a file that cannot be deleted goes by itself; None where files are deleted."""
        store = self._by_name.get(file.store)
        return store.expiry_of(file.key) if store else None

    def delete_page(self, file: StoredFile) -> str | None:
        """The page on which a person can delete a file that we cannot delete."""
        store = self._by_name.get(file.store)
        return store.delete_page(file.key) if store else None

    def check(self) -> dict[str, str | None]:
        """Ask each store that takes new files something harmless: what is wrong with it, None when it answers."""
        return {name: self._complaint(name) for name in self._order}

    def can_take(self, kind: str) -> bool:
        """Whether some store answers that takes files of this kind; one that rests is not asked."""
        return any(
            self._resting.may_try(name, self._clock.now()) and self._complaint(name) is None
            for name in self.takers(kind)
        )

    def _complaint(self, name: str) -> str | None:
        try:
            with self._watched(name) as store:
                store.probe()
        except StoreError as error:
            log.warning("The store does not answer: %s", error)
            return str(error)
        return None

    @contextmanager
    def _watched(self, name: str) -> Iterator[Store]:
        """A store at work: failing sends it to rest, working wakes it up."""
        store = self._named(name)
        try:
            yield store
        except StoreError:
            if store.rests:
                self._resting.begin(name, self._clock.now())
            raise
        self._resting.end(name)

    def _named(self, name: str) -> Store:
        try:
            return self._by_name[name]
        except KeyError:
            raise StoreError(f"the store {name} is not configured") from None


def install_stores(app: Flask, settings: Settings, clock: Clock, *, patient: bool = False) -> None:
    """Give an application its stores; nothing is opened or written yet. `patient` is for workers."""
    # What was kept before the settings changed stays readable where it lies.
    by_name: dict[str, Store] = {
        "local": LocalStore(settings.instance_dir / "files"),
        "imgbb": ImgBBStore(settings.imgbb_url, settings.imgbb_api_key, clock),
        EXPORTS: LocalStore(settings.instance_dir / EXPORTS),
    }
    account = _account(settings)
    if account:
        by_name["r2"] = S3Store(account, WORKER if patient else WEB)
    app.extensions[STORES_KEY] = Stores(by_name, settings.stores, clock, patient=patient)


def stores() -> Stores:
    """The stores of the current application."""
    return cast(Stores, current_app.extensions[STORES_KEY])


def _account(settings: Settings) -> Account | None:
    endpoint, bucket = settings.r2_address, settings.cloudflare_r2_bucket
    key_id, secret = settings.cloudflare_r2_access_key_id, settings.cloudflare_r2_secret_access_key
    if not (endpoint and bucket and key_id and secret):
        return None
    return Account(endpoint, bucket, key_id, secret, settings.cloudflare_r2_public_url)
