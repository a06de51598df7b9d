"""Sharing over HTTP: the calls, the pages with their forms, and that nothing public leads to a task or a store."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from PIL import Image
from sqlalchemy import select

from ghibli_flask.database import reading
from ghibli_flask.images import DigitalSourceType, mark, read_mark
from ghibli_flask.models import ImageTask, Share
from ghibli_flask.services import files, flags, runs, tasks
from ghibli_flask.services.tasks import Ending
from ghibli_flask.task_states import Outcome
from tests.support.member import member
from tests.support.standins.r2 import R2StandIn
from tests.support.visitor import Visitor, photo

PARTS = ("", "/picture", "/thumbnail", "/card", "/original")


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """A site with an administrator and plenty of free tries."""
    return app_factory(
        app_url="https://window.example",
        admin_emails=("admin@example.org",),
        guest_daily_limit=1000,
        guest_daily_limit_per_address=1000,
        orders_per_minute=0,
    )


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """A browser with a guest cookie."""
    return Visitor(app)


@pytest.fixture
def stranger(app: Flask) -> Visitor:
    """Another browser, elsewhere."""
    return Visitor(app, "198.51.100.9")


def painted(who: Visitor, outcome: Outcome = Outcome.PAINTED, **fields: Any) -> str:
    """An ordered picture that is done; gives the task's id."""
    task_id = who.ordered(photo(60, 40), **fields)
    with who.app.app_context():
        run = runs.claim(task_id)
        assert run is not None
        data = mark(photo(60, 40), DigitalSourceType.COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA)
        assert tasks.settle(run.task_id, run.attempt, Ending(outcome, files.keep(data, "results", "jpg")))
    return task_id


def shared(who: Visitor, task_id: str | None = None, **wishes: bool) -> str:
    """The id of a new share."""
    answer = who.post("/api/share", json={"taskId": task_id or painted(who), **wishes})
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return str(answer.get_json()["shareId"])


def listed(who: Visitor, query: str = "") -> list[str]:
    """The shares that the list gives."""
    answer = who.get(f"/api/share/list{query}")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return [item["shareId"] for item in answer.get_json()["items"]]


class Head(HTMLParser):
    """The meta tags of a page by name or property."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.told: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what search engines and chats read."""
        values = dict(attrs)
        name = values.get("name") or values.get("property")
        if tag == "meta" and name:
            self.told[name] = values.get("content") or ""


def page_of(who: Visitor, share_id: str) -> str:
    """The page of a share."""
    answer = who.get(f"/share/{share_id}")
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


# --- The calls ---


def test_a_picture_is_shared_once(visitor: Visitor) -> None:
    """201 with the share's id and address, then 200 with the same and `duplicate`."""
    task_id = painted(visitor)
    first = visitor.post("/api/share", json={"taskId": task_id})
    again = visitor.post("/api/share", json={"taskId": task_id})
    share_id = first.get_json()["shareId"]
    assert first.status_code == 201
    assert first.get_json() == {"shareId": share_id, "shareUrl": f"https://window.example/share/{share_id}"}
    assert again.status_code == 200
    assert again.get_json() == {**first.get_json(), "duplicate": True}


def test_older_clients_share_by_the_pictures_address(visitor: Visitor, stranger: Visitor) -> None:
    """`generatedUrl` with its prompt, style and mode shares the caller's own picture, and nobody else's."""
    task_id = painted(visitor)
    body = {"generatedUrl": f"/api/image/{task_id}", "prompt": "a cat", "style": "ghibli", "mode": "image-to-image"}
    assert visitor.post("/api/share", json=body).status_code == 201
    for address in (body["generatedUrl"], "https://elsewhere.example/a.png", "/api/image/nothing"):
        refused = stranger.post("/api/share", json={**body, "generatedUrl": address})
        assert (refused.status_code, refused.get_json()["code"]) == (403, "not_your_picture")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_fields"),
        ({"taskId": "0" * 32}, 404, "not_found"),
        ({"taskId": "x", "inGallery": "perhaps"}, 422, "invalid_fields"),
    ],
)
def test_what_cannot_be_shared_is_refused(visitor: Visitor, body: dict[str, Any], status: int, code: str) -> None:
    """Missing, unknown and malformed pictures are told apart by their codes."""
    answer = visitor.post("/api/share", json=body)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)


