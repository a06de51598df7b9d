"""The declarations of the HTTP contract: what requests are checked against, what answers look like, and the document.

Pydantic models in camelCase on the wire. Called by `api` and `pages`; GET /api/openapi.json is made from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from flask import request, url_for
from flask_babel import gettext
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from spectree import SpecTree
from spectree.model_adapter.pydantic_adapter import BaseFile

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import TASK_FAILURES, FieldError, InvalidFields, MalformedRequest, _
from ghibli_flask.i18n import gap
from ghibli_flask.models.rating import LONGEST_WORD
from ghibli_flask.services import flags
from ghibli_flask.services.history import Entry
from ghibli_flask.services.orders import Order
from ghibli_flask.services.progress import TaskView
from ghibli_flask.services.wishes import WishView
from ghibli_flask.styles import DEFAULT_STYLE, STYLES
from ghibli_flask.task_states import WIRE_STATUS, Stage, TaskState
from ghibli_flask.validation_words import refused_field

VERSION = "0.1.0"
OR_BY_SECRET: list[dict[str, list[str]]] = [{}, {"processSecret": []}]
"""Who may call a route that programs with the process secret share with visitors."""


def _blank_is_none(value: object) -> object:
    """A form sends an empty text for a field that was left alone."""
    return None if value == "" else value


def _one_newline(value: object) -> object:
    """Forms end a line with two characters where the visitor, and the page's counter, count one."""
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


