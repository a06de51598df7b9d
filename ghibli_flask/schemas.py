"""The declarations of the HTTP contract: what requests are checked against, what answers look like, and the document.

Pydantic models in camelCase on the wire. Called by `api` and `pages`; GET /api/openapi.json is made from them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from flask import request, url_for
from flask_babel import gettext
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from spectree import SpecTree
from spectree.model_adapter.pydantic_adapter import BaseFile

from ghibli_flask.engine_catalogue import Mode, available_modes
from ghibli_flask.errors import TASK_FAILURES, FieldError, InvalidFields, MalformedRequest, _
from ghibli_flask.extensions import runtime
from ghibli_flask.services.progress import TaskView
from ghibli_flask.styles import DEFAULT_STYLE, STYLES
from ghibli_flask.task_states import WIRE_STATUS, TaskState

VERSION = "0.1.0"


def _blank_is_none(value: object) -> object:
    """A form sends an empty text for a field that was left alone."""
    return None if value == "" else value


def _zulu(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


OptionalSide = Annotated[Annotated[int, Field(ge=256, le=1024)] | None, BeforeValidator(_blank_is_none)]
OptionalSeed = Annotated[Annotated[int, Field(ge=0, le=2**31 - 1)] | None, BeforeValidator(_blank_is_none)]


class WireModel(BaseModel):
    """camelCase on the wire, snake_case here."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class OrderFields(WireModel):
    """The fields that every form of an order has."""

    mode: Mode | None = Field(None, description="image-to-image when there is a picture")
    prompt: str = Field("", max_length=1000, description="added to the style's own prompt, whose trigger words lead")
    style: Annotated[str, AfterValidator(str.strip)] = Field(DEFAULT_STYLE, max_length=64)
    width: OptionalSide = Field(None, description="the result fits inside width and height with its shape kept")
    height: OptionalSide = None
    seed: OptionalSeed = None


class OrderForm(OrderFields):
    """An order as multipart/form-data."""

    image: BaseFile | None = Field(None, description="JPEG, PNG, WebP, HEIC/HEIF, AVIF, GIF or TIFF")


class OrderJSON(OrderFields):
    """An order as JSON; one of the two fields holds the picture."""

    image_base64: str | None = Field(None, description="the picture's bytes in base64, with or without a data: prefix")
    image_url: str | None = Field(None, max_length=500, description="an address of one of the caller's own pictures")


class PollQuery(WireModel):
    """Which task is asked after."""

    task_id: str = Field(max_length=64)


class PostingJSON(WireModel):
    """A program's posting."""

    user_id: str = Field(min_length=1, max_length=50)
    operation: Literal["add", "subtract"]
    amount: int = Field(ge=1, le=1_000_000)
    task_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="makes `subtract` the charge of this task and `add` its refund, each posted once",
    )


class RetryJSON(WireModel):
    """What may change when a picture is painted again."""

    style: str | None = Field(None, max_length=64)


class ImageQuery(WireModel):
    """How a picture is sent."""

    download: Literal["1"] | None = Field(None, description="send it as a file to keep")


class Problem(WireModel):
    """Problem details (RFC 9457) with a stable code."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    error: str = Field(description="the same as detail, for older clients")
    errors: list[dict[str, str]] | None = None


class AcceptedOrder(WireModel):
    """The answer to an accepted order."""

    task_id: str
    status: str
    poll_url: str
    next_poll_ms: int | None
    queue_position: int | None
    eta_seconds: int | None
    refund_at: str | None
    credits: int | None = Field(description="pictures left to the payer: a guest's free tries of the day")
    duplicate: bool = False


class TaskAnswer(WireModel):
    """The state of a task, for pollers and for the page."""

    task_id: str
    status: str
    progress: int
    stage: str
    queue_position: int | None
    engine_rank: int | None
    eta_seconds: int | None
    eta_range_seconds: tuple[int, int] | None
    refund_at: str | None
    refunded: bool
    urls: list[str]
    thumbnail_url: str | None
    note: str | None
    error: str | None
    code: str | None
    attempt: int
    next_poll_ms: int | None
    elapsed_ms: int
    engine: str | None


class CreditEntryAnswer(WireModel):
    """One posting of the ledger; `amount` is signed."""

    amount: int
    kind: str
    reason: str | None
    task_id: str | None
    created_at: str


class BalanceAnswer(WireModel):
    """What a person has, and the latest entries, newest first."""

    credits: int
    monthly_credits: int = Field(description="what the first of the next month lifts the balance to")
    reset_at: str
    history: list[CreditEntryAnswer]


class PostingAnswer(WireModel):
    """The balance after a posting."""

    credits: int


class StyleAnswer(WireModel):
    """One style that can be chosen."""

    key: str
    name: str
    description: str
    preview_url: str
    modes: list[str]


class CSRFAnswer(WireModel):
    """The token that a request with cookies carries as X-CSRFToken."""

    csrf_token: str


class HealthAnswer(WireModel):
    """How the installation is doing; details and runs only for the operator's key."""

    status: Literal["ok", "degraded", "down"]
    version: str
    checks: dict[str, str]
    details: dict[str, Any] | None = None