def test_a_returned_original_is_never_shared(visitor: Visitor) -> None:
    """409 not_painted, and the page of the task offers no link."""
    task_id = painted(visitor, Outcome.ORIGINAL)
    answer = visitor.post("/api/share", json={"taskId": task_id})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "not_painted")
    assert "share-panel" not in visitor.get(f"/tasks/{task_id}").get_data(as_text=True)


def test_owners_change_and_revoke(visitor: Visitor, stranger: Visitor) -> None:
    """PATCH changes what is named and leaves the rest; DELETE ends it; others may do neither."""
    share_id = shared(visitor, painted(visitor, prompt="lanterns"), showPrompt=True)
    for refused in (
        stranger.client.patch(f"/api/share/{share_id}", json={}, headers={"X-CSRFToken": stranger.token}),
        stranger.delete(f"/api/share/{share_id}"),
    ):
        assert (refused.status_code, refused.get_json()["code"]) == (403, "forbidden")
    changed = visitor.client.patch(
        f"/api/share/{share_id}", json={"inGallery": True}, headers={"X-CSRFToken": visitor.token}
    )
    told = changed.get_json()
    assert (told["inGallery"], told["showPrompt"], told["showOriginal"], told["awaitsApproval"]) == (
        True,
        True,
        False,
        False,
    )
    assert listed(stranger) == [share_id]
    assert visitor.delete(f"/api/share/{share_id}").status_code == 204
    assert visitor.delete(f"/api/share/{share_id}").status_code == 404


def test_a_revoked_share_is_404_everywhere(visitor: Visitor, stranger: Visitor) -> None:
    """Every address, the list and the report: also for a browser that had seen it and asks with its ETag."""
    share_id = shared(visitor, inGallery=True, showOriginal=True)
    tags = {part: stranger.get(f"/share/{share_id}{part}").headers.get("ETag") for part in PARTS}
    assert listed(stranger) == [share_id]
    visitor.delete(f"/api/share/{share_id}")
    for part, tag in tags.items():
        for who in (visitor, stranger):
            answer = who.get(f"/share/{share_id}{part}", headers={"If-None-Match": tag} if tag else {})
            assert answer.status_code == 404, part
    assert listed(stranger) == []
    assert share_id not in stranger.get("/gallery").get_data(as_text=True)
    assert stranger.post(f"/api/share/{share_id}/report", json={"reason": "other"}).status_code == 404


def test_files_are_streamed(visitor: Visitor, stranger: Visitor) -> None:
    """200 with a strong ETag, 304 for who has it, 206 for a part; no shared cache may keep any of it."""
    share_id = shared(visitor, showOriginal=True)
    for part in PARTS[1:]:
        whole = stranger.get(f"/share/{share_id}{part}")
        tag = whole.headers["ETag"]
        assert whole.status_code == 200
        assert not tag.startswith("W/")
        assert whole.headers["Cache-Control"] == "private, no-cache"
        assert whole.headers["Content-Type"] in {"image/jpeg", "image/webp"}
        assert stranger.get(f"/share/{share_id}{part}", headers={"If-None-Match": tag}).status_code == 304
        piece = stranger.get(f"/share/{share_id}{part}", headers={"Range": "bytes=0-9"})
        assert (piece.status_code, piece.data) == (206, whole.data[:10])


def test_a_hidden_original_has_no_address(visitor: Visitor, stranger: Visitor) -> None:
    """Without the owner's tick the photograph is 404, to the owner as well, and the page does not compare."""
    share_id = shared(visitor)
    for who in (visitor, stranger):
        assert who.get(f"/share/{share_id}/original").status_code == 404
    assert "data-compare" not in page_of(stranger, share_id)


