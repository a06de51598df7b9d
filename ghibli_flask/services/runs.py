"""One attempt at a task, from claim to hand-back: what `jobs.paint` calls. Ending it is `services.tasks.settle`.

`attempt` is a fencing number: the claim raises it, and every later write of the run carries it. A write that matches
no row means that the task is no longer this run's, and the run stops and leaves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import payers, progress, tasks
from ghibli_flask.services.tasks import Ending
from ghibli_flask.status import LiveStatus
from ghibli_flask.storage import StoredFile
from ghibli_flask.task_states import Outcome, Stage, TaskState

MOST_HANDBACKS = 3


@dataclass(frozen=True)
class Run:
    """A claimed task as plain values: no row or session crosses the engine call."""

    task_id: int
    public_id: str
    known_as: str
    attempt: int
    mode: str
    prompt: str
    style: str
    width: int | None
    height: int | None
    seed: int
    source: StoredFile | None
    started_at: datetime
    deadline_at: datetime
    kept_for: timedelta
    live: LiveStatus

    @property
    def reference(self) -> str:
        """This attempt's name for an outside processor; none for what came from outside and is not handed on."""
        return f"{self.public_id}-{self.attempt}" if self.known_as == self.public_id else ""


def claim(public_id: str) -> Run | None:
    """Take a queued task that still has time; None when there is nothing to take."""
    task = transaction(lambda session: _claim(session, public_id))
    if task is None:
        return None
    progress.publish(task)
    return _run_of(task)


def _claim(session: Session, public_id: str) -> ImageTask | None:
    now = runtime().clock.now()
    found = session.execute(
        select(ImageTask.id, ImageTask.attempt).where(
            ImageTask.public_id == public_id,
            ImageTask.status == TaskState.QUEUED.value,
            ImageTask.deadline_at > now,
        )
    ).one_or_none()
    if found is None:
        return None
    claimed = changed(
        session,
        update(ImageTask)
        .where(
            ImageTask.id == found.id,
            ImageTask.status == TaskState.QUEUED.value,
            ImageTask.attempt == found.attempt,
        )
        .values(
            status=TaskState.PROCESSING.value,
            attempt=found.attempt + 1,
            stage=Stage.CONNECTING.value,
            progress=0,
            started_at=now,
            heartbeat_at=now,
        ),
    )
    if not claimed:
        return None
    return session.get_one(ImageTask, found.id, populate_existing=True)


def _run_of(task: ImageTask) -> Run:
    source = StoredFile(task.source_store, task.source_key) if task.source_store and task.source_key else None
    assert task.started_at is not None
    return Run(
        task_id=task.id,
        public_id=task.public_id,
        known_as=task.known_as,
        attempt=task.attempt,
        mode=task.mode,
        prompt=task.prompt,
        style=task.style,
        width=task.width,
        height=task.height,
        seed=task.seed,
        source=source,
        started_at=task.started_at,
        deadline_at=task.deadline_at,
        kept_for=payers.kept_for(task.owner),
        live=progress.live_status(task, runtime().clock.now()),
    )


@dataclass(frozen=True)
class Beat:
    """One run's heartbeat: how far it is, in percent and by stage, and the engine that works."""

    run: Run
    percent: float
    stage: Stage
    engine: str | None


def beat(run: Run, percent: float, stage: Stage, engine: str | None) -> bool:
    """Write the run's heartbeat and progress; False when the task is no longer this run's."""
    return not beat_all([Beat(run, percent, stage, engine)])


def beat_all(beats: Sequence[Beat]) -> list[Beat]:
    """Write the heartbeats of a process's runs in one transaction; gives those whose task is no longer the run's."""
    now = runtime().clock.now()
    # Always in the same order, so that no two processes lock each other's rows out.
    in_order = sorted(beats, key=lambda beat: beat.run.task_id)
    return transaction(lambda session: [beat for beat in in_order if not _fenced(session, beat.run, _signs(beat, now))])


def _signs(beat: Beat, now: datetime) -> dict[str, object]:
    return {"heartbeat_at": now, "progress": beat.percent, "stage": beat.stage.value, "engine": beat.engine}


def is_mine(run: Run) -> bool:
    """Whether the task is still this run's, without writing."""
    with reading() as session:
        row = session.execute(
            select(ImageTask.status, ImageTask.attempt).where(ImageTask.id == run.task_id)
        ).one_or_none()
    return row is not None and row.status == TaskState.PROCESSING.value and row.attempt == run.attempt


def hand_back(run: Run) -> bool:
    """Return a task to the queue because its worker stops; after three of them it fails. False when not mine."""
    with reading() as session:
        task = session.get_one(ImageTask, run.task_id)
    if task.handbacks >= MOST_HANDBACKS:
        return tasks.settle(run.task_id, run.attempt, Ending(Outcome.FAILED, error_code="interrupted"))
    values = requeued_values(task) | {"handbacks": task.handbacks + 1}
    if not transaction(lambda session: _fenced(session, run, values)):
        return False
    announce(run.task_id)
    return True


def requeued_values(task: ImageTask) -> dict[str, object]:
    """What a row becomes when it goes back to the queue: the next attempt and the next ring."""
    return {
        "status": TaskState.QUEUED.value,
        "stage": Stage.QUEUED.value,
        "progress": 0,
        "attempt": task.attempt + 1,
        "ring": task.ring + 1,
        "queued_at": runtime().clock.now(),
        "heartbeat_at": None,
    }


def announce(task_id: int) -> None:
    """Publish and ring for a task that has just gone back to the queue."""
    with reading() as session:
        task = session.get_one(ImageTask, task_id)
    progress.publish(task)
    tasks.ring(task.public_id, task.ring)


def _fenced(session: Session, run: Run, values: dict[str, object]) -> bool:
    written = changed(
        session,
        update(ImageTask)
        .where(
            ImageTask.id == run.task_id,
            ImageTask.status == TaskState.PROCESSING.value,
            ImageTask.attempt == run.attempt,
        )
        .values(**values),
    )
    return written == 1
