"""The `kie` engine: paints through KIE AI, a reseller of several image models. Made by `registry`, called by
`jobs.chain`.

The photograph goes to KIE's own upload endpoint, so our store needs no public address. A task is created, its record
is asked for until it has ended, and the picture is fetched at once. KIE bills for each task that succeeds, so none is
created twice unless KIE said that the first one came to nothing.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from ghibli_flask.engine_catalogue import Mode
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
    masked,
)
from jobs.engines.call import Call
from jobs.engines.http import Answer, AnswerLost, Conversation, usable_key
from jobs.engines.kie_answers import OK, REST_S, InputNotFetched, Record, code_of, record_of, refusal, text_of
from jobs.engines.kie_models import MODELS, Model

log = logging.getLogger(__name__)

UPLOAD_PATH = "/api/file-stream-upload"
CREDITS_PATH = "/api/v1/chat/credit"
UPLOAD_FOLDER = "photographs"
UPLOAD_S = 60.0
CREATE_S = 60.0
RECORD_S = 20.0
CHECK_S = 20.0
MOST_MISSES = 5
"""Records in a row that could not be read before the task counts as lost."""

POLLING_PLAN = ((30.0, 2.5), (120.0, 7.0), (math.inf, 15.0))
"""KIE's own plan as (until so many seconds after the start, seconds between two looks)."""


class KieEngine:
    """Paints with one model of KIE AI. Safe over threads; holds nothing between two calls."""

    name = "kie"
    modes = frozenset(Mode)

    def __init__(
        self,
        model: str,
        base_url: str,
        upload_url: str,
        max_result_bytes: int = 32 * 1024 * 1024,
        polling_plan: Sequence[tuple[float, float]] = POLLING_PLAN,
    ) -> None:
        """Name the model, one of `kie_models.MODELS`, and KIE's two hosts, without a last slash."""
        self.model = model
        self.base_url = base_url.rstrip("/")
        self.upload_url = upload_url.rstrip("/")
        self.max_result_bytes = max_result_bytes
        self._polling_plan = tuple(polling_plan)

    def paint(
        self,
        request: PaintRequest,
        *,
        credential: str | None,
        deadline: Deadline,
        on_news: Callable[[News], None],
        is_cancelled: Callable[[], bool],
    ) -> bytes:
        """See `base.Engine`. A photograph that KIE could not read from its own host is uploaded once more."""
        if request.mode not in self.modes or (request.mode == Mode.IMAGE_TO_IMAGE and request.image is None):
            raise RequestRejected(f"The kie engine cannot work in the mode {request.mode} with what it was given.")
        key = self._key(credential)
        call = Call(deadline, on_news, is_cancelled)
        call.check()
        call.tell(News(CONNECTING))
        with Conversation(call) as conversation:
            painting = _Painting(self, MODELS[self.model], request, key, call, conversation)
            try:
                url = painting.picture_url()
            except InputNotFetched:
                url = painting.picture_url()
            call.tell(News(DOWNLOADING))
            home = (self.base_url, self.upload_url)
            return conversation.download(url, home=home, max_bytes=self.max_result_bytes)

    def check(self, *, credential: str | None, deadline: Deadline) -> str:
        """See `base.Engine`. Asks for the account's credits; raises QuotaExhausted when there are none."""
        key = self._key(credential)
        with Conversation(Call(deadline, lambda _news: None, lambda: False)) as conversation:
            answer = conversation.send("GET", self.base_url + CREDITS_PATH, key=key, patience=CHECK_S)
        credits = answer.json().get("data")
        if code_of(answer) != OK or not isinstance(credits, int | float):
            raise refusal(answer, key)
        if credits <= 0:
            raise QuotaExhausted("KIE's account has no credits left.", retry_after=REST_S)
        return f"{self.base_url} knows the key; {credits:g} credits are left for {self.model}"

    def close(self) -> None:
        """Nothing is held."""

    def pause_after(self, seconds: float) -> float:
        """Seconds until the next look at a task that was created `seconds` ago."""
        return next(pause for until, pause in self._polling_plan if seconds < until)

    def _key(self, credential: str | None) -> str:
        """The key, once it is certain that there is a model to use it for."""
        if self.model not in MODELS:
            raise EngineBroken(f"KIE_MODEL {self.model!r} is unknown; it can be one of {', '.join(MODELS)}.")
        return usable_key(credential, "KIE_AI_API_KEY")


