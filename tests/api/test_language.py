"""Which language is spoken: the browser's, the chosen one, the account's; on pages, in refusals and in mails."""

import json
import re
from collections.abc import Callable
from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from ghibli_flask import queueing
from ghibli_flask.database import transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.models.user import UserProfile
from ghibli_flask.services import accounts, mail
from ghibli_flask.task_states import Outcome
from jobs.worker import ApplicationWorker
from tests.support.member import member
from tests.support.runs import paint
from tests.support.visitor import Visitor

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}


def choose(visitor: Visitor, language: str, back: str = "/help") -> TestResponse:
    """Press a language at the foot of the page `back`."""
    return visitor.post("/language", data={"language": language, "next": back})


def spoken(answer: TestResponse) -> str:
    """The language of a page, by its own word and by its header, which agree."""
    tag = answer.text.partition('<html lang="')[2].partition('"')[0]
    assert answer.headers["Content-Language"] == tag
    return tag


@pytest.mark.parametrize(
    ("wish", "language"),
    [
        ("zh", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh-CN,en;q=0.8", "zh"),
        ("zh-Hans-CN", "zh"),
        ("ZH-hans", "zh"),
        ("en-GB,zh;q=0.5", "en"),
        ("zh;q=0.3,en;q=0.7", "en"),
        ("fr,zh-CN;q=0.5", "zh"),
        ("zh;q=0", "en"),
        ("fr", "en"),
        ("*", "en"),
        ("z" * 5000 + ",;;q=x", "en"),
        ("", "en"),
    ],
)
def test_the_browser_chooses(wish: str, language: str, client: FlaskClient) -> None:
    """The first language of the browser's that is here is spoken, whatever region or script it names; else English."""
    assert spoken(client.get("/help", headers={"Accept-Language": wish})) == language


def test_caches_are_told(client: FlaskClient) -> None:
    """What is written for people says by what its language was chosen; a file does not."""
    for path in ("/", "/nothing-here", "/api/styles", "/api/image/nothing-here"):
        answer = client.get(path, headers=CHINESE)
        assert answer.headers["Content-Language"] == "zh"
        assert {"Accept-Language", "Cookie"} <= set(answer.vary), path
    picture = client.get(f"{client.application.static_url_path}/img/favicon.svg")
    picture.close()
    assert "Content-Language" not in picture.headers


def test_a_choice_is_kept_in_a_cookie(visitor: Visitor) -> None:
    """Pressing a language leads back to the page, which speaks it from then on, whatever the browser asks for."""
    answer = choose(visitor, "zh", "/gallery?mode=text-to-image")
    assert (answer.status_code, answer.location) == (303, "/gallery?mode=text-to-image")
    assert spoken(visitor.get(answer.location, headers={"Accept-Language": "en"})) == "zh"
    choose(visitor, "en")
    assert spoken(visitor.get("/", headers=CHINESE)) == "en"


def test_every_page_offers_the_languages(visitor: Visitor) -> None:
    """The foot of a page, also of an error, has a form with every language under its own name."""
    for path in ("/", "/nothing-here", "/terms-of-service"):
        footer = visitor.get(path).text.partition("<footer")[2]
        assert 'action="/language"' in footer
        for code, name in (("en", "English"), ("zh", "中文")):
            assert f'value="{code}" lang="{code}"' in footer
            assert f">{name}</button>" in footer
        assert f'name="next" value="{path}"' in footer


@pytest.mark.parametrize("language", ["", "tlh", "../zh", "zh_CN"])
def test_only_what_is_here_can_be_chosen(language: str, visitor: Visitor) -> None:
    """Another language is refused and nothing is kept."""
    answer = choose(visitor, language)
    assert answer.status_code == 422
    assert "Set-Cookie" not in answer.headers or "language=" not in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("back", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", ""])
def test_the_way_back_stays_here(back: str, visitor: Visitor) -> None:
    """No form of another site can use the choice to lead somebody away."""
    assert choose(visitor, "zh", back).location == "/"


def test_a_choice_needs_the_token(visitor: Visitor) -> None:
    """Another site cannot change the language of a browser with cookies."""
    answer = visitor.client.post("/language", data={"language": "zh"})
    assert answer.status_code == 403


def test_a_forged_cookie_is_nobodys_choice(client: FlaskClient) -> None:
    """A cookie with something else in it counts as none."""
    client.set_cookie("language", "../../etc")
    assert spoken(client.get("/help", headers=CHINESE)) == "zh"


def test_an_account_keeps_the_choice(app: Flask) -> None:
    """Whoever is signed in has the choice in the account: it holds in another browser, and no cookie is set."""
    ada = member(app)
    answer = choose(ada, "zh")
    assert "language=" not in "".join(answer.headers.getlist("Set-Cookie"))
    with app.app_context():
        assert accounts.find(ada.user_id).profile.locale == "zh"
    assert spoken(member(app, address="192.0.2.9").get("/account", headers={"Accept-Language": "en"})) == "zh"


def test_an_account_without_a_choice_follows_the_browser(app: Flask) -> None:
    """An adopted account, which has no language yet, is spoken to as its browser wishes."""
    ada = member(app)

    def forget(session: Session) -> None:
        session.get_one(UserProfile, ada.user_id).locale = None

    with app.app_context():
        transaction(forget)
    assert spoken(ada.get("/account", headers=CHINESE)) == "zh"


def test_the_account_page_offers_the_languages(app: Flask) -> None:
    """The profile's form lists every language and keeps the one that is taken."""
    ada = member(app)
    assert '<option value="zh" lang="zh">中文</option>' in ada.get("/account").text
    assert ada.post("/account/profile", data={"name": "Ada", "locale": "zh"}).status_code == 303
    page = ada.get("/account")
    assert spoken(page) == "zh"
    assert '<option value="zh" lang="zh" selected>中文</option>' in page.text
    assert "个人资料已保存。" in page.text


def test_refusals_are_in_the_callers_language(client: FlaskClient) -> None:
    """Title, sentence and fields of a problem are translated; its code is the same in every language."""
    order = {"image": (BytesIO(b"not a picture"), "x.jpg"), "width": "7", "style": "s" * 65}
    answer = client.post("/api/generate-image", data=order, headers=CHINESE)
    problem = json.loads(answer.text)
    assert (problem["code"], problem["title"]) == ("invalid_fields", "请检查填写的内容")
    assert {item["field"]: item["message"] for item in problem["errors"]} == {
        "width": "宽度请填 256 到 1024 之间的整数像素。",
        "style": "最多 64 个字符。",
    }
    wrong_verb = client.delete("/api/styles", headers=CHINESE).get_json(force=True)
    assert (wrong_verb["code"], wrong_verb["title"]) == ("method_not_allowed", "不是这样用的")


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"operation": "add", "amount": 1}, "userId", "This field is needed."),
        ({"userId": "u" * 51, "operation": "add", "amount": 1}, "userId", "This must have at most 50 characters."),
        ({"userId": "", "operation": "add", "amount": 1}, "userId", "This must have at least 1 characters."),
        ({"userId": 7, "operation": "add", "amount": 1}, "userId", "This must be a text."),
        ({"userId": "u", "operation": "give", "amount": 1}, "operation", "This must be one of: 'add', 'subtract'."),
        ({"userId": "u", "operation": "add", "amount": 0}, "amount", "This must be 1 or more."),
        ({"userId": "u", "operation": "add", "amount": 10**9}, "amount", "This must be 1000000 or less."),
        ({"userId": "u", "operation": "add", "amount": "many"}, "amount", "This must be a whole number."),
        ({"userId": "u", "operation": "add", "amount": 1.5}, "amount", "This must be a whole number."),
        (
            {"userId": "u", "operation": "add", "amount": 1, "taskId": "100% wrong"},
            "taskId",
            "This does not have the form that is expected here.",
        ),
    ],
)
def test_refused_fields_are_told_in_our_words(
    body: dict[str, object], field: str, message: str, app_factory: Callable[..., Flask]
) -> None:
    """What the declarations refuse is told in a sentence of ours with the limit in it, not in the library's."""
    client = app_factory(api_token="t" * 32).test_client()
    answer = client.post("/api/user-credits", json=body, headers={"Authorization": f"Bearer {'t' * 32}"})
    assert answer.status_code == 422
    assert answer.get_json(force=True)["errors"] == [{"field": field, "message": message}]


