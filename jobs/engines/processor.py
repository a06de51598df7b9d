"""The `processor` engine: hands a painting to a program outside that speaks POST /process, and waits for its picture.

Made by `registry`, called by `jobs.chain`. The painting is known outside as `<task>-<attempt>`, so that each attempt
is new there. News and the picture arrive in two ways, whichever is quicker: as reports that the processor posts to
our POST /progress and the web side puts into the mailbox, and by asking the processor's own GET /api/poll-task. A
processor may know only one of the two; docs/processors.md tells what each is asked for.
"""

from __future__ import annotations

import base64
import contextlib
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.mailbox import Mailbox, Report
from jobs.engines.base import (
    CONNECTING,
    DOWNLOADING,
    PAINTING,
    WAITING_FOR_GPU,
    CredentialRejected,
    Deadline,
    DeadlinePassed,
    EngineBroken,
    EngineBusy,
    EngineError,
    News,
    PaintingCancelled,
    PaintRequest,
    QuotaExhausted,
    RequestRejected,
)
from jobs.engines.call import Call
from jobs.engines.http import Answer, AnswerLost, Conversation, NotReached, usable_key

ASK_EVERY_S = 2.0
LISTEN_EVERY_S = 0.5
HAND_OUT_S = 60.0
ANSWER_S = 10.0
CANCEL_S = 2.0
QUOTA_RESTS_S = 60.0
MOST_MISSES = 10
"""Questions in a row that a processor may leave unanswered before it counts as gone: with the pauses, 20 s or more."""

_NOT_BEGUN = frozenset({"queued", "connecting", "waiting_for_gpu"})


class ProcessorEngine:
    """Paints through one outside processor. Safe over threads; holds nothing between two calls."""

    name = "processor"
    modes = frozenset({Mode.IMAGE_TO_IMAGE})

    def __init__(
        self,
        base_url: str,
        mailbox: Mailbox | None = None,
        max_result_bytes: int = 32 * 1024 * 1024,
        ask_every_s: float = ASK_EVERY_S,
    ) -> None:
        """Name the processor's address, without a last slash, and where its reports arrive; None is nowhere."""
        self.base_url = base_url.rstrip("/")
        self.mailbox = mailbox
        self.max_result_bytes = max_result_bytes
        self.ask_every_s = ask_every_s

    def paint(
        self,
        request: PaintRequest,
        *,
        credential: str | None,
        deadline: Deadline,
        on_news: Callable[[News], None],
        is_cancelled: Callable[[], bool],
    ) -> bytes:
        """See `base.Engine`. `request.reference` is the painting's name outside; the credential is the process secret.

        A painting that is given up is cancelled outside, where the processor knows how.
        """
        if request.mode not in self.modes or request.image is None:
            raise RequestRejected("The processor engine starts from a photograph.")
        if not request.reference:
            raise RequestRejected("What came from outside is not handed on.")
        key = usable_key(credential, "TASK_PROCESS_SECRET_KEY")
        call = Call(deadline, on_news, is_cancelled)
        call.check()
        call.tell(News(CONNECTING))
        if self.mailbox:
            self.mailbox.open(request.reference)
        try:
            with Conversation(call) as conversation:
                return _Painting(self, request, key, call, conversation).picture()
        finally:
            if self.mailbox:
                self.mailbox.close(request.reference)

    def check(self, *, credential: str | None, deadline: Deadline) -> str:
        """See `base.Engine`. Whoever answers at /health, however, is there: not every processor has that address."""
        call = Call(deadline, lambda _news: None, lambda: False)
        with Conversation(call) as conversation:
            answer = conversation.send("GET", f"{self.base_url}/health", patience=ANSWER_S)
        if answer.status >= 500:
            raise EngineBroken(f"The processor answered {answer.status}.")
        return f"{self.base_url} answers"

    def close(self) -> None:
        """Nothing is held."""


