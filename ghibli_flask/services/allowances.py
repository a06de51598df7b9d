"""The free tries of guests: taken within the order's transaction, given back within the one that ends it.

A guest is counted twice: by the browser's cookie and by the address. The address only counts; it never owns
anything. Kept in the database, so that a lost Redis neither forgets nor locks. Called by `services.tasks`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial

from sqlalchemy import Delete, Integer, bindparam, case, delete, insert, select, update
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Session

from ghibli_flask.clock import start_of_next_day
from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.errors import SignInRequired, SiteLimit
from ghibli_flask.extensions import runtime
from ghibli_flask.models.allowance import Allowance

SITE = "site"
"""The subject under which a day's orders of the whole site are counted; every other subject is a hash."""


KEPT = timedelta(days=7)
"""A day's counts are needed until its last order has ended, and a while for those who ask."""

DROPPED_AT_ONCE = 1000


@dataclass(frozen=True)
class Guest:
    """A visitor without an account: the subject of the browser's cookie, if it has one, and of the address."""

    browser: str | None
    address: str

    @property
    def owner(self) -> str | None:
        """Who owns what this guest orders; nobody without a cookie."""
        return f"guest:{self.browser}" if self.browser else None

    @property
    def payer(self) -> str:
        """Who pays: the browser, or the address alone when there is no cookie."""
        return f"guest:{self.browser}" if self.browser else f"address:{self.address}"


@dataclass(frozen=True)
class Tries:
    """What is left of a guest's free tries today, and when they renew."""

    limit: int
    left: int
    renews_at: datetime


def guest_of(browser_id: str | None, address: str) -> Guest:
    """The guest with this cookie value and this address; neither is stored as it is."""
    browser = hashlib.sha256(browser_id.encode()).hexdigest() if browser_id else None
    key = runtime().settings.signing_keys[0].encode()
    counted = hmac.new(key, _network(address).encode(), hashlib.sha256).hexdigest()
    return Guest(browser, counted)


def tries_of(guest: Guest) -> Tries:
    """The tries left today, by whichever of the two counts is nearer its end."""
    now = runtime().clock.now()
    with reading() as session:
        left = _left(session, guest, now.date())
    settings = runtime().settings
    limit = settings.guest_daily_limit if guest.browser else settings.guest_daily_limit_per_address
    return Tries(limit, max(0, left), start_of_next_day(now))


def lock(session: Session, guest: Guest, day: date) -> None:
    """Lock the payer for the rest of the transaction: two orders of one payer decide one after the other."""
    for subject in _subjects(guest):
        _make_row(session, subject, day)
    payer = guest.browser or guest.address
    session.execute(
        select(Allowance.used).where(Allowance.subject == payer, Allowance.day == day).with_for_update()
    ).one()


def lock_subjects(session: Session, subjects: tuple[str, ...], day: date) -> None:
    """Lock the counts that a refund will change, before the task's row is touched."""
    for subject in subjects:
        session.execute(
            select(Allowance.used).where(Allowance.subject == subject, Allowance.day == day).with_for_update()
        )


def take(session: Session, guest: Guest, day: date) -> None:
    """Take one try from both counts; raises SignInRequired when either is used up."""
    for subject, limit in _limits(guest):
        taken = changed(
            session,
            update(Allowance)
            .where(Allowance.subject == subject, Allowance.day == day, Allowance.used < limit)
            .values(used=Allowance.used + 1),
        )
        if not taken:
            raise SignInRequired


def take_for_site(session: Session, limit: int, day: date) -> None:
    """Count an order of the whole site; raises SiteLimit when the day's orders are used up.

    Called last in the order's transaction: every order of the day waits for this one row.
    """
    _make_row(session, SITE, day)
    taken = changed(
        session,
        update(Allowance)
        .where(Allowance.subject == SITE, Allowance.day == day, Allowance.used < limit)
        .values(used=Allowance.used + 1),
    )
    if not taken:
        tomorrow = start_of_next_day(runtime().clock.now())
        raise SiteLimit(retry_after=max(1, round((tomorrow - runtime().clock.now()).total_seconds())))


