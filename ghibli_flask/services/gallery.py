"""The gallery: what hangs in it, page by page, and how many pictures there are. Called by the front doors.

`services.sharing` and `services.moderation` change shares inside `counted`, the one place that decides what hangs.
Pages are cached in Redis under the number of the gallery's state in the database, so that no page outlives a change,
whether Redis was there when it happened or not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from redis.exceptions import RedisError
from sqlalchemy import ColumnElement, func, insert, or_, select, update
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Session

from ghibli_flask.database import reading
from ghibli_flask.errors import FieldError, InvalidFields, _
from ghibli_flask.extensions import runtime
from ghibli_flask.models.share import Share, ShareCount, ShareReport
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import files
from ghibli_flask.storage import StoredFile, StoreError, stores

log = logging.getLogger(__name__)

PAGE = 24
LARGEST_PAGE = 60
CACHED_S = 300
MOST_CACHED_PAGES = 500
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# One hash holds the cached pages of one state of the gallery: whoever knows a newer state drops it, and whoever still
# looks at an older one neither reads nor writes it. The number of pages is bounded, because anybody may make cursors.
_READ = """
local cached = redis.call('HGET', KEYS[1], 'version') == ARGV[1] and redis.call('HGET', KEYS[1], ARGV[2])
redis.call('HINCRBY', KEYS[2], cached and 'hits' or 'misses', 1)
return cached
"""
_KEEP = """
local kept = tonumber(redis.call('HGET', KEYS[1], 'version') or '-1')
if kept > tonumber(ARGV[1]) then return 0 end
if kept < tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'version', ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[4])
end
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[5]) then return 0 end
return redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
"""


@dataclass(frozen=True)
class Print:
    """One picture in the gallery; sides in pixels, `prompt` only where its owner shows it.

    `public_address` is where a store shows a copy of it; without one our own address is the only one.
    """

    share_id: str
    mode: str
    style: str
    prompt: str | None
    width: int
    height: int
    colour: str
    created_at: datetime
    public_address: str | None


@dataclass(frozen=True)
class Wall:
    """One page of the gallery: the prints, newest first, the cursors to its neighbours, and how many there are."""

    prints: list[Print]
    older: str | None
    newer: str | None
    total: int


@dataclass(frozen=True)
class Filters:
    """What is asked for: a mode, a style, both or neither."""

    mode: str | None = None
    style: str | None = None

    def of(self, table: type[Share] | type[ShareCount]) -> list[ColumnElement[bool]]:
        """The conditions on a table that has both columns."""
        wished = ((table.mode, self.mode), (table.style, self.style))
        return [column == value for column, value in wished if value is not None]


@dataclass(frozen=True)
class Cursor:
    """A place between two pages: the page behind it (older) or before it (newer)."""

    newer: bool
    listed_at: datetime
    share: int

    @property
    def text(self) -> str:
        """The cursor as it travels: direction, microseconds since 1970, row."""
        moment = (self.listed_at - EPOCH) // timedelta(microseconds=1)
        return f"{'n' if self.newer else 'o'}{moment:x}.{self.share:x}"

    @classmethod
    def read(cls, text: str) -> Cursor:
        """The cursor of this text; raises InvalidFields."""
        try:
            moment, share = (int(part, 16) for part in text[1:].split("."))
            if text[:1] not in {"n", "o"} or not 0 <= share < 2**63 or not moment >= 0:
                raise ValueError(text)
            return cls(text[0] == "n", EPOCH + timedelta(microseconds=moment), share)
        except (ValueError, OverflowError):
            raise InvalidFields(fields=(FieldError("cursor", _("This is no place in the gallery.")),)) from None


def wall(filters: Filters, cursor: str | None = None, limit: int = PAGE) -> Wall:
    """A page of the gallery, from Redis when it was read since the last change; raises InvalidFields."""
    place = Cursor.read(cursor) if cursor else None
    with reading() as session:
        # The version first: a change that comes in between makes the page newer than its name, never older.
        version = str(session.scalar(select(func.sum(ShareCount.version))) or 0)
        name = json.dumps([filters.mode, filters.style, place and place.text, limit])
        cached = _cached(version, name)
        if cached:
            return cached
        found = _wall(session, filters, place, limit)
    _keep(version, name, found)
    return found


def _wall(session: Session, filters: Filters, place: Cursor | None, limit: int) -> Wall:
    rows = _rows(session, filters, place, limit + 1)
    if place and place.newer and len(rows) <= limit:
        place, rows = None, _rows(session, filters, None, limit + 1)  # The first page, as full as it can be.
    more, rows = len(rows) > limit, rows[:limit]
    came_back = place is not None and place.newer
    if came_back:
        rows.reverse()
    has_older, has_newer = more or came_back, place is not None and (more or not came_back)
    return Wall(
        prints=[_print(share, prompt) for share, prompt in rows],
        older=_beside(rows[-1][0], newer=False) if rows and has_older else None,
        newer=_beside(rows[0][0], newer=True) if rows and has_newer else None,
        total=int(session.scalar(select(func.sum(ShareCount.listed)).where(*filters.of(ShareCount))) or 0),
    )


def _rows(session: Session, filters: Filters, place: Cursor | None, limit: int) -> list[tuple[Share, str]]:
    """Shares with their tasks' words from a place on: towards older ones, or towards newer ones."""
    found = select(Share, ImageTask.prompt).join(ImageTask, ImageTask.id == Share.task_id).where(*filters.of(Share))
    if place is None:
        found = found.where(Share.listed_at.is_not(None))
    elif place.newer:
        # The first condition alone gives the index its range; the second one parts pictures of one microsecond.
        found = found.where(
            Share.listed_at >= place.listed_at, or_(Share.listed_at > place.listed_at, Share.id > place.share)
        )
    else:
        found = found.where(
            Share.listed_at <= place.listed_at, or_(Share.listed_at < place.listed_at, Share.id < place.share)
        )
    towards_newer = place is not None and place.newer
    order = (Share.listed_at, Share.id) if towards_newer else (Share.listed_at.desc(), Share.id.desc())
    return [(share, prompt) for share, prompt in session.execute(found.order_by(*order).limit(limit))]


