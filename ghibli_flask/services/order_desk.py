"""What operators do with orders: find them, fail them, have them painted again, give their price back.

Called by the administrators' pages and the operator's calls. Every action is entered in the audit log within its own
transaction, so that there is none without its entry, and raises WrongState where it was done before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.errors import NotFound, WrongState, _
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import files, order_counts, payers, progress, tasks
from ghibli_flask.services.administration import note
from ghibli_flask.services.orders import hash_of
from ghibli_flask.services.payers import GUEST, USER, OnTheHouse
from ghibli_flask.services.tasks import Ending
from ghibli_flask.storage import StoredFile
from ghibli_flask.task_states import Outcome, TaskState

PAGE = 50
LARGEST_PAGE = 200
SCANNED = 20_000
"""One page looks at so many orders at most, whatever is asked for: no index serves every filter."""
SHORTEST_ID = 4
STOPPED = "stopped"

HAS_NOT_ENDED = _("This order has not ended yet.")
HAS_ENDED = _("This order has ended already.")
WAS_REPEATED = _("This order was painted again already.")
NOTHING_TO_GIVE_BACK = _("There is nothing to give back: the order was free, or its price was given back already.")


class OwnerKind(StrEnum):
    """Who has an order: an account, a guest's browser, or nobody (a program without a cookie)."""

    USER = "user"
    GUEST = "guest"
    NOBODY = "nobody"


_OF_KIND: dict[OwnerKind, ColumnElement[bool]] = {
    OwnerKind.USER: ImageTask.owner.startswith(USER),
    OwnerKind.GUEST: ImageTask.owner.startswith(GUEST),
    OwnerKind.NOBODY: ImageTask.owner.is_(None),
}


