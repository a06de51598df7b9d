"""What is ordered, and the answer to it: plain values that the front doors make and `services.tasks` works on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.models.task import ImageTask
from ghibli_flask.styles import DEFAULT_STYLE

LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Order:
    """What a visitor wants painted. `photo` holds the uploaded bytes as they came, not yet proven to be a picture.

    `alias` is the caller's own id of an order that came by /process; such an order is repeated by its id alone.
    """

    mode: Mode
    photo: bytes | None
    prompt: str = ""
    style: str = DEFAULT_STYLE
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    idempotency_key: str | None = None
    retry_of: int | None = None
    alias: str | None = None
    wants_gallery: bool = False
    wish: int | None = None

    @property
    def fingerprint(self) -> str:
        """The same for the same picture, prompt, style and size, however they were sent."""
        photo = hashlib.sha256(self.photo).hexdigest() if self.photo else None
        parts = [self.mode, photo, self.prompt, self.style, self.width, self.height, self.seed]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def key_hash(self) -> str | None:
        """How an Idempotency-Key is kept; a wish has one of its own, so that it is kept once."""
        if self.idempotency_key:
            return hash_of(self.idempotency_key)
        return hash_of(f"{self.wish}", kind="wish") if self.wish else None


def hash_of(key: str, kind: str = "client") -> str:
    """How a caller's Idempotency-Key, or a wish's own, is kept."""
    return hashlib.sha256(f"{kind}:{key}".encode()).hexdigest()


@dataclass(frozen=True)
class Submission:
    """The answer to an order: its task, and whether it stood already."""

    task: ImageTask
    duplicate: bool
