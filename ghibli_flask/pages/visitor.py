"""The pages that a visitor sees: the first page with its form, a task, and the reference of the API."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import get_locale, gettext
from flask_wtf.csrf import generate_csrf
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import AppError, FieldError, InvalidFields, _
from ghibli_flask.extensions import runtime
from ghibli_flask.i18n import waiting_messages
from ghibli_flask.schemas import spec, style_answers, task_answer
from ghibli_flask.security import orders_limit
from ghibli_flask.services import allowances, credits, progress, tasks, uploads
from ghibli_flask.services.orders import Order
from ghibli_flask.styles import DEFAULT_STYLE, STYLES
from ghibli_flask.task_states import TaskState
from ghibli_flask.visitors import current_guest, current_payer, greet, signed_in

visitor = Blueprint("visitor", __name__)

ACCEPTED_TYPES = (
    "image/jpeg,image/png,image/webp,image/heic,image/heif,image/avif,image/gif,image/tiff,"
    ".jpg,.jpeg,.png,.webp,.heic,.heif,.avif,.gif,.tif,.tiff"
)


@visitor.before_request
def welcome() -> None:
    """A browser gets its guest cookie with the first page."""
    if request.method == "GET":
        greet()


@visitor.after_request
def keep_private(response: Response) -> Response:
    """Every page shows what belongs to one visitor, so no shared cache may keep it."""
    response.headers.setdefault("Cache-Control", "private, no-cache")
    return response


@visitor.app_context_processor
def common() -> dict[str, Any]:
    """What every template needs."""
    return {
        "site_name": runtime().settings.site_name,
        "uses_bundled_painter": runtime().settings.uses_bundled_space,
        "locale": str(get_locale() or "en"),
        "client": _client_config(),
        "who": signed_in(),
    }


@visitor.get("/")
def home() -> str:
    """The first page: the form, and what becomes of a photograph."""
    return _home()


@visitor.post("/paint")
@orders_limit
def paint() -> AnyResponse:
    """The form without JavaScript: 303 to the task, or the form again with what was wrong."""
    try:
        submission = tasks.submit(_order_of_form(), current_payer())
    except AppError as error:
        response = make_response(_home(error), error.status)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response
    return redirect(url_for("visitor.task", task_id=submission.task.public_id), code=303)


@visitor.get("/tasks/<task_id>")
def task(task_id: str) -> str:
    """One task, in whatever state it is; the owner also sees the photograph and may act."""
    payer = current_payer()
    row = progress.look_up(task_id)
    view = progress.view(task_id)
    mine = tasks.is_owner(row, payer)
    has_photo = row.owner is not None and mine and row.source_key is not None
    style = STYLES.get(row.style)
    return render_template(
        "task.html",
        task=task_answer(view).model_dump(by_alias=True),
        styles=style_answers(),
        is_owner=mine,
        style_name=gettext(style.name) if style else "",
        style_key=row.style,
        original_url=url_for("pictures.image_original", task_id=task_id) if has_photo else None,
        download_url=url_for("pictures.image", task_id=task_id, download=1),
        attempt_note=_attempt_note(view),
        cancel_is_free=row.started_at is None or tasks.cancel_is_free(row.payer),
    )


@visitor.get("/api/docs")
def api_docs() -> str:
    """The API's reference, made from the same declarations that check the requests."""
    return render_template("api_docs.html", document=spec.spec)


@visitor.get("/api/openapi.json")
def openapi() -> dict[str, Any]:
    """The OpenAPI document."""
    return dict(spec.spec)


def _home(error: AppError | None = None) -> str:
    settings, who = runtime().settings, signed_in()
    shown = None
    if error:
        message = error.fields[0].message if error.fields else error.detail
        text = gettext(message)
        shown = {"title": gettext(error.title), "detail": text % error.params if error.params else text}
    return render_template(
        "home.html",
        styles=style_answers(),
        tries=None if who else allowances.tries_of(current_guest()),
        balance=credits.balance_of(who.user_id) if who else None,
        limits={"max_upload_mb": settings.max_upload_mb, "accept": ACCEPTED_TYPES},
        error=shown,
        form={"style": request.form.get("style", DEFAULT_STYLE), "prompt": request.form.get("prompt", "")},
    )


def _order_of_form() -> Order:
    upload = request.files.get("image")
    photo = uploads.within_limit(upload.read()) if upload and upload.filename else None
    if photo is None:
        raise InvalidFields(fields=(FieldError("image", _("Please choose a photo.")),))
    return Order(mode=Mode.IMAGE_TO_IMAGE, photo=photo, style=request.form.get("style", DEFAULT_STYLE))


def _attempt_note(view: progress.TaskView) -> str | None:
    """A second attempt is told in words, because its progress starts again."""
    if view.state is TaskState.PROCESSING and view.attempt > 1:
        return str(gettext("The first attempt was interrupted. This is a new one; nothing is lost."))
    return None


def _client_config() -> dict[str, Any]:
    """What the scripts on a page need to know."""
    return {
        "csrfToken": generate_csrf(),
        "waitingMessageIntervalMs": runtime().settings.waiting_message_interval_ms,
        "waitingMessages": waiting_messages(),
        "maxUploadMb": runtime().settings.max_upload_mb,
    }
