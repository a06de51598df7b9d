"""The states of a task, the moves between them, and the words that the wire uses for them.

Pure tables; `services.tasks` and `services.repair` are the only code that makes a move.
"""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """What a task's row says; a terminal row never moves again."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether no further move exists."""
        return self in TERMINAL


TERMINAL = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED})
LIVE = frozenset({TaskState.QUEUED, TaskState.PROCESSING})

MOVES: dict[TaskState, frozenset[TaskState]] = {
    TaskState.QUEUED: frozenset({TaskState.PROCESSING, TaskState.CANCELLED, TaskState.FAILED}),
    TaskState.PROCESSING: frozenset({TaskState.QUEUED, *TERMINAL}),
    TaskState.COMPLETED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}

# Rank orders the states for the live status: a value of lower rank never replaces a higher one of the same run.
RANK: dict[TaskState, int] = {
    TaskState.QUEUED: 0,
    TaskState.PROCESSING: 1,
    TaskState.COMPLETED: 2,
    TaskState.FAILED: 2,
    TaskState.CANCELLED: 2,
}

WIRE_STATUS: dict[TaskState, str] = {
    TaskState.QUEUED: "PENDING",
    TaskState.PROCESSING: "PROCESSING",
    TaskState.COMPLETED: "SUCCESS",
    TaskState.FAILED: "FAILED",
    TaskState.CANCELLED: "CANCELLED",
}


class Outcome(StrEnum):
    """How a task ends. `original` means that the photograph comes back as it was, free of charge."""

    PAINTED = "painted"
    ORIGINAL = "original"
    FAILED = "failed"
    CANCELLED = "cancelled"


STATE_OF_OUTCOME: dict[Outcome, TaskState] = {
    Outcome.PAINTED: TaskState.COMPLETED,
    Outcome.ORIGINAL: TaskState.COMPLETED,
    Outcome.FAILED: TaskState.FAILED,
    Outcome.CANCELLED: TaskState.CANCELLED,
}


class Stage(StrEnum):
    """What is happening to a task right now; the page translates these words."""

    QUEUED = "queued"
    CONNECTING = "connecting"
    WAITING_FOR_GPU = "waiting_for_gpu"
    PAINTING = "painting"
    DOWNLOADING = "downloading"
    SAVING = "saving"
    DONE = "done"


# Percent shown when a stage begins and nothing finer is known.
STAGE_PROGRESS: dict[Stage, int] = {
    Stage.QUEUED: 0,
    Stage.CONNECTING: 10,
    Stage.WAITING_FOR_GPU: 20,
    Stage.PAINTING: 20,
    Stage.DOWNLOADING: 70,
    Stage.SAVING: 90,
    Stage.DONE: 100,
}


def progress_of(stage: Stage, fraction: float | None = None) -> int:
    """Percent for a stage; `fraction` (0 to 1) of the painting moves between 20 and 70."""
    begin = STAGE_PROGRESS[stage]
    if stage is not Stage.PAINTING or fraction is None:
        return begin
    return begin + round(50 * min(1.0, max(0.0, fraction)))
