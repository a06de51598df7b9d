"""Reports about shared pictures, and what operators do about them: hide, restore, approve. Called by the front doors.

Every action of an operator is entered in the audit log within its own transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from limits import parse
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import NotFound, _
from ghibli_flask.extensions import runtime
from ghibli_flask.models.audit import AuditEntry
from ghibli_flask.models.share import Share, ShareReport
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import gallery, share_files, sharing
from ghibli_flask.services.allowances import Guest
from ghibli_flask.services.throttle import Rule, throttle

PAGE = 50
REPORTS_BY_ADDRESS = Rule("report-address", parse("10 per hour"))

REASONS: dict[str, str] = {
    "person": _("It shows me, or somebody who does not want that"),
    "rights": _("It uses a work of mine without permission"),
    "harmful": _("It is hateful, violent or sexual"),
    "other": _("Something else"),
}


@dataclass(frozen=True)
class Case:
    """One shared picture as an operator sees it: its words, shown or not, and how often each reason was given."""

    share: Share
    prompt: str
    reasons: dict[str, int]


def report(share_id: str, reason: str, reporter: Guest) -> None:
    """Take in what a visitor says about an open share; a second word of the same browser changes nothing.

    `reason` is one of REASONS. Raises NotFound, and TooManyRequests after ten reports an hour from one address.
    """
    share, _task = sharing.open_share(share_id)
    throttle().check(REPORTS_BY_ADDRESS, reporter.address)
    throttle().count(REPORTS_BY_ADDRESS, reporter.address)
    subject = reporter.browser or reporter.address
    transaction(lambda session: _enter_report(session, share.id, reason, subject))


def _enter_report(session: Session, row: int, reason: str, reporter: str) -> None:
    share = session.get_one(Share, row, with_for_update=True)
    known = select(ShareReport.id).where(ShareReport.share_id == row, ShareReport.reporter == reporter)
    if not share.is_open or session.scalar(known) is not None:
        return
    with gallery.counted(session, share):
        now = runtime().clock.now()
        session.add(ShareReport(share_id=row, reporter=reporter, reason=reason, created_at=now))


def waiting() -> list[Case]:
    """What an operator should look at, the longest waiting first: at most 50."""
    found = select(Share).where(Share.attention_at.is_not(None)).order_by(Share.attention_at)
    with reading() as session:
        return _cases(session, list(session.scalars(found.limit(PAGE))))


def hidden() -> list[Case]:
    """What operators have hidden and owners have not taken back, the latest first: at most 50."""
    found = select(Share).where(Share.hidden_at.is_not(None), Share.revoked_at.is_(None))
    with reading() as session:
        return _cases(session, list(session.scalars(found.order_by(Share.hidden_at.desc()).limit(PAGE))))


def case_of(share_id: str) -> Case:
    """One share that its owner has not taken back, open or hidden; raises NotFound."""
    with reading() as session:
        found = session.scalars(select(Share).where(Share.public_id == share_id, Share.revoked_at.is_(None))).all()
        if not found:
            raise NotFound
        return _cases(session, list(found))[0]


def _cases(session: Session, shares: list[Share]) -> list[Case]:
    rows = [share.id for share in shares]
    words = select(ImageTask.id, ImageTask.prompt).where(ImageTask.id.in_([share.task_id for share in shares]))
    prompts: dict[int, str] = {row.id: row.prompt for row in session.execute(words)}
    reasons: dict[int, Counter[str]] = {row: Counter() for row in rows}
    said = select(ShareReport.share_id, ShareReport.reason).where(ShareReport.share_id.in_(rows))
    for row, reason in session.execute(said):
        reasons[row][reason] += 1
    return [Case(share, prompts.get(share.task_id, ""), dict(reasons[share.id])) for share in shares]


def hide(actor: str, share_id: str) -> None:
    """Take a share off every page; its owner can take it back but not share it again. Raises NotFound."""

    def decide(share: Share) -> None:
        share.hidden_at = share.hidden_at or runtime().clock.now()

    _act(actor, "hide-share", share_id, decide)


def restore(actor: str, share_id: str) -> None:
    """Show a hidden share again, in the gallery too if it hung there. Raises NotFound."""

    def decide(share: Share) -> None:
        share.hidden_at = None

    _act(actor, "restore-share", share_id, decide)


def approve(actor: str, share_id: str) -> None:
    """Find a share fine as it is: what waits for the gallery hangs, what was reported stays. Raises NotFound."""

    def decide(share: Share) -> None:
        if share.in_gallery:
            share.approved_at = share.approved_at or runtime().clock.now()

    _act(actor, "approve-share", share_id, decide)


def _act(actor: str, action: str, share_id: str, decide: Callable[[Share], None]) -> None:
    """One decision of an operator; it answers every report that stands."""

    def unit(session: Session) -> Share:
        now = runtime().clock.now()
        open_or_hidden = select(Share).where(Share.public_id == share_id, Share.revoked_at.is_(None))
        share = session.scalar(open_or_hidden.with_for_update())
        if share is None:
            raise NotFound
        session.execute(
            update(ShareReport)
            .where(ShareReport.share_id == share.id, ShareReport.handled_at.is_(None))
            .values(handled_at=now)
        )
        with gallery.counted(session, share):
            decide(share)
        session.add(AuditEntry(actor=actor, action=action, subject=share_id, details={}, created_at=now))
        return share

    before = case_of(share_id).share
    share = transaction(unit)
    share_files.forget_copy(before, share)
    share_files.publish_copy(share)
