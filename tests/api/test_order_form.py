"""The plain form of the first page: what it offers, what it orders, and that nothing typed is lost with a refusal."""

from collections.abc import Callable
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from markupsafe import escape
from werkzeug.test import TestResponse

from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import flags, progress
from ghibli_flask.task_states import Outcome
from tests.support.member import member
from tests.support.redis_server import RedisServer
from tests.support.runs import paint
from tests.support.visitor import Visitor, photo

WITH_OPENAI = {"openai_api_key": "sk-proj-0123456789abcdef0123456789abcdef"}
WORDS = {"mode": "text-to-image", "prompt": "a harbour at dusk"}
SELDOM = {"words_size": "1024x768", "seed": "77", "public": "1"}


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """A site that paints from photos and from words."""
    return app_factory(**WITH_OPENAI)


def send(visitor: Visitor, *, image: bytes | None = None, **fields: str) -> TestResponse:
    """Send the form as a browser without scripts does: every field, the empty ones too."""
    blank = dict.fromkeys(("prompt", "photo_size", "words_size", "width", "height", "seed"), "")
    form: dict[str, Any] = {"csrf_token": visitor.token, "mode": "image-to-image", "style": "ghibli", **blank, **fields}
    form["image"] = (BytesIO(image), "photo.jpg") if image else (BytesIO(b""), "")
    return visitor.client.post("/paint", data=form, content_type="multipart/form-data")


def ordered(app: Flask, answer: TestResponse) -> ImageTask:
    """The row of the order that was accepted."""
    assert answer.status_code == 303, answer.text
    with app.app_context():
        return progress.look_up(answer.headers["Location"].rsplit("/", 1)[-1])


class Fields(HTMLParser):
    """What the form on a page holds: texts, chosen options, ticks and open folds."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.open: set[str] = set()
        self._select = self._textarea = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        name, value = has.get("name") or "", has.get("value") or ""
        kind = has.get("type")
        if tag == "input" and (kind not in {"radio", "checkbox"} or "checked" in has):
            self.values[name] = value
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in has:
            self.values[self._select] = value
        elif tag == "textarea":
            self._textarea = name
        elif tag == "details" and "open" in has:
            self.open.add(has.get("id") or "")

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.values[self._textarea] = data.removeprefix("\n")
            self._textarea = ""


def test_words_are_ordered_by_the_form(app: Flask, visitor: Visitor) -> None:
    """Words, shape, seed and the wish for the gallery become an order as they would by the API."""
    row = ordered(app, send(visitor, **WORDS, **SELDOM))
    assert (row.mode, row.prompt, row.source_key) == ("text-to-image", "a harbour at dusk", None)
    assert (row.width, row.height, row.seed, row.wants_gallery) == (1024, 768, 77, 1)


def test_a_photo_takes_words_and_size(app: Flask, visitor: Visitor) -> None:
    """With a photo the words are its prompt, the size is that of the photo's own choice, and a chance seed is drawn."""
    row = ordered(app, send(visitor, image=photo(), prompt="more birds", photo_size="512x512", words_size="1024x768"))
    assert (row.mode, row.prompt, row.width, row.height) == ("image-to-image", "more birds", 512, 512)
    assert row.wants_gallery == 0
    assert row.seed is not None


def test_numbers_win_over_a_named_size(app: Flask, visitor: Visitor) -> None:
    """Where a width is typed, the named size does not count."""
    row = ordered(app, send(visitor, **WORDS, words_size="1024x1024", width="640", height="480"))
    assert (row.width, row.height) == (640, 480)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"width": "5000"}, "The width is a whole number of pixels from 256 to 1024."),
        ({"height": "tall"}, "The height is a whole number of pixels from 256 to 1024."),
        ({"seed": "-1"}, "The seed is a whole number from 0 to 2147483647."),
        ({"prompt": "x" * 1001}, "These are more words than the painter takes. Please shorten them."),
        ({"prompt": "  "}, "Please say in a few words what to paint."),
    ],
)
def test_a_refused_form_comes_back_as_it_was_typed(visitor: Visitor, wrong: dict[str, str], told: str) -> None:
    """The sentence names the field, everything typed is still there, and what hides behind "more" is open."""
    typed = {**WORDS, "style": "night", **SELDOM, **wrong}
    answer = send(visitor, **typed)
    assert answer.status_code == 422
    assert told in answer.text
    form = Fields(answer.text)
    assert {name: form.values.get(name) for name in typed} == typed
    assert form.open == {"more"}
    assert f'name="{next(iter(wrong))}"' in answer.text.split('aria-invalid="true"')[0].rsplit("<", 1)[-1]


