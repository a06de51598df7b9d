"""My pictures, as programs and as pages get them: pages and their cursors, filters, downloads and deletions."""

import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from ghibli_flask.database import transaction
from ghibli_flask.models import ImageTask
from ghibli_flask.services import bundles, files, history, pictures, previews, progress, tasks, tombstones
from ghibli_flask.services.allowances import Guest
from ghibli_flask.services.tasks import Ending
from ghibli_flask.storage import FileMissing, stores
from ghibli_flask.task_states import Outcome
from tests.support.member import member
from tests.support.runs import claim, paint
from tests.support.visitor import Visitor, photo

FEW = {"guest_daily_limit": 1000, "guest_daily_limit_per_address": 1000, "orders_per_minute": 0}


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """An application with tries for everything below."""
    return app_factory(**FEW)


def small(visitor: Visitor, **fields: Any) -> str:
    """An accepted order of a small photograph."""
    return visitor.ordered(photo(32, 24), **fields)


def painted(visitor: Visitor, **fields: Any) -> str:
    """A painted order with its thumbnail, as the worker ends it."""
    task_id = small(visitor, **fields)
    run = claim(visitor.app, task_id)
    with visitor.app.app_context():
        picture = photo(640, 480)
        ending = Ending(Outcome.PAINTED, files.keep(picture, "results", "jpg"), preview=previews.keep(picture))
        assert tasks.settle(run.task_id, run.attempt, ending)
    return task_id


