"""Trying each store with a real file: written, read and deleted. Called by `flask storage check`."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import timedelta

from ghibli_flask.errors import AppError
from ghibli_flask.services import files
from ghibli_flask.storage import StoredFile, StoreError, stores

GREY_DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a4944415478da6368000000820081da45083b0000000049454e44ae426082"
)
"""The smallest PNG: ImgBB takes pictures only."""

LIFE = timedelta(minutes=2)


@dataclass(frozen=True)
class Finding:
    """How a store did: seconds for all three steps together, and what went wrong, if anything."""

    store: str
    seconds: float
    complaint: str | None

    @property
    def line(self) -> str:
        """One line for the operator."""
        return f"{self.store:8} {self.complaint or 'works'} ({self.seconds:.2f} s)"


def check_all() -> list[Finding]:
    """Write, read and delete a small picture in every store that takes new files."""
    return [_check(name) for name in stores().order]


def _check(name: str) -> Finding:
    began = time.monotonic()
    try:
        complaint = _try(name)
    except (StoreError, AppError) as error:
        complaint = str(error)
    return Finding(name, time.monotonic() - began, complaint)


def _try(name: str) -> str | None:
    file = StoredFile(name, f"checks/{secrets.token_hex(16)}.png")
    kept = files.write_to(file, GREY_DOT, LIFE)
    # From here on the cleanup deletes it, if the next lines do not come to it.
    files.abandon(kept)
    if stores().read(kept) != GREY_DOT:
        return "gave other bytes back than were written"
    stores().delete(kept)
    return None
