"""The routes of sharing for programs and for the pages' scripts: make, change, take back, report, list, count."""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint, Response, jsonify, url_for
from pydantic import ConfigDict, Field, StrictBool, model_validator
from spectree import Response as Answers

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import MalformedRequest, _
from ghibli_flask.extensions import runtime
from ghibli_flask.models.share import Share
from ghibli_flask.schemas import Problem, WireModel, checked, spec, utc_text
from ghibli_flask.security import orders_limit
from ghibli_flask.services import gallery, moderation, sharing
from ghibli_flask.services.gallery import Filters, Print
from ghibli_flask.services.sharing import Wishes
from ghibli_flask.storage import stores
from ghibli_flask.visitors import current_guest, current_payer

share_routes = Blueprint("shares", __name__)

TAGS = ("Sharing",)


class ShareWishes(WireModel):
    """What a share shows beside the painted picture; what is left out stays as it is, and is off at first."""

    in_gallery: StrictBool | None = Field(None, description="hang it in the gallery")
    show_prompt: StrictBool | None = Field(None, description="show the words of the order")
    show_original: StrictBool | None = Field(None, description="show the photograph beside the painting")

    @property
    def wishes(self) -> Wishes:
        """The same for the service."""
        return Wishes(self.in_gallery, self.show_prompt, self.show_original)


