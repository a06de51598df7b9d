"""The static files as browsers get them: for ever, and compressed. Called by the factory and by `wsgi.py`.

Compressed copies lie in the instance folder under the hash of what they are made from, so that none is ever older than
its file. A process that finds none serves the files as they are.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli
from whitenoise import WhiteNoise
from whitenoise.responders import StaticFile

COMPRESSIBLE = frozenset({".css", ".js", ".svg", ".txt"})
"""The other files are pictures and fonts, which are compressed in themselves."""
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "br": lambda data: brotli.compress(data, mode=brotli.MODE_TEXT, quality=11),
    "gzip": lambda data: gzip.compress(data, 9, mtime=0),
}
"""How each content coding is made, as small as it can be: it is made once."""
ONE_YEAR_S = 31_536_000
COPIES = "compressed"
"""The folder of the copies below the instance folder."""


class StaticFiles(WhiteNoise):  # type: ignore[misc]
    """WhiteNoise with the compressed copies beside it, and every file immutable: its address names its tree."""

    def __init__(self, application: Any, root: Path, prefix: str, copies: Path) -> None:
        self._copies = copies
        super().__init__(
            application,
            root=str(root),
            prefix=prefix,
            autorefresh=False,
            max_age=ONE_YEAR_S,
            immutable_file_test=lambda _path, _url: True,
        )

    def get_static_file(self, path: str, url: str, stat_cache: dict[str, os.stat_result] | None = None) -> StaticFile:
        """The file with those of its copies that are there."""
        file: StaticFile = super().get_static_file(path, url, stat_cache)
        copies = _copies_of(Path(path), self._copies)
        there = {encoding: str(copy) for encoding, copy in copies.items() if copy.is_file()}
        if not there:
            return file
        headers = {name: value for name, value in file.alternatives[-1][2] if name != "Content-Length"}
        return StaticFile(path, list(headers.items()), encodings=there)


def compress(root: Path, copies: Path) -> None:
    """Make the compressed copies of these files that are not there yet; several processes may do so at once."""
    copies.mkdir(parents=True, exist_ok=True)
    for path in sorted(root.rglob("*")):
        for encoding, copy in _copies_of(path, copies).items():
            if not copy.exists():
                _write(copy, ENCODINGS[encoding](path.read_bytes()))


def _copies_of(path: Path, copies: Path) -> dict[str, Path]:
    """Where the compressed copies of a file lie, by content coding; none for what is not to be compressed."""
    if path.suffix not in COMPRESSIBLE:
        return {}
    name = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    return {encoding: copies / f"{name}.{encoding}" for encoding in ENCODINGS}


def _write(target: Path, data: bytes) -> None:
    """Write a file that is whole as soon as it is there."""
    handle, name = tempfile.mkstemp(dir=target.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(name).replace(target)