def test_the_note_of_a_returned_photo_is_translated(app: Flask) -> None:
    """The fixed English note of a photo that came back unpainted reaches a Chinese visitor in Chinese."""
    visitor = Visitor(app)
    task_id = visitor.ordered()
    paint(app, task_id, Outcome.ORIGINAL)
    answer = visitor.get(f"/api/poll-task?taskId={task_id}", headers=CHINESE).get_json()
    assert answer["note"] == "GPU 时间用完了，所以原照片照样退回"
    assert visitor.poll(task_id)["note"] == "Using original image due to GPU quota exceeded"


def test_waiting_messages_are_in_the_language_of_the_page(client: FlaskClient) -> None:
    """The page hands its scripts the messages and sentences of its own language."""
    page = client.get("/", headers=CHINESE)
    config = json.loads(page.text.partition('id="client-config">')[2].partition("</script>")[0])
    strings = json.loads(page.text.partition('id="client-strings">')[2].partition("</script>")[0])
    assert "先画远山。远山有耐心，被盖住也不计较。" in config["waitingMessages"]
    assert strings["stages"]["done"] == "画好了"


def test_who_came_first_decides_nobodys_language(visitor: Visitor) -> None:
    """The stages are told in each visitor's own language, on the page and to its scripts, whoever was there before."""
    task_id = visitor.ordered()
    queued = {"zh": "在等一支空闲的画笔", "en": "Waiting for a free brush"}
    for language in ("zh", "en", "zh"):
        words, headers = queued[language], {"Accept-Language": language}
        page = visitor.get(f"/tasks/{task_id}", headers=headers).text
        strings = json.loads(page.partition('id="client-strings">')[2].partition("</script>")[0])
        assert strings["stages"]["queued"] == words
        assert f">{words}</h1>" in page


