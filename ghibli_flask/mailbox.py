"""What passes through Redis between outside processors and us: finished pictures, and reports on handed-out paintings.

A picture lies base64 at `task:{id}:image`. Reports are dropped in by the web side (`services.processors`) and taken
out by the run that waits for them in a worker (`jobs.engines.processor`): a box is open as long as that run lasts.
"""

from __future__ import annotations

import base64
import binascii
import logging
from dataclasses import dataclass
from typing import Literal, cast

from redis import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

TTL_S = 3600

ReportStatus = Literal["processing", "completed", "failed"]


@dataclass(frozen=True)
class Report:
    """What a processor says of a painting: `progress` in percent; the picture's bytes only when it is completed."""

    status: ReportStatus
    progress: float
    stage: str | None = None
    picture: bytes | None = None


class Mailbox:
    """The pictures and reports in one Redis. What only saves time is best effort; the rest raises RedisError."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis, self._prefix = redis, prefix

    def put_picture(self, task_id: str, data: bytes) -> None:
        """Lay a picture down for an hour; raises RedisError."""
        self._redis.set(_picture_key(task_id), base64.b64encode(data), ex=TTL_S)

    def picture_of(self, task_id: str) -> bytes | None:
        """The picture that lies there, if there is a readable one; raises RedisError."""
        text = cast("bytes | None", self._redis.get(_picture_key(task_id)))
        if text is None:
            return None
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            return None

    def drop_picture(self, task_id: str) -> None:
        """Take a picture away; with Redis away it goes by itself within the hour."""
        try:
            self._redis.delete(_picture_key(task_id))
        except RedisError as error:
            log.debug("Redis is away, the picture of %s expires by itself: %s", task_id, error)

    def open(self, reference: str) -> None:
        """Wait for reports under this reference; with Redis away none will come."""
        try:
            self._redis.hset(self._box(reference), "open", "1")
            self._redis.expire(self._box(reference), TTL_S)
        except RedisError as error:
            log.warning("Redis is away, no reports on %s will be heard: %s", reference, error)

    def is_open(self, reference: str) -> bool:
        """Whether a run waits for reports under this reference; raises RedisError."""
        return bool(self._redis.exists(self._box(reference)))

    def drop_in(self, reference: str, report: Report) -> None:
        """Leave a report in an open box; the first ending stands. Raises RedisError."""
        box = self._box(reference)
        if report.status == "processing":
            self._redis.hset(box, mapping={"progress": report.progress, "stage": report.stage or ""})
            return
        if report.picture is not None:  # Before the word that it is there.
            self.put_picture(reference, report.picture)
        self._redis.hsetnx(box, "end", report.status)

    def latest(self, reference: str) -> Report | None:
        """What was reported last, an ending with its picture; None when nothing was, or Redis is away."""
        try:
            found = cast("dict[bytes, bytes]", self._redis.hgetall(self._box(reference)))
            ended = found.get(b"end", b"").decode()
            if ended == "completed":
                return Report("completed", 100, picture=self.picture_of(reference))
        except RedisError as error:
            log.debug("Redis is away, reports on %s are not heard now: %s", reference, error)
            return None
        if ended == "failed":
            return Report("failed", 100)
        if b"progress" not in found:
            return None
        return Report("processing", float(found[b"progress"]), found.get(b"stage", b"").decode() or None)

    def close(self, reference: str) -> None:
        """The run is over: reports that still come are for nobody."""
        try:
            self._redis.delete(self._box(reference), _picture_key(reference))
        except RedisError as error:
            log.debug("Redis is away, the reports on %s expire by themselves: %s", reference, error)

    def _box(self, reference: str) -> str:
        return f"{self._prefix}:report:{reference}"


def _picture_key(task_id: str) -> str:
    return f"task:{task_id}:image"
