"""An owner's own pictures, newest first: read page by page, and deleted one by one or all. Called by the front doors.

A page is read in two steps. The first finds the rows' numbers, and the index on the history answers it alone, filters
included, so that a rare kind of picture among 100,000 is found without reading their rows; the second reads one page.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from ghibli_flask import status
from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import FieldError, InvalidFields, NotFound, _
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import pictures, retention, tasks, tombstones, wishes
from ghibli_flask.services.files import Leftover
from ghibli_flask.services.payers import Payer
from ghibli_flask.services.retention import Keeping
from ghibli_flask.services.wishes import WishView
from ghibli_flask.task_states import Outcome, TaskState

PAGE = 24
LARGEST_PAGE = 100
MOST_CHOSEN = 50
"""So many pictures can be chosen at once, to be downloaded or deleted."""
MOST_DELETED = 2000
"""So many pictures go in one request that deletes them all; the page offers to go on."""
BATCH = 100


class Kind(StrEnum):
    """What became of an order, as an owner sorts them."""

    PAINTED = "painted"
    UNFINISHED = "unfinished"
    NOT_PAINTED = "not-painted"


_OF_KIND: dict[Kind, ColumnElement[bool]] = {
    Kind.PAINTED: ImageTask.outcome == Outcome.PAINTED.value,
    Kind.UNFINISHED: ImageTask.outcome.is_(None),
    Kind.NOT_PAINTED: ImageTask.outcome.in_(
        [Outcome.ORIGINAL.value, Outcome.FAILED.value, Outcome.CANCELLED.value],
    ),
}


@dataclass(frozen=True)
class Filters:
    """What is asked for; None and False leave a point open."""

    kind: Kind | None = None
    mode: str | None = None
    style: str | None = None
    shared: bool = False

    @property
    def are_set(self) -> bool:
        """Whether anything is left out."""
        return self != Filters()

    def conditions(self) -> list[ColumnElement[bool]]:
        """The conditions on the rows."""
        found = [_OF_KIND[self.kind]] if self.kind else []
        wished = ((ImageTask.mode, self.mode), (ImageTask.style, self.style))
        found += [column == value for column, value in wished if value is not None]
        return [*found, ImageTask.is_shared == 1] if self.shared else found


@dataclass(frozen=True)
class Cursor:
    """A place between two pages: the page behind it (older) or before it (newer)."""

    newer: bool
    row: int

    @property
    def text(self) -> str:
        """The cursor as it travels: direction and row."""
        return f"{'n' if self.newer else 'o'}{self.row:x}"

    @classmethod
    def read(cls, text: str) -> Cursor:
        """The cursor of this text; raises InvalidFields."""
        try:
            row = int(text[1:], 16)
            if text[:1] not in {"n", "o"} or not 0 <= row < 2**63:
                raise ValueError(text)
            return cls(text[0] == "n", row)
        except ValueError:
            raise InvalidFields(fields=(FieldError("cursor", _("This is no place in your pictures.")),)) from None


@dataclass(frozen=True)
class Entry:
    """One order as its owner finds it again. Sides are the picture's in pixels, where they are known."""

    public_id: str
    state: TaskState
    outcome: Outcome | None
    mode: str
    style: str
    prompt: str
    progress: int
    width: int | None
    height: int | None
    has_picture: bool
    is_shared: bool
    refunded: bool
    note: str | None
    error_code: str | None
    created_at: datetime
    finished_at: datetime | None
    keeping: Keeping | None
    wish: WishView | None

    @property
    def is_painted(self) -> bool:
        """Whether there is a painting."""
        return self.outcome is Outcome.PAINTED and self.has_picture


@dataclass(frozen=True)
class Page:
    """One page: the entries, newest first, and the cursors to its neighbours."""

    entries: list[Entry]
    older: str | None
    newer: str | None


def page(payer: Payer, filters: Filters, cursor: str | None = None, limit: int = PAGE) -> Page:
    """A page of what this payer owns; empty for a caller without a cookie, who owns nothing. Raises InvalidFields."""
    place = Cursor.read(cursor) if cursor else None
    if payer.owner is None:
        return Page([], None, None)
    with reading() as session:
        ids = _ids(session, payer.owner, filters, place, limit + 1)
        if place and place.newer and len(ids) <= limit:
            place = None  # The first page, as full as it can be.
            ids = _ids(session, payer.owner, filters, None, limit + 1)
        more, ids = len(ids) > limit, ids[:limit]
        came_back = place is not None and place.newer
        if came_back:
            ids.reverse()
        rows = _rows(session, ids)
    has_older, has_newer = more or came_back, place is not None and (more or not came_back)
    return Page(
        _entries(rows),
        older=Cursor(False, ids[-1]).text if ids and has_older else None,
        newer=Cursor(True, ids[0]).text if ids and has_newer else None,
    )