def give_back(session: Session, subjects: tuple[str, ...], day: date) -> None:
    """Return one try to each of these subjects' counts of the day on which it was taken."""
    for subject in subjects:
        session.execute(
            update(Allowance)
            .where(Allowance.subject == subject, Allowance.day == day, Allowance.used > 0)
            .values(used=Allowance.used - 1)
        )


def lock_many(session: Session, counts: Collection[tuple[str, date]]) -> None:
    """Lock the counts, as (subject, day), that refunds will change; always in the same order."""
    for day in sorted({day for _subject, day in counts}):
        subjects = [subject for subject, counted_on in counts if counted_on == day]
        session.execute(
            select(Allowance.used)
            .where(Allowance.subject.in_(subjects), Allowance.day == day)
            .order_by(Allowance.subject)
            .with_for_update()
        )


def give_back_many(session: Session, counts: Mapping[tuple[str, date], int]) -> None:
    """Return so many tries to each count, as (subject, day); none goes below zero."""
    number = bindparam("number", type_=Integer)
    left = case((Allowance.used > number, Allowance.used - number), else_=0)
    one = update(Allowance).where(Allowance.subject == bindparam("of_subject"), Allowance.day == bindparam("on_day"))
    rows = [{"of_subject": subject, "on_day": day, "number": tries} for (subject, day), tries in counts.items()]
    if rows:
        # On the connection, because a session takes many rows for updates by primary key.
        session.connection().execute(one.values(used=left), rows)


def drop_old() -> None:
    """Forget the counts of days long past, a bounded number at a time; for the sweep."""
    oldest = (runtime().clock.now() - KEPT).date()
    with reading() as session:
        old = session.execute(
            select(Allowance.subject, Allowance.day).where(Allowance.day < oldest).limit(DROPPED_AT_ONCE)
        ).all()
    for day in {row.day for row in old}:
        subjects = [row.subject for row in old if row.day == day]
        forget = delete(Allowance).where(Allowance.day == day, Allowance.subject.in_(subjects))
        transaction(partial(_execute, forget))


def _execute(statement: Delete, session: Session) -> None:
    session.execute(statement)


def subjects_of(payer: str, address_subject: str | None) -> tuple[str, ...]:
    """The counts that a task was taken from, by what its row remembers, in the order in which they are locked."""
    kind, _colon, subject = payer.partition(":")
    browser = (subject,) if kind == "guest" else ()
    return browser + ((address_subject,) if address_subject else ())


def _subjects(guest: Guest) -> tuple[str, ...]:
    return (guest.browser, guest.address) if guest.browser else (guest.address,)


def _limits(guest: Guest) -> list[tuple[str, int]]:
    settings = runtime().settings
    by_address = (guest.address, settings.guest_daily_limit_per_address)
    return [(guest.browser, settings.guest_daily_limit), by_address] if guest.browser else [by_address]


def _left(session: Session, guest: Guest, day: date) -> int:
    limits = dict(_limits(guest))
    rows = session.execute(
        select(Allowance.subject, Allowance.used).where(Allowance.subject.in_(limits), Allowance.day == day)
    ).all()
    used: dict[str, int] = {row.subject: row.used for row in rows}
    return min(limit - used.get(subject, 0) for subject, limit in limits.items())


def _make_row(session: Session, subject: str, day: date) -> None:
    """Make the day's row if it is missing; on MySQL and MariaDB the row is locked from here on.

    INSERT IGNORE would take a shared lock there, and two orders that both hold one deadlock when both write.
    """
    values = {"subject": subject, "day": day, "used": 0}
    if session.get_bind().dialect.name == "sqlite":
        session.execute(insert(Allowance).prefix_with("OR IGNORE").values(**values))
    else:
        session.execute(mysql.insert(Allowance).values(**values).on_duplicate_key_update(used=Allowance.used))


def _network(address: str) -> str:
    """What is counted as one address: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