class ShareJSON(ShareWishes):
    """Which picture is shared: by its task's id, or by the address of one of the caller's own pictures."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string", "minLength": 1}}}
                for name in ("taskId", "generatedUrl")
            ]
        }
    )

    task_id: str | None = Field(None, max_length=64)
    generated_url: str | None = Field(None, max_length=500)
    prompt: str | None = Field(None, description="accepted from older clients; the words are those of the order")
    style: str | None = Field(None, description="accepted from older clients; the style is that of the order")
    mode: str | None = Field(None, description="accepted from older clients; the mode is that of the order")

    @model_validator(mode="after")
    def names_a_picture(self) -> ShareJSON:
        """One of the two says which picture it is."""
        if not self.task_id and not self.generated_url:
            raise ValueError(_("Please give taskId or generatedUrl."))
        return self


class ShareChangeJSON(ShareWishes):
    """What changes. `taskId` proves the right to a picture that was ordered without any cookie."""

    task_id: str | None = Field(None, max_length=64)


class RevokeQuery(WireModel):
    """The proof for a picture that was ordered without any cookie."""

    task_id: str | None = Field(None, max_length=64)


class ShareReportJSON(WireModel):
    """Why a share should be looked at."""

    reason: Literal["person", "rights", "harmful", "other"]


class GalleryQuery(WireModel):
    """Which part of the gallery."""

    mode: Mode | None = None
    style: str | None = Field(None, max_length=64)
    cursor: str | None = Field(None, max_length=64, description="`nextCursor` of the page before")
    limit: int = Field(gallery.PAGE, ge=1, le=gallery.LARGEST_PAGE)


class ShareMade(WireModel):
    """The link of a shared picture."""

    share_id: str
    share_url: str
    duplicate: bool = False


class ShareAnswer(WireModel):
    """A share as its owner sees it; `awaitsApproval` while an operator has to look before it hangs."""

    share_id: str
    share_url: str
    in_gallery: bool
    show_prompt: bool
    show_original: bool
    awaits_approval: bool
    created_at: str


class ReportTaken(WireModel):
    """Somebody will look."""

    received: bool


class GalleryItem(WireModel):
    """One picture of the gallery; `prompt` only where its owner shows it."""

    share_id: str
    share_url: str
    image_url: str
    thumbnail_url: str
    mode: str
    style: str
    prompt: str | None = None
    width: int
    height: int
    colour: str = Field(description="what stands in for the picture while it loads, as #rrggbb")
    created_at: str


class GalleryAnswer(WireModel):
    """A page of the gallery, newest first; `total` counts all pages."""

    items: list[GalleryItem]
    next_cursor: str | None
    total: int


class ListCacheAnswer(WireModel):
    """How often a page of the list was answered from Redis, since Redis began."""

    hits: int
    misses: int
    hit_rate: float | None


class ShareMonitorAnswer(WireModel):
    """Counts about sharing, without anything about anybody."""

    live: int
    in_gallery: int
    waiting: int
    hidden: int
    duplicates_prevented: int
    list_cache: ListCacheAnswer
    stores: list[str]


@share_routes.post("/api/share")
@orders_limit
@spec.validate(
    json=ShareJSON,
    resp=Answers(
        HTTP_201=ShareMade,
        HTTP_200=ShareMade,
        **{f"HTTP_{code}": Problem for code in (400, 403, 404, 409, 422, 429, 503)},
    ),
    tags=TAGS,
)
def share() -> tuple[Response, int]:
    """Give a painted picture a link of its own.

    200 when it has one; with `duplicate` when the same was asked for within five seconds.
    """
    wished: ShareJSON | None = checked().json
    if wished is None:
        raise MalformedRequest
    payer = current_payer()
    task_id = wished.task_id or sharing.task_behind(wished.generated_url or "", payer)
    shared = sharing.share(task_id, payer, wished.wishes)
    body = ShareMade(
        share_id=shared.share.public_id,
        share_url=share_address(shared.share.public_id),
        duplicate=shared.duplicate,
    )
    exclude = None if shared.duplicate else {"duplicate"}
    return jsonify(body.model_dump(by_alias=True, exclude=exclude)), 201 if shared.created else 200


@share_routes.patch("/api/share/<share_id>")
@orders_limit
@spec.validate(
    json=ShareChangeJSON,
    resp=Answers(HTTP_200=ShareAnswer, **{f"HTTP_{code}": Problem for code in (400, 403, 404, 409, 422, 429, 503)}),
    tags=TAGS,
)
def change_share(share_id: str) -> Response:
    """Change what a share shows, or hang it in the gallery and take it down."""
    wished: ShareChangeJSON | None = checked().json
    wished = wished or ShareChangeJSON()
    changed = sharing.change(share_id, current_payer(), wished.wishes, wished.task_id)
    return jsonify(_share_answer(changed).model_dump(by_alias=True))


@share_routes.delete("/api/share/<share_id>")
@spec.validate(
    query=RevokeQuery, resp=Answers("HTTP_204", HTTP_403=Problem, HTTP_404=Problem), tags=TAGS, skip_validation=False
)
def revoke_share(share_id: str) -> tuple[str, int]:
    """Take a share back: all its addresses answer 404 from now on."""
    query: RevokeQuery = checked().query
    sharing.revoke(share_id, current_payer(), query.task_id)
    return "", 204


@share_routes.post("/api/share/<share_id>/report")
@spec.validate(
    json=ShareReportJSON,
    resp=Answers(HTTP_202=ReportTaken, **{f"HTTP_{code}": Problem for code in (400, 403, 404, 422, 429)}),
    tags=TAGS,
)
def report_share(share_id: str) -> tuple[Response, int]:
    """Ask an operator to look at a shared picture."""
    said: ShareReportJSON | None = checked().json
    if said is None:
        raise MalformedRequest
    moderation.report(share_id, said.reason, current_guest())
    return jsonify(ReportTaken(received=True).model_dump()), 202


@share_routes.get("/api/share/list")
@spec.validate(query=GalleryQuery, resp=Answers(HTTP_200=GalleryAnswer, HTTP_422=Problem), tags=TAGS)
def list_shares() -> Response:
    """The gallery, page by page, newest first."""
    query: GalleryQuery = checked().query
    mode = query.mode.value if query.mode else None
    page = gallery.wall(Filters(mode, query.style or None), query.cursor, query.limit)
    body = GalleryAnswer(items=[_item(one) for one in page.prints], next_cursor=page.older, total=page.total)
    return _fresh(body.model_dump(by_alias=True))


@share_routes.get("/api/share/monitor")
@spec.validate(resp=Answers(HTTP_200=ShareMonitorAnswer), tags=TAGS)
def share_monitor() -> Response:
    """How much is shared, and how well the list is cached."""
    counts, cache = gallery.counts(), gallery.cache_counts()
    asked = cache["hits"] + cache["misses"]
    body = ShareMonitorAnswer(
        live=counts["live"],
        in_gallery=counts["listed"],
        waiting=counts["waiting"],
        hidden=counts["hidden"],
        duplicates_prevented=cache["duplicates"],
        list_cache=ListCacheAnswer(
            hits=cache["hits"], misses=cache["misses"], hit_rate=round(cache["hits"] / asked, 3) if asked else None
        ),
        stores=list(stores().order),
    )
    return _fresh(body.model_dump(by_alias=True))


def share_address(share_id: str) -> str:
    """The whole address of a share's page, as it is passed on."""
    return runtime().settings.public_url + url_for("share_pages.share", share_id=share_id)


def _share_answer(share: Share) -> ShareAnswer:
    return ShareAnswer(
        share_id=share.public_id,
        share_url=share_address(share.public_id),
        in_gallery=share.in_gallery,
        show_prompt=share.show_prompt,
        show_original=share.show_original,
        awaits_approval=share.awaits_approval,
        created_at=utc_text(share.created_at),
    )


def _item(one: Print) -> GalleryItem:
    base = runtime().settings.public_url
    return GalleryItem(
        share_id=one.share_id,
        share_url=share_address(one.share_id),
        image_url=one.public_address or base + url_for("share_pages.picture", share_id=one.share_id),
        thumbnail_url=base + url_for("share_pages.thumbnail", share_id=one.share_id),
        mode=one.mode,
        style=one.style,
        prompt=one.prompt,
        width=one.width,
        height=one.height,
        colour=one.colour,
        created_at=utc_text(one.created_at),
    )


def _fresh(body: dict[str, Any]) -> Response:
    """An answer that nobody keeps without asking again: what was taken back is gone at once."""
    response = jsonify(body)
    response.headers["Cache-Control"] = "no-cache"
    return response