def chosen(payer: Payer, public_ids: Sequence[str]) -> list[Entry]:
    """These pictures of the payer's own, newest first.

    Raises NotFound when one is not there or somebody else's, and InvalidFields for none or more than fifty.
    """
    mine = _owned(payer, public_ids)
    if len(mine) != len(set(public_ids)):
        raise NotFound
    return _entries(mine)


def _owned(payer: Payer, public_ids: Sequence[str]) -> list[ImageTask]:
    """The rows of the payer's own among these, newest first; a caller without a cookie owns none."""
    if not 0 < len(set(public_ids)) <= MOST_CHOSEN:
        raise InvalidFields(fields=(FieldError("task", _("Please choose one to fifty pictures.")),))
    if payer.owner is None:
        return []
    mine = select(ImageTask).where(
        ImageTask.public_id.in_(public_ids), ImageTask.owner == payer.owner, ImageTask.deleted_at.is_(None)
    )
    with reading() as session:
        return list(session.scalars(mine.order_by(ImageTask.id.desc())))


def count(payer: Payer) -> int:
    """How many orders this payer finds in the history."""
    if payer.owner is None:
        return 0
    with reading() as session:
        return session.scalar(_mine(payer.owner, Filters()).with_only_columns(func.count())) or 0


def leftovers_of(public_ids: Sequence[str], payer: Payer) -> list[Leftover]:
    """What stays for a while when these pictures are deleted, because their store cannot delete."""
    found = [pictures.leftover_of(tasks.owned(public_id, payer)) for public_id in public_ids]
    return [leftover for leftover in found if leftover]


def remove(public_ids: Sequence[str], payer: Payer) -> int:
    """Delete those of these pictures that are the payer's own and still there; returns how many.

    Raises NotFound when there is none, and InvalidFields for none or more than fifty.
    """
    mine = _owned(payer, public_ids)
    if not mine:
        raise NotFound
    for task in mine:
        with suppress(NotFound):  # Deleted from another page meanwhile.
            tasks.remove(task.public_id, payer)
    return len(mine)


def remove_all(payer: Payer, most: int = MOST_DELETED) -> int:
    """Delete all that this payer owns, live orders cancelled first, at most so many; returns how many are left."""
    if payer.owner is None:
        return 0
    for live in _first(payer.owner, Filters(kind=Kind.UNFINISHED), most):
        with suppress(NotFound):
            tasks.remove(live.public_id, payer)
    for begin in range(0, most, BATCH):
        batch = _first(payer.owner, Filters(), min(BATCH, most - begin))
        ended = [task.id for task in batch if task.state.is_terminal]
        if not ended:
            break
        transaction(partial(_bury, ended))
        for task in batch:
            status.bury(task.known_as)
    return count(payer)


def _bury(task_ids: Sequence[int], session: Session) -> None:
    tombstones.bury(session, task_ids)


def _first(owner: str, filters: Filters, limit: int) -> list[ImageTask]:
    """The newest rows of an owner."""
    with reading() as session:
        return _rows(session, _ids(session, owner, filters, None, limit))


# --- Reading ---


def _mine(owner: str, filters: Filters) -> Select[int]:
    return select(ImageTask.id).where(ImageTask.owner == owner, ImageTask.deleted_at.is_(None), *filters.conditions())


def ids_of(owner: str, filters: Filters, place: Cursor | None, limit: int) -> Select[int]:
    """The question for the numbers of rows from a place on: towards older ones, or towards newer ones."""
    found = _mine(owner, filters)
    if place:
        found = found.where(ImageTask.id > place.row if place.newer else ImageTask.id < place.row)
    towards_newer = place is not None and place.newer
    return found.order_by(ImageTask.id if towards_newer else ImageTask.id.desc()).limit(limit)


def _ids(session: Session, owner: str, filters: Filters, place: Cursor | None, limit: int) -> list[int]:
    return list(session.scalars(ids_of(owner, filters, place, limit)))


def _rows(session: Session, ids: Sequence[int]) -> list[ImageTask]:
    """These rows, newest first."""
    return list(session.scalars(select(ImageTask).where(ImageTask.id.in_(ids)).order_by(ImageTask.id.desc())))


def _entries(rows: Sequence[ImageTask]) -> list[Entry]:
    made = wishes.views_of([task.id for task in rows])
    return [_entry(task, made.get(task.id)) for task in rows]


def _entry(task: ImageTask, wish: WishView | None) -> Entry:
    return Entry(
        public_id=task.public_id,
        state=task.state,
        outcome=Outcome(task.outcome) if task.outcome else None,
        mode=task.mode,
        style=task.style,
        prompt=task.prompt,
        progress=round(task.progress),
        width=task.result_width,
        height=task.result_height,
        has_picture=task.result_key is not None,
        is_shared=bool(task.is_shared),
        refunded=bool(task.refunded),
        note=task.note,
        error_code=task.error_code,
        created_at=task.created_at,
        finished_at=task.finished_at,
        keeping=retention.keeping_of(task),
        wish=wish,
    )
