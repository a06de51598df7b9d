"""Processor time for each order: what the cases of `make bench` count for the product and for its servers."""

import time
from collections.abc import Sequence

from bench.processes import processor_s
from bench.site import Site

MS = 1000.0


class Meter:
    """Processor time for each of `orders` while the block lasts: of these processes, by default the product's own, and
    of its servers.
    """

    def __init__(self, site: Site, orders: int, pids: Sequence[int] | None = None) -> None:
        self._pids, self._servers, self._orders = pids or site.own_pids, site.server_pids, orders

    def __enter__(self) -> "Meter":
        self._began = self._read()
        self._began_at = time.monotonic()
        return self

    def __exit__(self, *_error: object) -> None:
        own, servers = (now - before for now, before in zip(self._read(), self._began, strict=True))
        self.seconds = time.monotonic() - self._began_at
        self.own_ms, self.servers_ms = own * MS / self._orders, servers * MS / self._orders

    def _read(self) -> tuple[float, float]:
        return processor_s(self._pids), processor_s(self._servers)
