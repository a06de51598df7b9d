"""Who pays for a task: a guest with free tries, or a user with credits. Called by `services.tasks` alone.

The row of a task remembers its payer in words, `guest:…`, `address:…` or `user:…`; the payer of a task never
changes, also when a guest signs in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy.orm import Session

from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import allowances, credits
from ghibli_flask.services.allowances import Guest

USER = "user:"


@dataclass(frozen=True)
class Member:
    """A signed-in user, and the browser and address that the request came from."""

    user_id: str
    guest: Guest
    is_blocked: bool = False

    @property
    def owner(self) -> str:
        """Who owns what this user orders."""
        return USER + self.user_id

    @property
    def payer(self) -> str:
        """Who pays."""
        return USER + self.user_id


Payer = Guest | Member


def lock(session: Session, payer: Payer, day: date) -> None:
    """Lock the payer for the rest of the transaction: two orders of one payer decide one after the other."""
    if isinstance(payer, Member):
        credits.lock(session, payer.user_id)
    else:
        allowances.lock(session, payer, day)


def charge(session: Session, payer: Payer, task_id: str, day: date) -> None:
    """Take the price of a picture; raises NoCredits from a user and SignInRequired from a guest."""
    if isinstance(payer, Member):
        credits.charge(session, payer.user_id, task_id)
    else:
        allowances.take(session, payer, day)


def lock_of_task(session: Session, task: ImageTask) -> None:
    """Lock whoever paid for a task, before the task's row is touched."""
    if task.payer.startswith(USER):
        credits.lock(session, task.payer.removeprefix(USER))
    else:
        subjects = allowances.subjects_of(task.payer, task.address_subject)
        allowances.lock_subjects(session, subjects, task.paid_on)


def refund(session: Session, task: ImageTask) -> None:
    """Give the price of a task back to whoever paid for it."""
    if task.payer.startswith(USER):
        credits.refund(session, task.payer.removeprefix(USER), task.public_id)
    else:
        subjects = allowances.subjects_of(task.payer, task.address_subject)
        allowances.give_back(session, subjects, task.paid_on)


def pictures_left(payer: Payer) -> int:
    """How many pictures this payer can order now."""
    if isinstance(payer, Member):
        return credits.balance_of(payer.user_id).credits // credits.PICTURE_COSTS
    return allowances.tries_of(payer).left


def address_subject(payer: Payer) -> str | None:
    """The address that was counted for this payer; a user's address is not counted."""
    return None if isinstance(payer, Member) else payer.address