def test_the_mark_survives_sharing(visitor: Visitor) -> None:
    """Picture, thumbnail and card say that a model made them; the card is 1200 by 630."""
    share_id = shared(visitor)
    for part in ("picture", "thumbnail", "card"):
        data = visitor.get(f"/share/{share_id}/{part}").data
        assert read_mark(data) is DigitalSourceType.COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA, part
    with Image.open(BytesIO(visitor.get(f"/share/{share_id}/card").data)) as card:
        assert (card.format, card.size) == ("JPEG", (1200, 630))


# --- The list ---


def test_the_list_is_the_contracts(visitor: Visitor, stranger: Visitor) -> None:
    """Items have the promised fields; the words only where they are shown; pages are linked by their cursor."""
    first = shared(visitor, painted(visitor, prompt="secret words", style="night"), inGallery=True)
    second = shared(visitor, painted(visitor, prompt="open words"), inGallery=True, showPrompt=True)
    shared(visitor)
    page = stranger.get("/api/share/list?limit=1").get_json()
    (item,) = page["items"]
    assert item["shareId"] == second
    assert item["shareUrl"] == f"https://window.example/share/{second}"
    assert item["imageUrl"] == f"https://window.example/share/{second}/picture"
    assert item["thumbnailUrl"] == f"https://window.example/share/{second}/thumbnail"
    assert (item["mode"], item["style"], item["prompt"]) == ("image-to-image", "ghibli", "open words")
    assert page["total"] == 2
    rest = stranger.get(f"/api/share/list?limit=1&cursor={page['nextCursor']}").get_json()
    assert [one["shareId"] for one in rest["items"]] == [first]
    assert (rest["items"][0]["prompt"], rest["nextCursor"]) == (None, None)
    assert listed(stranger, "?style=night") == [first]
    assert listed(stranger, "?mode=text-to-image") == []
    for query in ("?limit=0", "?limit=61", "?mode=video", "?cursor=zz"):
        assert stranger.get(f"/api/share/list{query}").status_code == 422, query


def test_the_monitor_counts(visitor: Visitor) -> None:
    """Numbers about shares, duplicates and the cache, and the names of the stores."""
    task_id = painted(visitor)
    for _time in range(2):
        visitor.post("/api/share", json={"taskId": task_id, "inGallery": True})
    shared(visitor)
    for _time in range(3):
        listed(visitor)
    told = visitor.get("/api/share/monitor").get_json()
    assert told == {
        "live": 2,
        "inGallery": 1,
        "waiting": 0,
        "hidden": 0,
        "duplicatesPrevented": 1,
        "listCache": {"hits": 2, "misses": 1, "hitRate": 0.667},
        "stores": ["local"],
    }


def test_a_public_order_is_listed_when_it_is_painted(visitor: Visitor, stranger: Visitor) -> None:
    """`public` in the form or in JSON hangs the picture, without words and photograph."""
    painted(visitor, public="true", prompt="my words")
    (item,) = stranger.get("/api/share/list").get_json()["items"]
    assert item["prompt"] is None
    assert stranger.get(f"/share/{item['shareId']}/original").status_code == 404


# --- The pages ---


def test_a_chat_finds_what_it_needs(visitor: Visitor, stranger: Visitor) -> None:
    """Open Graph and Twitter tags with whole addresses, words only if shown, and the card's true sides."""
    share_id = shared(visitor, painted(visitor, prompt="a quiet lake"), showPrompt=True)
    text = page_of(stranger, share_id)
    told = Head(text).told
    assert told["og:url"] == f"https://window.example/share/{share_id}"
    assert told["og:image"] == told["twitter:image"] == f"https://window.example/share/{share_id}/card"
    assert (told["og:image:width"], told["og:image:height"]) == ("1200", "630")
    assert told["twitter:card"] == "summary_large_image"
    assert "a quiet lake" in told["og:description"]
    assert told["robots"] == "noindex"
    assert "Made by AI" in told["og:description"]
    assert re.search(r"Made by AI[^<]*</p>", text)
    listed_id = shared(visitor, inGallery=True)
    assert "robots" not in Head(page_of(stranger, listed_id)).told
    assert "a quiet lake" not in page_of(stranger, shared(visitor, painted(visitor, prompt="a quiet lake")))