class _Painting:
    """One order on its way through KIE."""

    def __init__(
        self, engine: KieEngine, model: Model, request: PaintRequest, key: str, call: Call, conversation: Conversation
    ) -> None:
        self._engine = engine
        self._model = model
        self._request = request
        self._key = key
        self._call = call
        self._conversation = conversation

    def picture_url(self) -> str:
        """Upload, create, wait; give the address of the picture."""
        image = self._request.image
        task = self._create(None if image is None else self._upload(image))
        record = self._ended(task)
        if record.state == "fail":
            raise record.failure(self._key)
        if record.picture_url is None:
            raise EngineBroken(f"KIE's task {task} succeeded without a picture.")
        return record.picture_url

    def _upload(self, image: bytes) -> str:
        """Give the photograph to KIE, which keeps it for one to three days; returns its address there."""
        # A file of the same name would be overwritten, whoever's it is.
        file = (f"{secrets.token_hex(16)}.jpg", image, "image/jpeg")
        try:
            answer = self._post(
                self._engine.upload_url + UPLOAD_PATH,
                UPLOAD_S,
                files={"file": file},
                data={"uploadPath": UPLOAD_FOLDER},
            )
        except AnswerLost as error:
            # Nothing was ordered yet, so this one may be repeated.
            raise EngineBusy(error.safe_text, retries=1) from None
        body = answer.json()
        if code_of(answer) != OK or body.get("success") is False:
            raise refusal(answer, self._key)
        data = body.get("data")
        image_url = (data.get("downloadUrl") or data.get("fileUrl")) if isinstance(data, dict) else None
        if not isinstance(image_url, str):
            raise EngineBroken("KIE took the photograph without saying where it is.")
        return image_url

    def _create(self, image_url: str | None) -> str:
        """Order the picture; returns the task's id. Never repeated when its end is unclear: it may be billed."""
        family = self._model.family
        body = self._model.body(self._request, image_url)
        answer = self._post(self._engine.base_url + family.create_path, CREATE_S, json=body)
        data = answer.json().get("data")
        task = data.get("taskId") if isinstance(data, dict) else None
        code = code_of(answer)
        if isinstance(task, str) and task and (code == OK or code >= 500):
            # An error that names a task is no reason to make another one: the record knows what became of it.
            log.info("KIE's task for this order: %s", masked(task, self._key))
            return task
        if code == OK:
            raise EngineBroken(f"KIE took the order without naming a task: {text_of(answer.json())}", secret=self._key)
        raise refusal(answer, self._key)

    def _ended(self, task: str) -> Record:
        """Look at the task's record by the plan until the task has ended. A look that fails is made again."""
        began_at, misses = time.monotonic(), 0
        while True:
            self._call.pause(self._engine.pause_after(time.monotonic() - began_at))
            try:
                record = self._record(task)
            except (CredentialRejected, DeadlinePassed, PaintingCancelled):
                raise
            except EngineError as error:
                if type(error) is EngineBusy:
                    continue  # Asked too often: that says nothing of the task.
                misses += 1
                if misses == MOST_MISSES:
                    raise EngineBroken(f"KIE's task {task} was lost from sight: {error.safe_text}") from None
                continue
            misses = 0
            if record.state in {"success", "fail"}:
                return record
            self._call.tell(News(WAITING_FOR_GPU) if record.state == "waiting" else News(PAINTING, record.fraction))

    def _record(self, task: str) -> Record:
        url = self._engine.base_url + self._model.family.record_path
        answer = self._conversation.send("GET", url, key=self._key, patience=RECORD_S, params={"taskId": task})
        data = answer.json().get("data")
        if code_of(answer) != OK or not isinstance(data, dict):
            raise refusal(answer, self._key)
        return record_of(data)

    def _post(self, url: str, patience: float, **body: Any) -> Answer:
        return self._conversation.send("POST", url, key=self._key, patience=patience, **body)