def listed(visitor: Visitor, **query: Any) -> dict[str, Any]:
    """A page of the API."""
    answer = visitor.get("/api/tasks", query_string=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "private, no-cache"
    return dict(answer.get_json())


def ids(visitor: Visitor, **query: Any) -> list[str]:
    """The ids of a page."""
    return [item["taskId"] for item in listed(visitor, **query)["items"]]


def row_of(app: Flask, task_id: str) -> ImageTask:
    """The row of an order."""
    with app.app_context():
        return progress.look_up(task_id)


def owner_of(app: Flask, task_id: str) -> Guest:
    """The guest whose order this is, as the services know it."""
    owner = row_of(app, task_id).owner
    assert owner is not None
    return Guest(owner.removeprefix("guest:"), "")


# --- The list ---


def test_pages_hold_everything_once_newest_first(visitor: Visitor) -> None:
    """Following `nextCursor` gives every order once, newest first, and what is ordered meanwhile moves nothing."""
    made = [small(visitor) for _number in range(5)]
    found, cursor = [], None
    while True:
        page = listed(visitor, limit=2, **({"cursor": cursor} if cursor else {}))
        found += [item["taskId"] for item in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
        small(visitor)
    assert found == made[::-1]


def test_the_way_back_leads_over_the_same_pages(app: Flask, visitor: Visitor) -> None:
    """The cursors of a page lead to its neighbours in both directions, down to the first and the last page."""
    made = [small(visitor) for _number in range(6)][::-1]
    payer = owner_of(app, made[0])
    with app.app_context():

        def page(cursor: str | None) -> tuple[list[str], str | None, str | None]:
            read = history.page(payer, history.Filters(), cursor, limit=2)
            return [entry.public_id for entry in read.entries], read.older, read.newer

        first, older, newer = page(None)
        assert (first, newer) == (made[:2], None)
        second, older, newer = page(older)
        assert second == made[2:4]
        assert page(newer)[0] == first
        third, end, back = page(older)
        assert (third, end) == (made[4:], None)
        assert page(back)[0] == second


def test_an_item_tells_what_an_owner_needs(visitor: Visitor) -> None:
    """A painted order has its addresses, its sides and the days on which picture and photograph go."""
    task_id = painted(visitor, style="night", prompt="more stars")
    (item,) = listed(visitor)["items"]
    picture = f"/api/image/{task_id}"
    told = {name: item[name] for name in ("status", "style", "prompt", "urls", "thumbnailUrl", "width", "height")}
    assert told == {
        "status": "SUCCESS", "style": "night", "prompt": "more stars", "urls": [picture],
        "thumbnailUrl": f"{picture}/thumbnail", "width": 640, "height": 480,
    }  # fmt: skip
    assert item["keptUntil"] > item["finishedAt"]
    assert item["photoKeptUntil"]
    assert (item["shared"], item["wish"], item["error"]) == (False, None, None)


def test_a_shared_picture_has_no_day_to_go(visitor: Visitor) -> None:
    """While it is shared `keptUntil` is null; taken back, the picture has a day again."""
    task_id = painted(visitor)
    share_id = visitor.post("/api/share", json={"taskId": task_id}).get_json()["shareId"]
    (item,) = listed(visitor, shared=1)["items"]
    assert (item["shared"], item["keptUntil"]) == (True, None)
    assert visitor.delete(f"/api/share/{share_id}").status_code < 300
    assert listed(visitor, shared=1)["items"] == []
    assert listed(visitor)["items"][0]["keptUntil"]


def test_what_failed_says_why_and_what_is_wished(visitor: Visitor) -> None:
    """A failed order has its sentence and the wish that was made for it."""
    task_id = small(visitor)
    paint(visitor.app, task_id, Outcome.FAILED, "internal")
    visitor.post(f"/api/tasks/{task_id}/retry", json={"whenReady": True})
    (item,) = listed(visitor)["items"]
    assert (item["status"], item["code"], item["refunded"]) == ("FAILED", "internal", True)
    assert item["error"].endswith("Your try has come back.")
    assert item["wish"]["state"] == "waiting"


def test_filters_choose(app: Flask, visitor: Visitor) -> None:
    """State, mode, style and shared choose alone and together, in the API and on the page."""
    done = painted(visitor, style="night")
    golden = painted(visitor, style="golden")
    failed = small(visitor)
    paint(app, failed, Outcome.FAILED, "internal")
    original = small(visitor)
    paint(app, original, Outcome.ORIGINAL, "quota")
    waiting = small(visitor)
    visitor.post("/api/share", json={"taskId": golden})
    for query, expected in (
        ({"state": "painted"}, [golden, done]),
        ({"state": "not-painted"}, [original, failed]),
        ({"state": "unfinished"}, [waiting]),
        ({"style": "night"}, [done]),
        ({"state": "painted", "style": "night", "mode": "image-to-image"}, [done]),
        ({"mode": "text-to-image"}, []),
        ({"shared": "1"}, [golden]),
    ):
        assert ids(visitor, **query) == expected, query
        page = visitor.get("/pictures", query_string=query).text
        assert [one for one in (waiting, original, failed, golden, done) if f'value="{one}"' in page] == expected, query
    assert visitor.get("/api/tasks?state=anything").status_code == 422
    assert f'value="{done}"' in visitor.get("/pictures?state=anything&style=none").text


@pytest.mark.parametrize("cursor", ["x", "o", "o-1", "ozz", "o" + "f" * 17, "n1 OR 1"])
def test_a_place_that_is_none_is_refused(visitor: Visitor, cursor: str) -> None:
    """A broken cursor is 422, in the API and on the page."""
    assert visitor.get("/api/tasks", query_string={"cursor": cursor}).status_code == 422
    assert visitor.get("/pictures", query_string={"cursor": cursor}).status_code == 422


@pytest.mark.parametrize("limit", ["0", "101", "many"])
def test_a_page_has_a_size(visitor: Visitor, limit: str) -> None:
    """A page has 1 to 100 items."""
    assert visitor.get(f"/api/tasks?limit={limit}").status_code == 422


def test_everybody_sees_only_the_own(app: Flask, visitor: Visitor, client: FlaskClient) -> None:
    """Neither another guest, nor a user, nor a program without cookies finds a picture that is not its own."""
    mine = small(visitor)
    theirs = small(user := member(app))
    by_address = client.post("/api/generate-image", data={"image": (BytesIO(photo(32, 24)), "photo.jpg")})
    assert by_address.status_code == 202
    assert (ids(visitor), ids(user), ids(Visitor(app))) == ([mine], [theirs], [])
    assert client.get("/api/tasks").get_json() == {"items": [], "nextCursor": None}


def test_a_deleted_picture_is_not_listed(visitor: Visitor) -> None:
    """A tombstone is in no list and in no count."""
    gone, stays = small(visitor), small(visitor)
    visitor.delete(f"/api/tasks/{gone}")
    assert ids(visitor) == [stays]


# --- Thumbnails ---


def test_a_thumbnail_is_kept_and_served(app: Flask, visitor: Visitor) -> None:
    """What was made with the picture is sent without touching the picture, and a browser may keep it for an hour."""
    task_id = painted(visitor)
    with app.app_context():
        stores().delete(pictures.result_file(task_id, owner_of(app, task_id)))
    answer = visitor.get(f"/api/image/{task_id}/thumbnail")
    assert (answer.status_code, answer.mimetype) == (200, "image/webp")
    assert answer.headers["Cache-Control"] == "private, max-age=3600"
    again = visitor.get(f"/api/image/{task_id}/thumbnail", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_a_picture_without_a_kept_thumbnail_still_has_one(visitor: Visitor) -> None:
    """For a picture from before, and one whose thumbnail no store took, it is made when it is asked for."""
    task_id = small(visitor)
    paint(visitor.app, task_id)
    answer = visitor.get(f"/api/image/{task_id}/thumbnail")
    assert (answer.status_code, answer.mimetype) == (200, "image/webp")


def test_no_picture_is_lost_for_its_thumbnail(app: Flask) -> None:
    """Bytes that give no thumbnail keep none, and raise nothing."""
    with app.app_context():
        assert previews.keep(b"no picture") is None


# --- Many at once ---


def test_chosen_pictures_come_as_one_zip(app: Flask, visitor: Visitor) -> None:
    """Each finished picture is in the zip byte by byte, under a name of its own; what has no picture is left out."""
    made = [painted(visitor), painted(visitor, style="night"), small(visitor)]
    answer = visitor.get("/pictures/download", query_string={"task": made})
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    assert "attachment; filename=my-pictures-" in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert [name.split("-", 3)[3] for name in names] == [f"night-{made[1][:12]}.jpg", f"ghibli-{made[0][:12]}.jpg"]
        assert archive.read(names[0]) == visitor.get(f"/api/image/{made[1]}").data


def test_one_chosen_picture_comes_by_itself(visitor: Visitor) -> None:
    """One ticked picture is no zip but the picture."""
    task_id = painted(visitor)
    answer = visitor.get("/pictures/download", query_string={"task": task_id})
    assert (answer.status_code, answer.location) == (303, f"/api/image/{task_id}?download=1")


def test_a_zip_holds_one_picture_in_memory_at_a_time(app: Flask, visitor: Visitor) -> None:
    """Every part that is sent is about one picture, and a picture that went meanwhile is left out."""
    made = [painted(visitor) for _number in range(3)]
    guest = owner_of(app, made[0])
    with app.app_context():
        parts = bundles.of(made, guest)
        sizes = [len(next(parts))]
        tasks.remove(made[1], guest)
        files.drain()
        sizes += [len(part) for part in parts]
    assert len(sizes) == 3
    assert max(sizes) < 2 * len(photo(640, 480)) + 1000


def test_nobody_downloads_or_deletes_for_another(app: Flask, visitor: Visitor) -> None:
    """Somebody else's among the chosen ones makes the call 404; a deletion touches the own ones alone."""
    mine = [painted(visitor), painted(visitor)]
    other = Visitor(app, "192.0.2.2")
    theirs = [painted(other)]
    for path in ("/pictures/download", "/pictures/delete"):
        assert other.get(path, query_string={"task": theirs + mine}).status_code == 404
    assert other.post("/pictures/delete", data={"task": mine}).status_code == 404
    assert other.post("/pictures/delete", data={"task": theirs + mine}).status_code == 303
    assert (len(ids(visitor)), len(ids(other))) == (2, 0)
    for data in ({"task": mine}, {"all": "1"}):
        app.test_client().post("/pictures/delete", data=data)
    assert len(ids(visitor)) == 2


def test_more_than_fifty_are_not_chosen_at_once(visitor: Visitor) -> None:
    """Fifty-one are refused before anything is read or deleted."""
    many = [f"{number:032x}" for number in range(51)]
    assert visitor.get("/pictures/download", query_string={"task": many}).status_code == 422
    assert visitor.post("/pictures/delete", data={"task": many}).status_code == 422


@pytest.mark.parametrize("path", ["/pictures/download", "/pictures/delete"])
def test_nothing_ticked_says_so(visitor: Visitor, path: str) -> None:
    """Without a tick the visitor is led back with a word."""
    answer = visitor.get(path)
    assert (answer.status_code, answer.location) == (303, "/pictures")
    assert "Please tick some pictures first." in visitor.get("/pictures").text


def test_chosen_pictures_are_deleted_after_a_question(app: Flask, visitor: Visitor) -> None:
    """The question names how many and shows them; the answer deletes them with their files, live ones cancelled."""
    done, live, stays = painted(visitor), small(visitor), painted(visitor)
    kept = tombstones.files_of(row_of(app, done))
    assert len(kept) == 3
    question = visitor.get("/pictures/delete", query_string={"task": [done, live]}).text
    assert "Delete these 2 pictures?" in question
    assert visitor.post("/pictures/delete", data={"task": [done, live]}).status_code == 303
    assert "2 pictures are deleted." in visitor.get("/pictures").text
    assert ids(visitor) == [stays]
    for path in (f"/tasks/{done}", f"/api/image/{done}", f"/api/image/{done}/thumbnail", f"/tasks/{live}"):
        assert visitor.get(path).status_code == 404
    with app.app_context():
        files.drain()
        for file in kept:
            with pytest.raises(FileMissing):
                stores().read(file)


def test_everything_is_deleted_shares_included(app: Flask, visitor: Visitor) -> None:
    """All of it goes at once: live orders are cancelled and given back, links are dead, another's pictures stay."""
    other = Visitor(app, "192.0.2.2")
    theirs = small(other)
    shared = painted(visitor)
    share_url = visitor.post("/api/share", json={"taskId": shared}).get_json()["shareUrl"]
    left = visitor.order(photo(32, 24)).get_json()["credits"]
    made = [small(visitor) for _number in range(3)]
    paint(app, made[0])
    assert "Delete all 5 pictures?" in visitor.get("/pictures/delete?all=1").text
    assert visitor.post("/pictures/delete", data={"all": "1"}).status_code == 303
    page = visitor.get("/pictures").text
    assert "All your pictures are deleted." in page
    assert "Nothing hangs here yet" in page
    assert visitor.get(share_url[share_url.index("/share/") :]).status_code == 404
    assert all(visitor.get(f"/api/poll-task?taskId={one}").status_code == 404 for one in [shared, *made])
    # The painted one of the three stays paid for; what had not begun came back, the order before them included.
    assert visitor.order(photo(32, 24)).get_json()["credits"] == left - 1
    assert ids(other) == [theirs]


def test_very_many_are_deleted_in_several_goes(app: Flask, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request deletes a bounded number and offers to go on with the rest."""
    monkeypatch.setattr(history, "BATCH", 2)
    monkeypatch.setattr(history.remove_all, "__defaults__", (3,))
    for _number in range(5):
        paint(app, small(visitor))
    answer = visitor.post("/pictures/delete", data={"all": "1"})
    assert answer.location == "/pictures/delete?all=1"
    question = visitor.get(answer.location).text
    assert "2 pictures are left. Go on?" in question
    assert len(ids(visitor)) == 2
    visitor.post("/pictures/delete", data={"all": "1"})
    assert ids(visitor) == []


# --- The page ---


def test_an_empty_page_says_what_will_be_here(app: Flask, client: FlaskClient) -> None:
    """A first visitor is greeted and reads what the page is for, and nothing to delete or filter is offered."""
    answer = client.get("/pictures")
    assert answer.status_code == 200
    assert "Nothing hangs here yet" in answer.text
    assert "Delete all" not in answer.text
    assert any(name.startswith("Set-Cookie") for name, _value in answer.headers)
    assert "None of that kind" in client.get("/pictures?state=painted").text


def test_the_page_tells_how_long_each_is_kept(app: Flask, visitor: Visitor) -> None:
    """The day is the row's own, so a later setting changes nothing; the head of the page tells the settings."""
    task_id = painted(visitor)
    day = row_of(app, task_id).expires_at
    assert day is not None
    moved = day.replace(month=12, day=24)
    with app.app_context():
        transaction(lambda session: session.execute(update(ImageTask).values(expires_at=moved)))
    page = visitor.get("/pictures").text
    assert "A picture is kept for 7 days," in page
    assert "Kept until 24 December." in page
    assert "Kept until 24 December" in visitor.get(f"/tasks/{task_id}").text
    visitor.post("/api/share", json={"taskId": task_id})
    assert "Kept as long as it is shared." in visitor.get("/pictures").text
    assert "The picture is kept for 7 days." in " ".join(visitor.get("/").text.split())


def test_what_was_typed_is_text(visitor: Visitor) -> None:
    """The words of an order name its picture as they were typed, and end no attribute."""
    painted(visitor, prompt='"><script>alert(1)</script>')
    page = visitor.get("/pictures").text
    assert "&#34;&gt;&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_a_failed_one_can_be_tried_again_from_the_page(app: Flask, visitor: Visitor) -> None:
    """The button's form leads to the new order; a painted one has no such button."""
    failed = small(visitor)
    paint(app, failed, Outcome.FAILED, "internal")
    done = painted(visitor)
    page = visitor.get("/pictures").text
    assert f'formaction="/tasks/{failed}/retry"' in page
    assert f'formaction="/tasks/{done}/retry"' not in page
    answer = visitor.post(f"/tasks/{failed}/retry")
    assert answer.status_code == 303
    assert answer.location.rsplit("/", 1)[-1] in ids(visitor)