def _zulu(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


FIELD_RULES = {
    "width": _("The width is a whole number of pixels from 256 to 1024."),
    "height": _("The height is a whole number of pixels from 256 to 1024."),
    "seed": _("The seed is a whole number from 0 to 2147483647."),
    "prompt": _("These are more words than the painter takes. Please shorten them."),
}
"""What visitors are told of a field that they can type into."""

StyleKey = Annotated[str, WithJsonSchema({"type": "string", "enum": [*STYLES]})]
OptionalSide = Annotated[Annotated[int, Field(ge=256, le=1024)] | None, BeforeValidator(_blank_is_none)]
OptionalSeed = Annotated[Annotated[int, Field(ge=0, le=2**31 - 1)] | None, BeforeValidator(_blank_is_none)]


class WireModel(BaseModel):
    """camelCase on the wire, snake_case here."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class OrderFields(WireModel):
    """The fields that every form of an order has."""

    mode: Mode | None = Field(None, description="image-to-image when there is a picture")
    prompt: Annotated[str, BeforeValidator(_one_newline)] = Field(
        "", max_length=1000, description="added to the style's own prompt, whose trigger words lead"
    )
    style: Annotated[StyleKey, AfterValidator(str.strip)] = Field(DEFAULT_STYLE, max_length=64)
    width: OptionalSide = Field(None, description="the result fits inside width and height with its shape kept")
    height: OptionalSide = None
    seed: OptionalSeed = None
    public: bool = Field(False, description="share it and hang it in the gallery when it is painted")


class OrderForm(OrderFields):
    """An order as multipart/form-data."""

    image: BaseFile | None = Field(None, description="JPEG, PNG, WebP, HEIC/HEIF, AVIF, GIF or TIFF")


class OrderJSON(OrderFields):
    """An order as JSON; one of the three fields names the picture."""

    image_base64: str | None = Field(None, description="the picture's bytes in base64, with or without a data: prefix")
    image_url: str | None = Field(None, max_length=500, description="an address of one of the caller's own pictures")
    upload_id: str | None = Field(None, max_length=64, description="a photograph that the caller sent ahead")


def order_fields(values: Mapping[str, str]) -> OrderFields:
    """Check the fields of a plain form as those of a call are checked; raises InvalidFields."""
    try:
        return OrderFields.model_validate(dict(values))
    except ValidationError as error:
        raise _invalid(error) from error


def order_of(
    fields: OrderFields, photo: bytes | None, *, style: str | None = None, idempotency_key: str | None = None
) -> Order:
    """The order that checked fields make; `style` is one that the address itself stands for, with photographs only."""
    from_words = not photo and bool(fields.prompt) and style is None
    return Order(
        mode=fields.mode or (Mode.TEXT_TO_IMAGE if from_words else Mode.IMAGE_TO_IMAGE),
        photo=photo,
        prompt=fields.prompt.strip(),
        style=style or fields.style,
        width=fields.width,
        height=fields.height,
        seed=fields.seed,
        idempotency_key=idempotency_key,
        wants_gallery=fields.public,
    )


class UploadForm(WireModel):
    """A photograph that is sent ahead of its order."""

    model_config = ConfigDict(json_schema_extra={"required": ["image"]})

    image: BaseFile | None = Field(None, description="JPEG, PNG, WebP, HEIC/HEIF, AVIF, GIF or TIFF")


class UploadAnswer(WireModel):
    """A photograph as it is kept for a day; `storage` is local or r2."""

    upload_id: str
    url: str
    width: int
    height: int
    bytes: int
    storage: str


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


class ProcessJSON(WireModel):
    """An order that is handed over by a program."""

    prompt: str = Field(
        max_length=4000, description="complete; when it begins with a style's own prompt, in that style"
    )
    height: int = Field(ge=256, le=1024)
    width: int = Field(ge=256, le=1024)
    seed: int = Field(ge=0, le=2**31 - 1)
    token: str | None = Field(None, repr=False, exclude=True, description="accepted and never stored or used")
    image_base64: str = Field(repr=False, description="the photograph's bytes in base64")
    user_id: str | None = Field(None, min_length=1, max_length=50, description="who pays; nobody when it is left out")


class ReportJSON(WireModel):
    """How a painting that is made outside comes along."""

    progress: float = Field(ge=0, le=100, strict=True)
    status: Literal["processing", "completed", "failed"]
    stage: str | None = Field(None, max_length=200, description="one of the stages of a poll; another word is painting")
    image_base64: str | None = Field(None, repr=False, description="with `completed`, unless it lies in Redis")


class RetryJSON(WireModel):
    """What may change when a picture is painted again."""

    style: StyleKey | None = Field(None, max_length=64)
    when_ready: bool = Field(
        False, strict=True, description="do not order now: keep the wish, and order it when an engine is back"
    )


class RatingJSON(WireModel):
    """What the owner of a picture thinks of it."""

    verdict: Literal["up", "down"]
    word: str | None = Field(None, max_length=LONGEST_WORD, description="why, in a few words; kept for the operator")


class TokenStatusQuery(WireModel):
    """The operator's secret."""

    secret: str | None = Field(None, description="ADMIN_SECRET; the header X-Admin-Secret is the better place for it")


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
    request_id: str = Field(description="the id to quote when asking the operator; also in X-Request-ID")
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


class WishAnswer(WireModel):
    """A wish: `state` is waiting, kept, no_credit or gone; `taskId` is the new task once it is kept."""

    state: str
    not_before: str
    task_id: str | None


class WishMade(WireModel):
    """The answer to `whenReady`."""

    wish: WishAnswer


class RetryAnswer(RootModel[AcceptedOrder | WishMade]):
    """A new task, or a wish."""


class TaskAnswer(WireModel):
    """The state of a task, for pollers and for the page."""

    task_id: str
    status: str = Field(json_schema_extra={"enum": [*WIRE_STATUS.values()]})
    progress: int = Field(json_schema_extra={"minimum": 0, "maximum": 100})
    stage: str = Field(json_schema_extra={"enum": [*Stage]})
    queue_position: int | None
    engine_rank: int | None
    eta_seconds: int | None
    eta_range_seconds: Annotated[list[int], Field(min_length=2, max_length=2)] | None
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


class ReceivedAnswer(WireModel):
    """The order stands, now or since an earlier call."""

    received: Literal[True]


class ReportAnswer(WireModel):
    """The report was taken."""

    success: Literal[True]


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


class TokenAnswer(WireModel):
    """One token of the Hub: seconds are GPU seconds of its present day."""

    token: str = Field(description="masked: at most its last four characters")
    available: bool
    state: Literal["available", "leased", "resting", "disabled", "spent"]
    usage_minutes: float
    seconds_used: float
    seconds_left: float
    daily_limit: float
    runs: int
    cooling_until: str | None
    resets_at: str | None
    calls: int
    failures: int
    checked_at: str | None = Field(description="when the Hub last told what is left")
    source: Literal["hub", "own count"]


class TokenSummary(WireModel):
    """All tokens together."""

    total_tokens: int
    available_tokens: int
    used_tokens: int = Field(description="those that have used something of their present day")
    total_usage_minutes: float
    average_usage_minutes: float


class TokenStatusAnswer(WireModel):
    """How the Hub's tokens are doing, in the order of the settings."""

    timestamp: str
    summary: TokenSummary
    tokens: list[TokenAnswer]


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
        eta_range_seconds=list(view.eta_range_seconds) if view.eta_range_seconds else None,
        refund_at=_zulu(view.refund_at) if view.refund_at else None,
        refunded=view.refunded,
        urls=[picture] if done else [],
        thumbnail_url=f"{picture}/thumbnail" if done else None,
        note=note_text(view),
        error=failure_text(view),
        code=view.error_code,
        attempt=view.attempt,
        next_poll_ms=view.next_poll_ms,
        elapsed_ms=view.elapsed_ms,
        engine=view.engine,
    )