def test_forms_do_all_of_it(visitor: Visitor, stranger: Visitor) -> None:
    """Without scripts: make a link, change it on either page, report it, take it back."""
    task_id = painted(visitor, prompt="words")
    made = visitor.post(f"/tasks/{task_id}/share", data={"show_original": "1"})
    assert (made.status_code, made.location) == (303, f"/tasks/{task_id}#share")
    share_id = re.search(r"https://window\.example/share/(\w+)", visitor.get(f"/tasks/{task_id}").get_data(True))[1]
    assert stranger.get(f"/share/{share_id}/original").status_code == 200
    changed = visitor.post(f"/share/{share_id}/change", data={"show_prompt": "1", "in_gallery": "1"})
    assert (changed.status_code, changed.location) == (303, f"/share/{share_id}")
    assert stranger.get(f"/share/{share_id}/original").status_code == 404
    assert listed(stranger) == [share_id]
    assert stranger.post(f"/share/{share_id}/report", data={"reason": "rights"}).status_code == 303
    assert stranger.post(f"/share/{share_id}/report", data={"reason": "boredom"}).status_code == 422
    assert stranger.post(f"/share/{share_id}/revoke").status_code == 403
    gone = visitor.post(f"/share/{share_id}/revoke")
    assert (gone.status_code, gone.location) == (303, f"/tasks/{task_id}#share")
    assert visitor.get(f"/share/{share_id}").status_code == 404


def test_only_the_owner_sees_the_owners_part(visitor: Visitor, stranger: Visitor) -> None:
    """The panel is the owner's, the report everybody else's."""
    share_id = shared(visitor)
    mine, others = page_of(visitor, share_id), page_of(stranger, share_id)
    assert ("share-panel" in mine, "share-report" in mine) == (True, False)
    assert ("share-panel" in others, "share-report" in others) == (False, True)


def test_the_gallery_filters_by_links(visitor: Visitor, stranger: Visitor) -> None:
    """Each filter and each page is an address of its own; unknown filters show everything."""
    night = shared(visitor, painted(visitor, style="night"), inGallery=True)
    day = shared(visitor, inGallery=True)
    whole = stranger.get("/gallery").get_data(as_text=True)
    assert whole.index(day) < whole.index(night)
    assert 'href="/gallery?mode=image-to-image"' in whole
    assert 'href="/gallery?style=night"' in whole
    only = stranger.get("/gallery?style=night&mode=image-to-image").get_data(as_text=True)
    assert night in only
    assert day not in only
    assert "wall__item" not in stranger.get("/gallery?mode=text-to-image").get_data(as_text=True)
    assert night in stranger.get("/gallery?style=boredom&mode=x").get_data(as_text=True)
    assert stranger.get("/gallery?cursor=zz").status_code == 422


def test_gallery_pictures_reserve_their_place(visitor: Visitor) -> None:
    """Each picture has its sides and a ground in its own colour, so that nothing moves while it loads."""
    shared(visitor, inGallery=True)
    text = visitor.get("/gallery").get_data(as_text=True)
    assert re.search(r'<path fill="#[0-9a-f]{6}"', text)
    assert re.search(r'<img src="/share/\w+/thumbnail" width="60" height="40"', text)


def test_nothing_public_leads_to_a_task_or_a_store(visitor: Visitor, stranger: Visitor) -> None:
    """No page, list, card or header holds a task's id, its row's number behind a name, or the key of any file."""
    task_id = painted(visitor, prompt="open words")
    share_id = shared(visitor, task_id, inGallery=True, showPrompt=True, showOriginal=True)
    with visitor.app.app_context(), reading() as session:
        task = session.scalars(select(ImageTask).where(ImageTask.public_id == task_id)).one()
        share = session.scalars(select(Share).where(Share.public_id == share_id)).one()
    secrets = [task_id, task.source_key, task.result_key, share.thumbnail_key, share.card_key, task.owner]
    hidden = [str(secret) for secret in secrets]
    hidden += [key.rsplit("/", 1)[-1].split(".")[0] for key in hidden[1:5]]
    addresses = [f"/share/{share_id}{part}" for part in PARTS]
    addresses += ["/gallery", "/api/share/list", "/api/share/monitor", "/", f"/share/{share_id}/nothing"]
    for address in addresses:
        answer = stranger.get(address)
        seen = answer.data + str(answer.headers).encode()
        assert not [secret for secret in hidden if secret.encode() in seen], address


