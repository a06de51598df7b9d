"""One task from claim to settle. RQ calls `paint` on a worker, by its dotted name, with the task's public id."""

from __future__ import annotations

import logging
import time
from functools import partial

from flask import Flask, current_app
from structlog.contextvars import bound_contextvars, get_contextvars
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from ghibli_flask.engine_catalogue import EngineFacts, Mode
from ghibli_flask.errors import NotAPicture, NotFound, Unavailable, _
from ghibli_flask.extensions import runtime
from ghibli_flask.images import DigitalSourceType, Fit, Picture, finish, fit, prepare, size_of
from ghibli_flask.queueing import REQUEST_ID
from ghibli_flask.services import files, order_counts, previews, runs, tasks
from ghibli_flask.services.runs import Run
from ghibli_flask.services.tasks import Ending
from ghibli_flask.styles import style_named
from ghibli_flask.task_states import Outcome, Stage
from jobs.chain import Errand, Failures, NothingPaintedError, paint_with_any
from jobs.engines.base import PaintingCancelled, PaintRequest, RequestRejected, ResultUnreadable
from jobs.process import PaintingProcess, painting_process
from jobs.pulse import Pulse

log = logging.getLogger(__name__)

LEFT_FOR_SAVING_S = 30
SETTLE_FOR_S = 60
LARGEST_SIDE = 1024
ORIGINAL_NOTE = _("Using original image due to GPU quota exceeded")


def paint(public_id: str) -> None:
    """Claim the task, have it painted and settle it; does nothing when there is nothing to claim."""
    run = runs.claim(public_id)
    if run is None:
        log.info("task %s has nothing to claim", public_id)
        return
    process = painting_process()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    with (
        bound_contextvars(task_id=run.public_id),
        process.busy(),
        Pulse(app, run, process.usual_seconds, process.must_stop) as pulse,
    ):
        ending = _ending_of(run, process, pulse)
        if ending is not None:
            _settle(run, ending)
        elif pulse.is_lost:
            log.info("task %s was taken from attempt %s, which ends here", run.public_id, run.attempt)
        else:
            log.info("task %s is handed back, because this worker stops", public_id)
            runs.hand_back(run)


def _ending_of(run: Run, process: PaintingProcess, pulse: Pulse) -> Ending | None:
    """How the run ends; None when it was interrupted and there is nothing to settle."""
    try:
        return _make(run, process, pulse)
    except PaintingCancelled:
        return None
    except RequestRejected as error:
        log.warning("task %s was rejected: %s", run.public_id, error.safe_text)
        return Ending(Outcome.FAILED, error_code=error.reason or "engine_rejected")
    except NotFound:
        return Ending(Outcome.FAILED, error_code="source_gone")
    except Unavailable:
        return Ending(Outcome.FAILED, error_code="storage")
    except Exception:
        log.exception("task %s failed unexpectedly", run.public_id)
        return Ending(Outcome.FAILED, error_code="internal")


def _make(run: Run, process: PaintingProcess, pulse: Pulse) -> Ending:
    source = _source_of(run)
    errand = Errand(
        mode=Mode(run.mode),
        request_for=lambda engine: _request(run, source, engine),
        seconds_left=lambda: (run.deadline_at - runtime().clock.now()).total_seconds() - LEFT_FOR_SAVING_S,
        pulse=pulse,
    )
    try:
        engine, picture = paint_with_any(process, errand, partial(_finish, run, source))
    except NothingPaintedError as error:
        return _without_painting(source, error.failures)
    pulse.enter(Stage.SAVING)
    painting_s = (runtime().clock.now() - run.started_at).total_seconds()
    process.finished(painting_s)
    order_counts.painted(engine, painting_s)
    saving_since = time.monotonic()
    result = files.keep(picture.data, "results", "jpg", expires_in=run.kept_for)
    ending = Ending(Outcome.PAINTED, result, engine=engine, preview=previews.keep(picture.data))
    order_counts.saved(engine, time.monotonic() - saving_since)
    return ending


def _source_of(run: Run) -> bytes | None:
    """The photograph that the order starts from, None for one that starts from words."""
    if run.mode == Mode.TEXT_TO_IMAGE:
        return None
    if run.source is None:
        raise NotFound
    return files.read(run.source)


def _shape(run: Run, source: bytes | None, engine: EngineFacts) -> Fit:
    """The sides to ask this engine for: the photograph's own shape, or the wished one, within what is wished."""
    wished = (run.width or LARGEST_SIDE, run.height or LARGEST_SIDE)
    size = wished if source is None else size_of(source)
    return fit(*size, within=wished, largest=engine.largest_side, smallest=engine.smallest_side)


def _finish(run: Run, source: bytes | None, engine: EngineFacts, answer: bytes) -> Picture:
    """The engine's answer as a picture in the order's shape, with the mark of AI."""
    try:
        return finish(answer, _shape(run, source, engine), source_type=_source_type(run))
    except NotAPicture as error:
        raise ResultUnreadable("Its answer was no picture.") from error


def _source_type(run: Run) -> DigitalSourceType:
    """What the finished file says of its making."""
    if run.mode == Mode.TEXT_TO_IMAGE:
        return DigitalSourceType.TRAINED_ALGORITHMIC_MEDIA
    return DigitalSourceType.COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA


def _request(run: Run, source: bytes | None, engine: EngineFacts) -> PaintRequest:
    style, shape = style_named(run.style), _shape(run, source, engine)
    return PaintRequest(
        mode=run.mode,
        image=prepare(source, shape) if source else None,
        width=shape.width,
        height=shape.height,
        prompt=style.prompt_with(run.prompt),
        look=style.key,
        seed=run.seed,
        reference=run.reference,
        request_id=get_contextvars().get(REQUEST_ID, ""),
    )


def _without_painting(source: bytes | None, failures: Failures) -> Ending:
    """Every engine was tried: the original comes back when it was for want of quota, else the order fails."""
    if failures.quota and source is not None:
        # It is the photograph: it goes where photographs go.
        copy = files.keep(source, "sources", "jpg")
        return Ending(Outcome.ORIGINAL, copy, error_code="quota", note=ORIGINAL_NOTE, preview=previews.keep(source))
    return Ending(Outcome.FAILED, error_code="quota" if failures.quota else failures.code)


def _settle(run: Run, ending: Ending) -> None:
    """Settle, trying again for a while when the database is away; a result that nobody wants any more is discarded."""
    attempts = Retrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_delay(SETTLE_FOR_S),
        wait=wait_exponential_jitter(multiplier=0.2, max=5),
        reraise=True,
    )
    mine = attempts(tasks.settle, run.task_id, run.attempt, ending)
    if mine:
        log.info("task %s ended %s in attempt %s", run.public_id, ending.outcome.value, run.attempt)
        return
    log.info("task %s was no longer of attempt %s; its result is discarded", run.public_id, run.attempt)
    if ending.result:
        files.abandon(ending.result)
    if ending.preview:
        files.abandon(ending.preview.file)