def _print(share: Share, prompt: str) -> Print:
    return Print(
        share_id=share.public_id,
        mode=share.mode,
        style=share.style,
        prompt=prompt if share.show_prompt and prompt else None,
        width=share.width,
        height=share.height,
        colour=share.colour,
        created_at=share.created_at,
        public_address=_address_of_copy(share),
    )


def _address_of_copy(share: Share) -> str | None:
    if share.copy_store is None or share.copy_key is None:
        return None
    copy = StoredFile(share.copy_store, share.copy_key)
    try:
        return stores().of(copy).public_address(copy.key)
    except StoreError:
        return None  # The store was taken out of the settings.


def _beside(share: Share, *, newer: bool) -> str:
    assert share.listed_at is not None  # It hangs in the gallery.
    return Cursor(newer, share.listed_at, share.id).text


# --- What hangs, and how many ---


@contextmanager
def counted(session: Session, share: Share) -> Iterator[None]:
    """Change a share within a transaction that holds its lock; afterwards listing, attention, copy and counts fit."""
    was_live, was_listed = share.id is not None and share.is_open, share.listed_at is not None
    yield
    share.listed_at = share.approved_at if share.in_gallery and share.is_open else None
    session.add(share)
    session.flush()
    _set_attention(session, share)
    is_live, is_listed = share.is_open, share.listed_at is not None
    if not is_listed and share.copy_store and share.copy_key:
        files.discard(session, StoredFile(share.copy_store, share.copy_key))
        share.copy_store = share.copy_key = None
    _count(session, share, is_live - was_live, is_listed - was_listed, changes=was_listed or is_listed)


def _set_attention(session: Session, share: Share) -> None:
    reported = select(ShareReport.id).where(ShareReport.share_id == share.id, ShareReport.handled_at.is_(None)).limit(1)
    wanted = share.awaits_approval or (share.is_open and session.scalar(reported) is not None)
    share.attention_at = (share.attention_at or runtime().clock.now()) if wanted else None


def _count(session: Session, share: Share, live: int, listed: int, *, changes: bool) -> None:
    key = {"mode": share.mode, "style": share.style}
    empty = key | {"live": 0, "listed": 0, "version": 0}
    if session.get_bind().dialect.name == "sqlite":
        session.execute(insert(ShareCount).prefix_with("OR IGNORE").values(**empty))
    else:
        session.execute(mysql.insert(ShareCount).values(**empty).on_duplicate_key_update(live=ShareCount.live))
    session.execute(
        update(ShareCount)
        .where(ShareCount.mode == share.mode, ShareCount.style == share.style)
        .values(
            live=ShareCount.live + live,
            listed=ShareCount.listed + listed,
            version=ShareCount.version + int(changes),
        )
    )


def counts() -> dict[str, int]:
    """How many shares are open, hang in the gallery, wait for an operator, and are hidden."""
    with reading() as session:
        live, listed = session.execute(
            select(func.coalesce(func.sum(ShareCount.live), 0), func.coalesce(func.sum(ShareCount.listed), 0))
        ).one()
        # Both columns are empty for nearly every row, and an index knows the others.
        waiting = session.scalar(select(func.count()).where(Share.attention_at.is_not(None)))
        hidden = session.scalar(select(func.count()).where(Share.hidden_at.is_not(None), Share.revoked_at.is_(None)))
    return {"live": int(live), "listed": int(listed), "waiting": waiting or 0, "hidden": hidden or 0}


# --- The cache ---


def _cached(version: str, name: str) -> Wall | None:
    try:
        text = runtime().redis.eval(_READ, 2, _key("gallery"), _key("share-counts"), version, name)
    except RedisError:
        return None
    if not text:
        return None
    kept = json.loads(cast(bytes, text))
    prints = [Print(**{**item, "created_at": datetime.fromisoformat(item["created_at"])}) for item in kept["prints"]]
    return Wall(prints, kept["older"], kept["newer"], kept["total"])


def _keep(version: str, name: str, found: Wall) -> None:
    text = json.dumps(asdict(found), default=_as_text)
    try:
        runtime().redis.eval(_KEEP, 1, _key("gallery"), version, name, text, str(CACHED_S), str(MOST_CACHED_PAGES))
    except RedisError:
        log.debug("Redis is away, a page of the gallery is not kept")


def _as_text(value: Any) -> str:
    assert isinstance(value, datetime)  # Everything else in a page is plain.
    return value.isoformat()


def count_duplicate() -> None:
    """Remember that a share was asked for twice at once."""
    try:
        runtime().redis.hincrby(_key("share-counts"), "duplicates", 1)
    except RedisError:
        log.debug("Redis is away, a prevented duplicate is not counted")


def cache_counts() -> dict[str, int]:
    """How often a page was in the cache, how often not, and how many duplicates were prevented, since Redis began."""
    try:
        kept = cast("dict[bytes, bytes]", runtime().redis.hgetall(_key("share-counts")))
    except RedisError:
        kept = {}
    return {name: int(kept.get(name.encode(), 0)) for name in ("hits", "misses", "duplicates")}


def _key(name: str) -> str:
    return f"{runtime().settings.queue_prefix}:{name}"