@dataclass(frozen=True)
class Filters:
    """Which orders are looked for; None leaves a point open. `reason` is the code of a failure."""

    state: TaskState | None = None
    engine: str | None = None
    style: str | None = None
    owner: OwnerKind | None = None
    reason: str | None = None
    since: datetime | None = None
    user_id: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The conditions on the rows."""
        wished = (
            (ImageTask.status, self.state),
            (ImageTask.engine, self.engine),
            (ImageTask.style, self.style),
            (ImageTask.error_code, self.reason),
            (ImageTask.owner, USER + self.user_id if self.user_id else None),
        )
        found = [column == value for column, value in wished if value is not None]
        if self.owner:
            found.append(_OF_KIND[self.owner])
        return [*found, ImageTask.created_at >= self.since] if self.since else found


@dataclass(frozen=True)
class Page:
    """Orders, newest first. `older` is where to go on; `looked_back_to` is set when the look ended before the page
    was full, and says how far it went."""

    tasks: list[ImageTask]
    older: int | None
    looked_back_to: datetime | None


def page(filters: Filters, before: int | None = None, limit: int = PAGE) -> Page:
    """The newest orders that fit, from before this row number."""
    found = select(ImageTask).where(*filters.conditions()).order_by(ImageTask.id.desc()).limit(limit + 1)
    with reading() as session:
        upper = (session.scalar(select(func.max(ImageTask.id))) or 0) + 1 if before is None else before
        # What one user has is found by the index on the owner; everything else by walking the newest rows.
        lowest = 0 if filters.user_id else max(0, upper - SCANNED)
        rows = list(session.scalars(found.where(ImageTask.id < upper, ImageTask.id >= lowest)))
        if len(rows) > limit:
            return Page(rows[:limit], rows[limit - 1].id, None)
        further = session.scalar(
            select(ImageTask.created_at).where(ImageTask.id < lowest).order_by(ImageTask.id.desc()).limit(1)
        )
    if further is None or (filters.since and further < filters.since):
        return Page(rows, None, None)
    return Page(rows, lowest, further)


def by_id(words: str) -> list[ImageTask]:
    """The orders whose id begins so (four characters at least), or that a program calls exactly so: at most a page."""
    if len(words) < SHORTEST_ID:
        return []
    ours = select(ImageTask).where(ImageTask.public_id.startswith(words, autoescape=True)).limit(PAGE)
    with reading() as session:
        called = session.scalars(select(ImageTask).where(ImageTask.alias == words)).all()
        return [*called, *session.scalars(ours)]


def find(public_id: str) -> ImageTask:
    """One order, deleted or not, by our id; raises NotFound."""
    with reading() as session:
        task = session.scalar(select(ImageTask).where(ImageTask.public_id == public_id))
    if task is None:
        raise NotFound
    return task


def tries_of(task: ImageTask) -> tuple[ImageTask | None, ImageTask | None]:
    """The order that this one repeats, and the one that an operator had painted for it."""
    with reading() as session:
        before = session.get(ImageTask, task.retry_of) if task.retry_of else None
        return before, _repeat(session, task)


def may_fail(task: ImageTask) -> bool:
    """Whether the order is still under way."""
    return not task.state.is_terminal


def may_refund(task: ImageTask) -> bool:
    """Whether there is a price that has not been given back."""
    return task.state.is_terminal and bool(task.charged) and not task.refunded


def may_retry(task: ImageTask) -> bool:
    """Whether the order has ended and its photograph is still kept, if it had one."""
    has_what_it_needs = task.mode == "text-to-image" or task.source_key is not None
    return task.state.is_terminal and task.deleted_at is None and has_what_it_needs


def fail(actor: str, public_id: str) -> ImageTask:
    """End an order that is under way as failed, and give its price back. Raises NotFound and WrongState."""
    while True:
        task = find(public_id)
        if not may_fail(task):
            raise WrongState(HAS_ENDED)
        ended = transaction(partial(_fail, actor, task))
        if ended:
            tasks.tell_ended(ended)
            return ended


def _fail(actor: str, task: ImageTask, session: Session) -> ImageTask | None:
    ended = tasks.end_within(task, Ending(Outcome.FAILED, error_code=STOPPED), session)
    if ended:
        note(session, actor, "fail-order", task.public_id, {"was": task.status, "refunded": bool(ended.refunded)})
    return ended


def refund(actor: str, public_id: str) -> ImageTask:
    """Give the price of an ended order back, painted or not, once. Raises NotFound and WrongState."""
    task = find(public_id)
    if not task.state.is_terminal:
        raise WrongState(HAS_NOT_ENDED)
    task = transaction(partial(_refund, actor, task))
    order_counts.refunded(task)
    progress.publish(task)
    return task


def _refund(actor: str, task: ImageTask, session: Session) -> ImageTask:
    payers.lock_of_task(session, task)
    unpaid = update(ImageTask).where(ImageTask.id == task.id, ImageTask.charged > 0, ImageTask.refunded == 0)
    if not changed(session, unpaid.values(refunded=1)):
        raise WrongState(NOTHING_TO_GIVE_BACK)
    payers.refund(session, task)
    note(session, actor, "refund-order", task.public_id, {"outcome": task.outcome})
    return session.get_one(ImageTask, task.id, populate_existing=True)


def retry(actor: str, public_id: str) -> ImageTask:
    """Have an ended order painted again for its owner, free of charge and once; gives the new order.

    Raises NotFound, also for a deleted order, WrongState, SourceGone, and what `tasks.submit` raises.
    """
    task = progress.look_up(public_id)
    if not task.state.is_terminal:
        raise WrongState(HAS_NOT_ENDED)
    with reading() as session:
        if _repeat(session, task):
            raise WrongState(WAS_REPEATED)
    order = replace(tasks.order_again(task), idempotency_key=task.public_id)

    def also(session: Session, new: ImageTask) -> None:
        note(session, actor, "retry-order", task.public_id, {"new": new.public_id})

    submission = tasks.submit(order, OnTheHouse(task.owner, task.id), also)
    if submission.duplicate:
        raise WrongState(WAS_REPEATED)
    return submission.task


def _repeat(session: Session, task: ImageTask) -> ImageTask | None:
    """What an operator had painted for this order, also when its key is no longer remembered for others."""
    paid_by = OnTheHouse(task.owner, task.id).payer
    mine = select(ImageTask).where(ImageTask.payer == paid_by, ImageTask.idempotency_key == hash_of(task.public_id))
    return session.scalar(mine.limit(1))


class Sheet(StrEnum):
    """What of an order can be looked at."""

    PAINTING = "painting"
    PHOTO = "photo"


def look_at(actor: str, public_id: str, sheet: Sheet) -> tuple[StoredFile, bytes]:
    """A picture of a visitor's, for somebody who has a reason to look; raises NotFound when it is not kept."""
    task = find(public_id)
    store, key = (
        (task.result_store, task.result_key) if sheet is Sheet.PAINTING else (task.source_store, task.source_key)
    )
    if task.deleted_at or not store or not key:
        raise NotFound
    transaction(lambda session: note(session, actor, f"look-at-{sheet.value}", public_id, {}))
    file = StoredFile(store, key)
    return file, files.read(file)