class LivenessAnswer(WireModel):
    """The process lives."""

    status: Literal["ok"]


class OlderProgress(WireModel):
    """What older front ends poll while a picture is painted."""

    status: str
    progress: int | None = None
    elapsed_time: int | None = None
    error: str | None = None


def task_answer(view: TaskView) -> TaskAnswer:
    """A task as it goes over the wire, with its sentences translated."""
    done = view.state is TaskState.COMPLETED and view.has_result
    picture = f"/api/image/{view.public_id}"
    return TaskAnswer(
        task_id=view.public_id,
        status=WIRE_STATUS[view.state],
        progress=view.progress,
        stage=view.stage.value,
        queue_position=view.queue_position,
        engine_rank=view.engine_rank,
        eta_seconds=view.eta_seconds,
        eta_range_seconds=view.eta_range_seconds,
        refund_at=_zulu(view.refund_at) if view.refund_at else None,
        refunded=view.refunded,
        urls=[picture] if done else [],
        thumbnail_url=f"{picture}/thumbnail" if done else None,
        note=gettext(view.note) if view.note else None,
        error=failure_text(view),
        code=view.error_code,
        attempt=view.attempt,
        next_poll_ms=view.next_poll_ms,
        elapsed_ms=view.elapsed_ms,
        engine=view.engine,
    )


def failure_text(view: TaskView) -> str | None:
    """Why a task failed, and what came back, in the visitor's language."""
    if view.state is not TaskState.FAILED:
        return None
    reason = gettext(TASK_FAILURES.get(view.error_code or "internal", TASK_FAILURES["internal"]))
    return f"{reason} {gettext(_('Your try has come back.'))}" if view.refunded else reason


def style_answers() -> list[StyleAnswer]:
    """The styles as they go over the wire and onto the page, in the visitor's language."""
    return [
        StyleAnswer(
            key=style.key,
            name=gettext(style.name),
            description=gettext(style.description),
            preview_url=url_for("static", filename=f"img/examples/style-{style.key}.webp"),
            modes=sorted(available_modes(runtime().settings.engines)),
        )
        for style in STYLES.values()
    ]


def utc_text(moment: datetime) -> str:
    """A moment as it goes over the wire."""
    return _zulu(moment)


def _refuse_invalid(
    _request: object, _response: object, error: Exception | None, _instance: object, _adapter: object
) -> None:
    """Turn what the declarations refuse into our own errors, before the route runs."""
    if request.mimetype == "application/json" and request.get_data(cache=True):
        body = request.get_json(silent=True)
        if not isinstance(body, dict):
            raise MalformedRequest
    if isinstance(error, ValidationError):
        raise InvalidFields(fields=tuple(_field_error(item) for item in error.errors(include_url=False)))


def _field_error(item: Any) -> FieldError:
    name = ".".join(str(part) for part in item["loc"]) or "body"
    return FieldError(name, item["msg"].replace("%", "%%"))


spec = SpecTree(
    "flask",
    annotations=True,
    before=_refuse_invalid,
    validation_error_model=Problem,
    title="Painted Window",
    version=VERSION,
    openapi_version="3.1.0",
    path="api/docs",
    filename="openapi.json",
    mode="strict",
    nested_naming_strategy=lambda _parent, child: child,
    naming_strategy=lambda model: model.__name__,
)