def wish_answer(wish: WishView) -> WishAnswer:
    """A wish as it goes over the wire and onto the page."""
    state = wish.outcome.value if wish.outcome else "waiting"
    return WishAnswer(state=state, not_before=_zulu(wish.not_before), task_id=wish.task_id)


def note_text(view: TaskView | Entry) -> str | None:
    """What is to be said about a finished picture, in the visitor's language."""
    return gettext(view.note) if view.note else None


def failure_text(view: TaskView | Entry) -> str | None:
    """Why a task failed, and what came back, in the visitor's language."""
    reason = failure_reason(view)
    return f"{reason}{gap()}{gettext(_('Your try has come back.'))}" if reason and view.refunded else reason


def failure_reason(view: TaskView | Entry) -> str | None:
    """Why a task failed, in the visitor's language; None when it did not."""
    if view.state is not TaskState.FAILED:
        return None
    return str(gettext(TASK_FAILURES.get(view.error_code or "internal", TASK_FAILURES["internal"])))


def style_answers() -> list[StyleAnswer]:
    """The styles as they go over the wire and onto the page, in the visitor's language."""
    modes = sorted(flags.current().modes)
    return [
        StyleAnswer(
            key=style.key,
            name=gettext(style.name),
            description=gettext(style.description),
            preview_url=url_for("static", filename=f"img/examples/style-{style.key}.webp"),
            modes=modes,
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
        raise _invalid(error)


def _invalid(error: ValidationError) -> InvalidFields:
    return InvalidFields(fields=tuple(_field_error(item) for item in error.errors(include_url=False)))


def _field_error(item: Any) -> FieldError:
    name = ".".join(str(part) for part in item["loc"]) or "body"
    if name in FIELD_RULES and item["type"] != "missing":
        return FieldError(name, FIELD_RULES[name])
    return refused_field(name, item["type"], item.get("ctx", {}))


Query = TypeVar("Query", bound=WireModel)


def checked() -> Any:
    """What the declarations made of this request: `json`, `form` and `query`, each its model or None."""
    return request.context  # type: ignore[attr-defined]


def query_of(model: type[Query]) -> Query:
    """What this request asks for, for a route that declares its answers and is not to have each of them read again."""
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise _invalid(error) from error


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