def test_a_mail_is_written_in_the_language_of_the_page(app: Flask) -> None:
    """Who signs up on a Chinese page gets a Chinese mail, subject and text, and a Chinese account."""
    visitor = Visitor(app)
    form = {"email": "mei@example.org", "password": "窗外有一棵很高很老的树", "name": "小梅"}
    assert visitor.post("/auth/signup", data=form, headers=CHINESE).status_code in {200, 303}
    with app.app_context():
        queue = queueing.maintenance_queue()
        ApplicationWorker(app, queue, "language-maintenance").work(burst=True, logging_level="WARNING")
        letter = mail.kept()[0]
    assert letter["Subject"] == "请确认你的邮箱"
    text = letter.get_content()
    assert text.startswith("你好：")
    assert "链接只能用一次，一天内有效。" in text
    assert "Hello" not in text


def test_dates_are_written_as_the_language_wants(app: Flask, client: FlaskClient) -> None:
    """A date and a counted number of days follow the language's own order and forms."""
    with app.app_context():
        day = runtime().settings.legal_effective_date
    assert f"{day.year}年{day.month}月{day.day}日" in client.get("/terms-of-service", headers=CHINESE).text
    assert "7 天" in client.get("/privacy-policy", headers=CHINESE).text


@pytest.mark.parametrize(
    "path", ["/", "/help", "/pictures", "/gallery", "/privacy-policy", "/terms-of-service", "/cookie-policy"]
)
def test_no_blank_stands_between_chinese_sentences(client: FlaskClient, path: str) -> None:
    """A Chinese full stop brings its own room; English sentences keep their blank."""
    chinese = client.get(path, headers={"Accept-Language": "zh"}).get_data(as_text=True)
    assert re.findall(r".{12}[。；，] (?=[^\s<]).{12}", chinese) == []
    english = client.get(path, headers={"Accept-Language": "en"}).get_data(as_text=True)
    assert re.findall(r".{12}[.;]\b(?=[A-Z][a-z]+ ).{12}", english) == []
