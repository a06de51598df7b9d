"""Several pictures as one zip, written while it is sent. Called by the page of an owner's pictures.

One picture at a time is in memory, and nothing touches the disk: a zip can be written to something that only goes
forward. Pictures are compressed already and only stored.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator, Sequence
from io import RawIOBase
from pathlib import PurePosixPath

from ghibli_flask.errors import NotFound
from ghibli_flask.services import files, history, pictures
from ghibli_flask.services.history import Entry
from ghibli_flask.services.payers import Payer

log = logging.getLogger(__name__)


class _Outlet(RawIOBase):
    """Takes what the zip writes, and gives it away."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._waiting += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


def of(public_ids: Sequence[str], payer: Payer) -> Iterator[bytes]:
    """The finished pictures among these, as the parts of one zip.

    Raises what `history.chosen` raises, and NotFound when none of them has a picture; all of it before the first part.
    """
    finished = [entry for entry in history.chosen(payer, public_ids) if entry.has_picture]
    if not finished:
        raise NotFound
    return _parts(finished, payer)


def _parts(entries: Sequence[Entry], payer: Payer) -> Iterator[bytes]:
    outlet = _Outlet()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:
        for entry in entries:
            try:
                file = pictures.result_file(entry.public_id, payer)
                data = files.read(file)
            except NotFound:
                log.warning("the picture of task %s went while it was to be packed", entry.public_id)
                continue
            archive.writestr(_name(entry, PurePosixPath(file.key).suffix), data)
            yield outlet.take()
    yield outlet.take()


def _name(entry: Entry, suffix: str) -> str:
    """The day, the look and the beginning of the id: names sort by age and never meet."""
    return f"{entry.created_at:%Y-%m-%d}-{entry.style}-{entry.public_id[:12]}{suffix}"
