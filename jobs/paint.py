"""One task from claim to settle. RQ calls `paint` on a worker, by its dotted name, with the task's public id."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from flask import Flask, current_app
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from ghibli_flask.engine_catalogue import ENGINES
from ghibli_flask.errors import NotAPicture, NotFound, Unavailable, _
from ghibli_flask.extensions import runtime
from ghibli_flask.images import DigitalSourceType, Fit, finish, fit, prepare, size_of
from ghibli_flask.services import files, runs, tasks
from ghibli_flask.services.runs import Run
from ghibli_flask.services.tasks import Ending
from ghibli_flask.styles import style_named
from ghibli_flask.task_states import Outcome, Stage
from jobs.engines.base import (
    Deadline,
    DeadlinePassed,
    Engine,
    EngineBusy,
    EngineError,
    PaintingCancelled,
    PaintRequest,
    QuotaExhausted,
    RequestRejected,
)
from jobs.process import PaintingProcess, painting_process
from jobs.pulse import Pulse
from jobs.retrying import busy_retries

log = logging.getLogger(__name__)

LEFT_FOR_SAVING_S = 30
SETTLE_FOR_S = 60
ORIGINAL_NOTE = _("Using original image due to GPU quota exceeded")


@dataclass
class Failures:
    """What the engines that were tried said, so that the ending can be chosen."""

    quota: bool = False
    codes: list[str] = field(default_factory=list)

    def add(self, engine: str, error: EngineError) -> None:
        """Remember one engine's refusal and log it; its text is already masked."""
        log.warning("engine %s: %s: %s", engine, type(error).__name__, error.safe_text)
        self.quota = self.quota or isinstance(error, QuotaExhausted)
        kinds = {DeadlinePassed: "engine_timeout", EngineBusy: "engine_busy", QuotaExhausted: "engine_busy"}
        self.codes.append(kinds.get(type(error), "engine_unavailable"))


def paint(public_id: str) -> None:
    """Claim the task, have it painted and settle it; does nothing when there is nothing to claim."""
    run = runs.claim(public_id)
    if run is None:
        log.info("task %s has nothing to claim", public_id)
        return
    process = painting_process()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    with process.busy(), Pulse(app, run, process.usual_seconds, process.must_stop) as pulse:
        ending = _ending_of(run, process, pulse)
        if ending is not None:
            _settle(run, ending)
        elif not pulse.is_lost:
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
        return Ending(Outcome.FAILED, error_code="engine_rejected")
    except NotAPicture:
        log.warning("task %s: the engine's answer was not a picture", run.public_id)
        return Ending(Outcome.FAILED, error_code="result_unreadable")
    except NotFound:
        return Ending(Outcome.FAILED, error_code="source_gone")
    except Unavailable:
        return Ending(Outcome.FAILED, error_code="storage")
    except Exception:
        log.exception("task %s failed unexpectedly", run.public_id)
        return Ending(Outcome.FAILED, error_code="internal")


def _make(run: Run, process: PaintingProcess, pulse: Pulse) -> Ending:
    if run.source is None:
        raise NotFound
    source = files.read(run.source)
    wished = (run.width or 1024, run.height or 1024)
    failures = Failures()
    deadline = _deadline_of(run)
    for engine in process.engines:
        facts = ENGINES[engine.name]
        shape = fit(*size_of(source), within=wished, largest=facts.largest_side, smallest=facts.smallest_side)
        try:
            answer = _call(engine, _request(run, source, shape), deadline, pulse)
        except (RequestRejected, PaintingCancelled):
            raise
        except EngineError as error:
            failures.add(engine.name, error)
            continue
        pulse.enter(Stage.SAVING)
        picture = finish(answer, shape, source_type=DigitalSourceType.COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA)
        process.finished((runtime().clock.now() - run.started_at).total_seconds())
        return Ending(Outcome.PAINTED, result=files.keep(picture.data, "results", "jpg"), engine=engine.name)
    return _without_painting(source, failures)


def _without_painting(source: bytes, failures: Failures) -> Ending:
    """Every engine was tried: the original comes back when it was for want of quota, else the order fails."""
    if failures.quota:
        copy = files.keep(source, "results", "jpg")
        return Ending(Outcome.ORIGINAL, result=copy, error_code="quota", note=ORIGINAL_NOTE)
    return Ending(Outcome.FAILED, error_code=failures.codes[-1] if failures.codes else "engine_unavailable")


def _request(run: Run, source: bytes, shape: Fit) -> PaintRequest:
    style = style_named(run.style)
    return PaintRequest(
        mode=run.mode,
        image=prepare(source, shape),
        width=shape.width,
        height=shape.height,
        prompt=style.prompt_with(run.prompt),
        look=style.key,
        seed=run.seed,
    )


def _call(engine: Engine, request: PaintRequest, deadline: Deadline, pulse: Pulse) -> bytes:
    """One engine, tried again with growing pauses while it says that it is busy and the deadline allows."""
    pulse.enter(Stage.CONNECTING, engine.name)
    return busy_retries(runtime().settings, deadline, pulse.is_cancelled)(
        engine.paint,
        request,
        credential=None,
        deadline=deadline,
        on_news=lambda news: pulse.tell(news, engine.name),
        is_cancelled=pulse.is_cancelled,
    )


def _deadline_of(run: Run) -> Deadline:
    """The time that an engine may take: TASK_TIMEOUT_S, and never so long that saving misses the task's deadline."""
    left = (run.deadline_at - runtime().clock.now()).total_seconds() - LEFT_FOR_SAVING_S
    return Deadline(max(0.0, min(runtime().settings.task_timeout_s, left)))


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
