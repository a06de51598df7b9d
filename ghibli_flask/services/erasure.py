"""Deleting an account with all that belongs to it. Called by the account page.

Live orders are cancelled, every picture goes through the file table, rows of orders stay as empty tombstones for late
workers, and the ledger keeps anonymous sums. The last transaction holds the payer's lock, the same that every order
takes first, so that no order slips in; if one did before, the round begins again. A crash on the way leaves an
account with fewer pictures, and asking again goes on from there.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import Blocked, NotFound
from ghibli_flask.models.audit import AuditEntry
from ghibli_flask.models.export import Export
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.upload import Upload
from ghibli_flask.models.user import User, UserProfile
from ghibli_flask.services import accounts, credits, exports, pictures, retention, sessions, tasks
from ghibli_flask.services.files import Leftover
from ghibli_flask.services.payers import Member

log = logging.getLogger(__name__)

BATCH = 100


def erase(member: Member) -> list[Leftover]:
    """Delete the account of this user, who has just proved to be its owner; tells what stays until it expires.

    Raises NotFound when there is none any more, and Blocked for a blocked account, which would come back unblocked:
    its owner asks the operator instead.
    """
    if accounts.find(member.user_id).profile.blocked_at:
        raise Blocked
    stranger = f"erased-{secrets.token_hex(16)}"
    leftovers = _remove_orders(member)
    while not transaction(partial(_drop_account, member.user_id, stranger)):
        leftovers += _remove_orders(member)
    log.info("An account was deleted; its entries stand under %s.", stranger)
    return leftovers


def _remove_orders(member: Member) -> list[Leftover]:
    """Cancel what is live, and let go of every picture and of the export; tells what stays until it expires."""
    exports.drop(member.user_id)
    leftovers: list[Leftover] = []
    while batch := _orders_of(member.user_id):
        for task in batch:
            leftovers += filter(None, [pictures.leftover_of(task)])
            with suppress(NotFound):  # Deleted from another page meanwhile.
                tasks.remove(task.public_id, member)
    return leftovers


def _orders_of(user_id: str) -> list[ImageTask]:
    mine = select(ImageTask).where(_belongs_to(user_id), ImageTask.deleted_at.is_(None))
    with reading() as session:
        return list(session.scalars(mine.order_by(ImageTask.id).limit(BATCH)))


def _drop_account(user_id: str, stranger: str, session: Session) -> bool:
    """The rows in one transaction; False when an order or export came in before the payer's lock was taken."""
    user = session.scalar(select(User).where(User.id == user_id).with_for_update())
    if user is None:
        return True  # Asked for twice at once.
    live_order = select(ImageTask.id).where(_belongs_to(user_id), ImageTask.deleted_at.is_(None)).limit(1)
    if session.scalar(live_order) is not None or session.get(Export, user_id) is not None:
        return False
    retention.drop_uploads(session, or_(Upload.owner == f"user:{user_id}", Upload.payer == f"user:{user_id}"))
    credits.make_anonymous(session, user, session.get_one(UserProfile, user_id).email_key, stranger)
    for statement in _anonymous_rows(user_id, stranger):
        session.execute(statement.execution_options(synchronize_session=False))
    sessions.end_all_within(session, user_id)
    session.execute(delete(UserProfile).where(UserProfile.user_id == user_id))
    session.execute(delete(User).where(User.id == user_id))
    return True


def _belongs_to(user_id: str) -> ColumnElement[bool]:
    """Orders that this user owns, and those that the user paid for."""
    return or_(ImageTask.owner == f"user:{user_id}", ImageTask.payer == f"user:{user_id}")


def _anonymous_rows(user_id: str, stranger: str) -> list[Any]:
    """The tombstones and the audit log with the id that leads nowhere in place of the user's."""
    mine, nobody = f"user:{user_id}", f"user:{stranger}"
    return [
        # The fingerprint is made from the photograph.
        update(ImageTask).where(_belongs_to(user_id)).values(fingerprint=""),
        update(ImageTask).where(ImageTask.owner == mine).values(owner=nobody),
        update(ImageTask).where(ImageTask.payer == mine).values(payer=nobody),
        update(AuditEntry).where(AuditEntry.actor == user_id).values(actor=stranger),
        update(AuditEntry).where(AuditEntry.subject == user_id).values(subject=stranger),
    ]