def test_a_lost_photo_is_mentioned(visitor: Visitor) -> None:
    """Browsers do not give a file back with the form, so the page says that it has to be chosen once more."""
    assert "choose it once more" in send(visitor, image=b"not a picture").text
    assert "choose it once more" not in send(visitor).text


def test_lines_count_as_the_visitor_counts_them(app: Flask, visitor: Visitor) -> None:
    """A form ends lines with two characters; a text of exactly the limit is taken all the same."""
    row = ordered(app, send(visitor, mode="text-to-image", prompt="\r\n".join(["x" * 499, "y" * 498, "z"])))
    assert row.prompt == "\n".join(["x" * 499, "y" * 498, "z"])


def test_too_many_orders_keep_what_was_typed(app_factory: Callable[..., Flask]) -> None:
    """The limit of orders a minute answers with the form as well, and says when to come again."""
    visitor = Visitor(app_factory(**WITH_OPENAI, orders_per_minute=1))
    assert send(visitor, **WORDS).status_code == 303
    answer = send(visitor, mode="text-to-image", prompt="another harbour")
    assert answer.status_code == 429
    assert answer.headers["Retry-After"]
    assert Fields(answer.text).values["prompt"] == "another harbour"


def test_without_an_engine_for_words_the_form_takes_photos_only(app_factory: Callable[..., Flask]) -> None:
    """Words alone are neither offered nor taken, and the form that comes back is that for photos."""
    app = app_factory()
    visitor = Visitor(app)
    assert "mode-words" not in visitor.get("/").text
    answer = send(visitor, **WORDS)
    assert (answer.status_code, Fields(answer.text).values["mode"]) == (422, "image-to-image")


def test_the_bundled_painter_says_that_it_reads_no_words(app_factory: Callable[..., Flask]) -> None:
    """Where the painter without a model is the only one, the words stand behind "more", beside what becomes of them."""
    page = Visitor(app_factory(gradio_url="http://127.0.0.1:7860", space_port=7860)).get("/").text
    before, more = page.split('id="more"')
    assert 'name="prompt"' not in before
    assert 'name="prompt"' in more
    assert "Only other painters read your words." in more


def test_with_every_engine_switched_off_the_desk_is_closed(app_factory: Callable[..., Flask]) -> None:
    """Without any engine the page says so above the easel and takes no press of the button."""
    app = app_factory()
    with app.app_context():
        flags.switch("engine-gradio", "off", by="operator")
    page = Visitor(app).get("/").text
    assert "No painter is at work at this moment." in page
    assert 'id="paint-button" disabled' in page


def test_the_gallery_tick_says_when_somebody_looks_first(app: Flask, visitor: Visitor) -> None:
    """Where an operator looks at the gallery's pictures first, the tick on the form says so."""
    assert "once somebody here has looked at it" not in visitor.get("/").text
    with app.app_context():
        flags.switch("gallery-approval", "on", by="operator")
    assert "once somebody here has looked at it" in visitor.get("/").text


def test_what_comes_back_is_named_by_who_paid(app: Flask, visitor: Visitor) -> None:
    """A guest's page speaks of the try, an account's page of the account, before and after."""
    for who, before, after in (
        (visitor, "your try comes back by itself", "Your try came back. Nothing was charged."),
        (member(app), "comes back to your account by itself", "The picture came back to your account."),
    ):
        task_id = who.ordered()
        assert before in who.get(f"/tasks/{task_id}").text
        paint(app, task_id, Outcome.FAILED, "engine_unavailable")
        assert after in who.get(f"/tasks/{task_id}").text


def test_the_promise_stands_with_redis_away(app: Flask, visitor: Visitor, redis_server: RedisServer) -> None:
    """Page and poll name the same moment of the refund whether it is read from Redis or from the row."""
    task_id = visitor.ordered()
    promised = visitor.poll(task_id)["refundAt"]
    redis_server.stop()
    assert visitor.poll(task_id)["refundAt"] == promised
    assert f'datetime="{promised}"' in visitor.get(f"/tasks/{task_id}").text


def test_words_are_text_wherever_they_are_shown(visitor: Visitor) -> None:
    """Markup in the words is shown as it was typed: on the picture's page and in a form that comes back."""
    words = "</textarea></blockquote><script>alert(1)</script>\"'{{ 7 * 7 }}"
    page = visitor.get(send(visitor, mode="text-to-image", prompt=words).headers["Location"]).text
    form = send(visitor, mode="text-to-image", prompt=words, width="1").text
    for shown in (page, form):
        assert str(escape(words)) in shown
        assert "<script>alert" not in shown
