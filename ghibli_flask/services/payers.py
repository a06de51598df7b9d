"""Who pays for a task: a guest with free tries, or a user with credits. Called by `services.tasks` alone.

The row of a task remembers its payer in words, `guest:…`, `address:…` or `user:…`; the payer of a task never
changes, also when a guest signs in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import allowances, credits
from ghibli_flask.services.allowances import Guest

USER = "user:"
GUEST = "guest:"


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


@dataclass(frozen=True)
class Outside:
    """A program that orders by /process and names no user: it owns nothing and pays nothing."""

    owner: None = None
    payer: str = "processor"


@dataclass(frozen=True)
class OnTheHouse:
    """An operator has the order `of` painted again: whoever owned that one owns this one, and nobody pays."""

    owner: str | None
    of: int
    payer: str = "operator"


Payer = Guest | Member | Outside | OnTheHouse


def owns(payer: Payer, task: ImageTask) -> bool:
    """Whether this payer may cancel, repeat, share and delete the task; one without owner opens to who holds its id."""
    return task.owner is None or task.owner == payer.owner


def kept_for(owner: str | None) -> timedelta:
    """How long a finished picture of this owner is kept unless it is shared."""
    settings = runtime().settings
    is_users = owner is not None and owner.startswith(USER)
    return timedelta(days=settings.result_ttl_days if is_users else settings.guest_result_ttl_days)


def lock(session: Session, payer: Payer, day: date) -> None:
    """Lock the payer for the rest of the transaction: two orders of one payer decide one after the other."""
    if isinstance(payer, Member):
        credits.lock(session, payer.user_id)
    elif isinstance(payer, Guest):
        allowances.lock(session, payer, day)
    elif isinstance(payer, OnTheHouse):
        session.execute(select(ImageTask.id).where(ImageTask.id == payer.of).with_for_update())


def charge(session: Session, payer: Payer, task: ImageTask) -> None:
    """Take the price of a picture; raises NoCredits from a user and SignInRequired from a guest.

    A program may have posted the charge of its own task before: then that is the charge (raises Conflict when it
    was another user's, or was given back).
    """
    if isinstance(payer, Member):
        if task.alias is None or not credits.has_charged(session, payer.user_id, task.alias):
            credits.charge(session, payer.user_id, task.known_as)
    elif isinstance(payer, Guest):
        allowances.take(session, payer, task.paid_on)


def price(payer: Payer) -> int:
    """What one picture costs this payer, in pictures: 1, or 0 for who pays nothing."""
    return 0 if isinstance(payer, Outside | OnTheHouse) else 1


def lock_of_task(session: Session, task: ImageTask) -> None:
    """Lock whoever paid for a task, before the task's row is touched."""
    if task.payer.startswith(USER):
        credits.lock(session, task.payer.removeprefix(USER))
    else:
        subjects = allowances.subjects_of(task.payer, task.address_subject)
        allowances.lock_subjects(session, subjects, task.paid_on)


def lock_of_tasks(session: Session, tasks: Sequence[ImageTask]) -> None:
    """Lock whoever paid for these tasks: users, then browsers, then addresses, as an order of one payer does."""
    credits.lock_many(session, {task.payer.removeprefix(USER) for task in tasks if task.payer.startswith(USER)})
    guests = [task for task in tasks if not task.payer.startswith(USER)]
    for is_address in (False, True):
        counts = {
            (subject, task.paid_on)
            for task in guests
            for subject in allowances.subjects_of(task.payer, task.address_subject)
            if (subject == task.address_subject) is is_address
        }
        allowances.lock_many(session, counts)


def refund_tasks(session: Session, tasks: Sequence[ImageTask]) -> None:
    """Give the prices of these tasks back to whoever paid for them."""
    users = [(task.payer.removeprefix(USER), task.known_as) for task in tasks if task.payer.startswith(USER)]
    credits.refund_many(session, users)
    guests = [task for task in tasks if not task.payer.startswith(USER)]
    counts = Counter(
        (subject, task.paid_on)
        for task in guests
        for subject in allowances.subjects_of(task.payer, task.address_subject)
    )
    allowances.give_back_many(session, counts)


def refund(session: Session, task: ImageTask) -> None:
    """Give the price of a task back to whoever paid for it."""
    if task.payer.startswith(USER):
        credits.refund(session, task.payer.removeprefix(USER), task.known_as)
    else:
        subjects = allowances.subjects_of(task.payer, task.address_subject)
        allowances.give_back(session, subjects, task.paid_on)


def pictures_left(payer: Payer) -> int:
    """How many pictures this payer can order now; who pays nothing can always order one more."""
    if isinstance(payer, Outside | OnTheHouse):
        return 1
    if isinstance(payer, Member):
        return credits.balance_of(payer.user_id).credits // credits.PICTURE_COSTS
    return allowances.tries_of(payer).left


def address_subject(payer: Payer) -> str | None:
    """The address that was counted for this payer; only a guest's address is counted."""
    return payer.address if isinstance(payer, Guest) else None
