"""The pages that a visitor sees: the first page with its form, a task, and the reference of the API."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import get_locale, gettext
from flask_wtf.csrf import generate_csrf
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask import openapi
from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import AppError, TooManyRequests
from ghibli_flask.extensions import runtime
from ghibli_flask.i18n import told, waiting_messages
from ghibli_flask.images import THUMBNAIL_SIDE
from ghibli_flask.models.task import ImageTask
from ghibli_flask.pages import order_form
from ghibli_flask.schemas import failure_reason, style_answers, task_answer, wish_answer
from ghibli_flask.security import orders_limit
from ghibli_flask.services import (
    allowances,
    credits,
    flags,
    payers,
    pictures,
    progress,
    ratings,
    retention,
    sharing,
    tasks,
    uploads,
    wishes,
)
from ghibli_flask.styles import STYLES
from ghibli_flask.task_states import Outcome, TaskState
from ghibli_flask.visitors import current_guest, current_payer, greet, signed_in, signed_in_if_known

visitor = Blueprint("visitor", __name__)

PAINTER_AWAY = frozenset({"quota", "engine_unavailable", "engine_busy", "engine_timeout", "too_late"})
"""The failures after which it makes sense to wait for the painter's return."""

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
        "service_worker": runtime().settings.service_worker,
        "thumbnail_side": THUMBNAIL_SIDE,
        "uses_bundled_painter": runtime().settings.uses_bundled_space,
        "locale": str(get_locale() or "en"),
        "client": _client_config(),
        "who": signed_in_if_known(),
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
        submission = tasks.submit(order_form.order(), current_payer())
    except AppError as error:
        return _form_again(error)
    return redirect(url_for("visitor.task", task_id=submission.task.public_id), code=303)


@visitor.post("/shared-photo")
@orders_limit
def receive_photo() -> AnyResponse:
    """What a phone's share sheet hands over where no service worker takes it: kept for a day, and laid on the easel."""
    photo = request.files.get("image")
    if photo is None:
        return redirect(url_for("visitor.home"), code=303)
    greet()
    try:
        kept = uploads.keep(uploads.within_limit(photo.read()), current_payer())
    except AppError as error:
        return _form_again(error)
    return redirect(url_for("visitor.home", photo=kept.public_id), code=303)


@visitor.errorhandler(TooManyRequests)
def slow_down(error: TooManyRequests) -> AnyResponse:
    """Too many orders in a minute: the form again, so that what was typed is not lost."""
    return _form_again(error)


@visitor.get("/tasks/<task_id>")
def task(task_id: str) -> str:
    """One task, in whatever state it is; the owner also sees the photograph and may act."""
    payer = current_payer()
    row = progress.look_up(task_id)
    view = progress.view(task_id)
    mine = tasks.is_owner(row, payer)
    has_photo = row.owner is not None and mine and row.source_key is not None
    from_words = row.mode == Mode.TEXT_TO_IMAGE
    style = STYLES.get(row.style)
    return render_template(
        "task.html",
        task=task_answer(view).model_dump(by_alias=True),
        styles=style_answers(),
        is_owner=mine,
        style_name=gettext(style.name) if style else "",
        style_key=row.style,
        from_words=from_words,
        prompt=row.prompt if mine else "",
        reason=failure_reason(view),
        paid_by_account=row.payer.startswith(payers.USER),
        may_repeat=mine and (from_words or row.source_key is not None),
        original_url=url_for("pictures.image_original", task_id=task_id) if has_photo else None,
        download_url=url_for("pictures.image", task_id=task_id, download=1),
        attempt_note=_attempt_note(view),
        sharing=_sharing(row) if mine and row.outcome == Outcome.PAINTED else None,
        picture_width=row.result_width,
        picture_height=row.result_height,
        rating=ratings.of_task(row) if mine and row.outcome == Outcome.PAINTED else None,
        keeping=retention.keeping_of(row) if mine else None,
        leftover=pictures.leftover_of(row) if mine else None,
        **_wish(row, mine),
        cancel_is_free=row.started_at is None or tasks.cancel_is_free(row.payer),
    )


@visitor.get("/api/docs")
def api_docs() -> str:
    """The API's reference, made from the same declarations that check the requests."""
    return render_template("api_docs.html", document=openapi.document())


@visitor.get("/api/openapi.json")
def openapi_document() -> dict[str, Any]:
    """The OpenAPI document."""
    return openapi.document()


def _home(error: AppError | None = None) -> str:
    settings, who, switched = runtime().settings, signed_in(), flags.current()
    closed = order_form.closed(switched)
    form = order_form.typed(switched.modes)
    photo = request.files.get("image")
    return render_template(
        "home.html",
        styles=style_answers(),
        tries=None if who else allowances.tries_of(current_guest()),
        balance=credits.balance_of(who.user_id) if who else None,
        kept_days=payers.kept_for(current_payer().owner).days,
        photo_days=settings.source_ttl_days,
        limits={"max_upload_mb": settings.max_upload_mb, "accept": ACCEPTED_TYPES},
        modes=switched.modes,
        painter_reads_words=not (settings.uses_bundled_space and switched.engines[:1] == ("gradio",)),
        gallery_needs_approval=switched.gallery_needs_approval,
        sizes={"photo_size": order_form.PHOTO_SIZES, "words_size": order_form.WORDS_SIZES},
        closed=told(closed) if closed else None,
        error=told(error) if error and not closed else None,
        photo_was_sent=bool(photo and photo.filename),
        photo_ahead=order_form.photo_ahead(),
        form=form,
        shows_more=any(form[name] for name in order_form.SELDOM),
    )


def _form_again(error: AppError) -> Response:
    response = make_response(_home(error), error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _sharing(row: ImageTask) -> dict[str, Any]:
    """What the owner's panel for sharing needs."""
    share = sharing.of_task(row)
    return {
        "share": share,
        "url": share and runtime().settings.public_url + url_for("share_pages.share", share_id=share.public_id),
        "from_photograph": row.source_key is not None,
        "has_prompt": bool(row.prompt),
    }


def _wish(row: ImageTask, mine: bool) -> dict[str, Any]:
    """What became of "paint it when the painter is back", or whether that can be wished."""
    if not mine or row.owner is None or not wishes.may_be_wished(row):
        return {"wish": None, "may_wish": False}
    wish = wishes.view_of(row)
    has_photo = row.source_key is not None or row.mode == Mode.TEXT_TO_IMAGE
    painter_was_away = row.outcome == Outcome.ORIGINAL or row.error_code in PAINTER_AWAY
    return {
        "wish": wish_answer(wish).model_dump(by_alias=True) if wish else None,
        "may_wish": has_photo and painter_was_away,
    }


def _attempt_note(view: progress.TaskView) -> str | None:
    """A second attempt is told in words, because its progress starts again."""
    if view.state is TaskState.PROCESSING and view.attempt > 1:
        return str(gettext("The first attempt was interrupted. This is a new one; nothing is lost."))
    if view.state is TaskState.QUEUED and view.attempt > 0:
        return str(gettext("The painting was interrupted. Your picture waits for the next brush; nothing is lost."))
    return None


def _client_config() -> dict[str, Any]:
    """What the scripts on a page need to know."""
    return {
        "csrfToken": generate_csrf(),
        "waitingMessageIntervalMs": runtime().settings.waiting_message_interval_ms,
        "waitingMessages": waiting_messages(),
        "maxUploadMb": runtime().settings.max_upload_mb,
    }
