"""Thumbs up and down: what visitors think of their pictures, kept for the operator.

Called by the task's page and the API, which rate, and by the administrators' overview, which reads. A rating goes with
its picture: `services.tombstones` deletes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import FieldError, InvalidFields, NotFound, WrongState, _
from ghibli_flask.extensions import runtime
from ghibli_flask.models.rating import LONGEST_WORD, Rating
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import tasks
from ghibli_flask.services.payers import Payer
from ghibli_flask.task_states import Outcome

Verdict = Literal["up", "down"]


@dataclass(frozen=True)
class Rated:
    """A rating as the operator reads it; `task_id` is the public one."""

    task_id: str
    verdict: str
    word: str | None
    style: str
    engine: str | None
    at: datetime


def rate(task_id: str, payer: Payer, verdict: str, word: str | None = None) -> None:
    """Keep what the owner thinks of a painted picture; a second rating takes the place of the first, word and all.

    Raises NotFound, Forbidden for a stranger, WrongState when nothing was painted, InvalidFields.
    """
    if verdict not in get_args(Verdict):
        raise InvalidFields(fields=(FieldError("verdict", _("Please choose a thumb, up or down.")),))
    said = " ".join((word or "").split()) or None
    if said and len(said) > LONGEST_WORD:
        too_long = FieldError("word", _("These are more than %(most)s characters."), {"most": LONGEST_WORD})
        raise InvalidFields(fields=(too_long,))
    task = tasks.owned(task_id, payer)
    if task.outcome != Outcome.PAINTED:
        raise WrongState
    transaction(lambda session: _keep(session, task.id, verdict, said))


def of_task(task: ImageTask) -> Rating | None:
    """What was said of this picture, None while nothing was."""
    with reading() as session:
        return session.get(Rating, task.id)


def recent(limit: int) -> list[Rated]:
    """The newest ratings first, at most `limit`."""
    newest = (
        select(ImageTask.public_id, Rating.verdict, Rating.word, ImageTask.style, ImageTask.engine, Rating.rated_at)
        .join(Rating, Rating.task_id == ImageTask.id)
        .order_by(Rating.rated_at.desc(), Rating.task_id.desc())
        .limit(limit)
    )
    with reading() as session:
        return [Rated(*row) for row in session.execute(newest)]


def counts(since: datetime) -> tuple[int, int]:
    """How many thumbs point up and how many down, of those given since this moment."""
    by_verdict = (
        select(Rating.verdict, func.count().label("number")).where(Rating.rated_at >= since).group_by(Rating.verdict)
    )
    with reading() as session:
        found = {row.verdict: row.number for row in session.execute(by_verdict)}
    return found.get("up", 0), found.get("down", 0)


def _keep(session: Session, task: int, verdict: str, word: str | None) -> None:
    """Under the task's lock, so that two at once are one rating and none stays behind a picture that was deleted."""
    standing = select(ImageTask.id).where(ImageTask.id == task, ImageTask.deleted_at.is_(None))
    if session.scalar(standing.with_for_update()) is None:
        raise NotFound
    rating = session.get(Rating, task) or Rating(task_id=task)
    rating.verdict, rating.word, rating.rated_at = verdict, word, runtime().clock.now()
    session.add(rating)