class _Painting:
    """One painting in the hands of a processor."""

    def __init__(
        self, engine: ProcessorEngine, request: PaintRequest, key: str, call: Call, conversation: Conversation
    ) -> None:
        self._engine, self._request, self._key = engine, request, key
        self._call, self._conversation = call, conversation
        self._misses = 0

    def picture(self) -> bytes:
        """Hand it out and wait for its picture; what is given up is cancelled outside."""
        self._hand_out()
        try:
            return self._awaited()
        except (PaintingCancelled, DeadlinePassed):
            self._cancel()
            raise

    def _hand_out(self) -> None:
        body = {
            "prompt": self._request.prompt,
            "height": self._request.height,
            "width": self._request.width,
            "seed": self._request.seed,
            "imageBase64": base64.b64encode(self._request.image or b"").decode(),
        }
        try:
            answer = self._ask("POST", f"/process/{self._request.reference}", HAND_OUT_S, json=body)
        except AnswerLost as error:
            # A repeat of the same id does nothing there, so this may be sent again.
            raise EngineBusy(error.safe_text, retries=1) from None
        if not 200 <= answer.status < 300:
            raise _refusal(answer, self._key)
        self._call.tell(News(WAITING_FOR_GPU))

    def _awaited(self) -> bytes:
        ask_at = time.monotonic()
        while True:
            picture = self._reported()
            if picture is None and time.monotonic() >= ask_at:
                picture = self._polled()
                ask_at = time.monotonic() + self._engine.ask_every_s
            if picture is not None:
                return picture
            self._call.pause(min(LISTEN_EVERY_S, self._engine.ask_every_s))

    def _reported(self) -> bytes | None:
        """What the processor reported by itself: the picture, news that are passed on, or nothing."""
        mailbox = self._engine.mailbox
        report = mailbox.latest(self._request.reference) if mailbox else None
        if report is None or report.picture is not None:
            return report.picture if report else None
        if report.status == "failed":
            raise EngineBroken("The processor reported that it failed.")
        self._call.tell(_news(report))
        return None

    def _polled(self) -> bytes | None:
        """What the processor tells when it is asked; a processor that knows no such question is only listened to."""
        try:
            answer = self._ask("GET", "/api/poll-task", params={"taskId": self._request.reference})
        except (AnswerLost, NotReached) as error:
            self._missed(error)
            return None
        if answer.status >= 500:
            self._missed(EngineBroken(f"it answered {answer.status}"))
            return None
        self._misses = 0
        return self._told(answer.json()) if answer.status == 200 else None

    def _told(self, task: dict[str, Any]) -> bytes | None:
        match task.get("status"):
            case "SUCCESS" if task.get("code") == "quota":
                raise QuotaExhausted("The processor has no quota left.", retry_after=QUOTA_RESTS_S)
            case "SUCCESS":
                return self._fetched(task)
            case "FAILED" | "CANCELLED" as ended:
                reason = task.get("error") or task.get("code")
                raise EngineBroken(f"The processor's task ended {ended}: {reason}", secret=self._key)
        progress = task.get("progress")
        rank, stage = task.get("queuePosition"), task.get("stage")
        report = Report("processing", progress if isinstance(progress, int | float) else 0, str(stage))
        news = _news(report)
        self._call.tell(News(news.stage, news.fraction, rank if isinstance(rank, int) else None))
        return None

    def _fetched(self, task: dict[str, Any]) -> bytes:
        """The picture, from the processor's own address alone: the secret travels with the question."""
        urls = task.get("urls")
        first = urls[0] if isinstance(urls, list) and urls else None
        if not isinstance(first, str):
            raise EngineBroken("The processor's task succeeded without a picture.")
        url = urllib.parse.urljoin(f"{self._engine.base_url}/", first)
        if not url.startswith(f"{self._engine.base_url}/"):
            raise EngineBroken("The processor's picture lies at another address than the processor.")
        self._call.tell(News(DOWNLOADING))
        max_bytes = self._engine.max_result_bytes
        answer = self._conversation.send("GET", url, key=self._key, patience=HAND_OUT_S, max_bytes=max_bytes)
        if answer.status != 200:
            raise EngineBroken(f"The processor's picture answered {answer.status}.")
        return answer.body

    def _missed(self, error: EngineError) -> None:
        self._misses += 1
        if self._misses >= MOST_MISSES:
            raise EngineBroken(f"The processor was lost from sight: {error.safe_text}")

    def _cancel(self) -> None:
        """Say that the picture is not wanted any more, in a conversation of its own: this call is over."""
        call = Call(Deadline(CANCEL_S), lambda _news: None, lambda: False)
        path = f"/api/tasks/{self._request.reference}/cancel"
        with contextlib.suppress(EngineError), Conversation(call) as conversation:
            conversation.send("POST", self._engine.base_url + path, key=self._key, patience=CANCEL_S)

    def _ask(self, method: str, path: str, patience: float = ANSWER_S, **body: Any) -> Answer:
        url, headers = self._engine.base_url + path, self._request.headers
        return self._conversation.send(method, url, key=self._key, patience=patience, headers=headers, **body)


def _news(report: Report) -> News:
    """A processor's progress in our words: it waits, or it paints a part of the whole."""
    if report.stage in _NOT_BEGUN:
        return News(WAITING_FOR_GPU)
    return News(PAINTING, min(1.0, max(0.0, report.progress / 100)))


def _refusal(answer: Answer, key: str) -> EngineError:
    """What to do about a processor that did not take a painting, by the statuses of POST /process."""
    text = f"The processor answered {answer.status}: {answer.text()}"
    match answer.status:
        case 401 | 403:
            return CredentialRejected(text, secret=key)
        case 413 | 415 | 422:
            return RequestRejected(text, secret=key)
        case 429 | 502 | 503 | 504:
            return EngineBusy(text, retry_after=answer.retry_after(), secret=key)
        case _:
            return EngineBroken(text, secret=key)