# --- Operators ---


def test_operators_look_first_hide_and_restore(app: Flask, visitor: Visitor, stranger: Visitor) -> None:
    """With the switch on a picture waits at the desk; its buttons let it hang, hide it and bring it back."""
    with app.app_context():
        flags.switch(flags.GALLERY_APPROVAL, flags.ON, by="an-operator")
    admin = member(app, "admin@example.org", "203.0.113.5")
    share_id = shared(visitor, inGallery=True)
    assert listed(stranger) == []
    assert share_id in admin.get("/admin/ui/shares").get_data(as_text=True)
    assert admin.post(f"/admin/ui/shares/{share_id}/approve").status_code == 303
    assert listed(stranger) == [share_id]
    assert admin.post(f"/admin/ui/shares/{share_id}/hide").status_code == 303
    assert stranger.get(f"/share/{share_id}").status_code == 404
    assert admin.get(f"/admin/ui/shares/{share_id}/thumbnail").status_code == 200
    assert admin.post(f"/admin/ui/shares/{share_id}/restore").status_code == 303
    assert listed(stranger) == [share_id]
    assert "restore-share" in admin.get("/admin/ui/audit").get_data(as_text=True)


def test_reports_are_shown_at_the_desk(app: Flask, visitor: Visitor, stranger: Visitor) -> None:
    """202 for the reporter, and the administrator reads which picture and why."""
    share_id = shared(visitor)
    assert stranger.post(f"/api/share/{share_id}/report", json={"reason": "rights"}).status_code == 202
    assert stranger.post(f"/api/share/{share_id}/report", json={"reason": "dull"}).status_code == 422
    desk = member(app, "admin@example.org", "203.0.113.5").get("/admin/ui/shares").get_data(as_text=True)
    assert share_id in desk
    assert "It uses a work of mine without permission: 1" in desk


# --- The copy with a public address ---


def test_only_a_copy_has_a_public_address(app_factory: Callable[..., Flask], r2: R2StandIn) -> None:
    """Where the bucket is public, the list names a copy under a key of its own, which is gone with the revocation."""
    app = app_factory(**r2.settings(), cloudflare_r2_public_url="https://pictures.example", guest_daily_limit=9)
    visitor, before = Visitor(app), len(r2.s3.keys())
    task_id = painted(visitor)
    unlisted = shared(visitor, task_id)
    kept = set(r2.s3.keys())
    assert len(kept) == before + 4  # Photograph, picture, thumbnail, card.
    patch = {"json": {"inGallery": True}, "headers": {"X-CSRFToken": visitor.token}}
    assert visitor.client.patch(f"/api/share/{unlisted}", **patch).status_code == 200
    (copy,) = set(r2.s3.keys()) - kept
    (item,) = visitor.get("/api/share/list").get_json()["items"]
    assert item["imageUrl"] == f"https://pictures.example/{copy}"
    page = visitor.get("/gallery").get_data(as_text=True) + visitor.get(f"/share/{unlisted}").get_data(as_text=True)
    assert not [key for key in kept if key in page + str(item)]
    patch["json"] = {"inGallery": False}
    visitor.client.patch(f"/api/share/{unlisted}", **patch)
    assert set(r2.s3.keys()) == kept
    patch["json"] = {"inGallery": True}
    visitor.client.patch(f"/api/share/{unlisted}", **patch)
    visitor.delete(f"/api/share/{unlisted}")
    assert set(r2.s3.keys()) == kept
    with app.app_context():
        files.drain()
    assert len(r2.s3.keys()) == before + 2  # Thumbnail and card have followed.
