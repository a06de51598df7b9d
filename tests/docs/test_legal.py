"""The legal pages say what the code does: times, recipients, cookies and what scripts keep are held against it."""

import ast
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ghibli_flask.extensions import runtime
from ghibli_flask.pages import legal_facts
from ghibli_flask.services import exports, retention, sessions, tombstones
from ghibli_flask.settings import ALL_ENGINES, ALL_STORES, Settings, SettingsError, load_settings
from tests.docs.project import CODE, DOCS, ROOT
from tests.support.member import member

PRIVACY, TERMS, COOKIES, HELP = "/privacy-policy", "/terms-of-service", "/cookie-policy", "/help"
PAGES = (PRIVACY, TERMS, COOKIES, HELP)
SCRIPTS = {
    path.stem: path.read_text()
    for folder in ("static/js", "templates")
    for path in sorted((ROOT / folder).glob("*.js"))
}

KIE = {"kie_ai_api_key": "k" * 32}
OPENAI = {"openai_api_key": "o" * 32}
PROCESSOR = {"processor_url": "https://brush.example:8443"}
R2 = {
    "cloudflare_r2_access_key_id": "key",
    "cloudflare_r2_secret_access_key": "secret",
    "cloudflare_r2_account_id": "abc123",
    "cloudflare_r2_bucket": "pictures",
}
IMGBB = {"imgbb_api_key": "i" * 32}
GOOGLE = {"google_client_id": "id", "google_client_secret": "secret"}
MAIL = {"mail_url": "smtp://user:password@post.example:587"}
SENTRY = {"sentry_dsn": "https://public@errors.example/1"}

NAMED = {
    "kie": (KIE, ("KIE AI", "api.kie.ai", "kieai.redpandaai.co")),
    "openai": (OPENAI, ("OpenAI", "api.openai.com")),
    "processor": (PROCESSOR, ("A painting program outside", "brush.example")),
    "r2": (R2, ("Cloudflare R2", "abc123.r2.cloudflarestorage.com")),
    "imgbb": (IMGBB, ("ImgBB", "api.imgbb.com", "cannot delete")),
    "google": (GOOGLE, ("Google",)),
    "mail": (MAIL, ("A mail server", "post.example")),
}
"""Who is named when these settings are set, and by which words."""


def shown(client: FlaskClient, path: str) -> str:
    """The text of a page between header and footer, as somebody reads it."""
    answer = client.get(path)
    assert answer.status_code == 200
    main = answer.text.partition("<main")[2].partition("</main>")[0].partition(">")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def marked(client: FlaskClient, path: str, attribute: str) -> list[str]:
    """What stands in this data attribute, in the page's order."""
    return re.findall(rf'data-{attribute}="([^"]+)"', client.get(path).text)


# --- Times ---


def test_times_are_the_settings(app_factory: Callable[..., Flask]) -> None:
    """Privacy, terms and help tell how long pictures and photographs are kept here, and no other time."""
    kept = {"result_ttl_days": 41, "guest_result_ttl_days": 11, "source_ttl_days": 1}
    client = app_factory(**kept).test_client()
    privacy, terms, answers = (shown(client, path) for path in (PRIVACY, TERMS, HELP))
    assert "A photograph 1 day from its order" in privacy
    assert "A picture, with an account 41 days" in privacy
    assert "A picture, without one 11 days" in privacy
    assert "41 days with an account and 11 days without one" in terms
    assert "deleted after 1 day," in answers
    assert "after 11 days, or with an account after 41 days" in answers
    constants = {sessions.LASTS.days, tombstones.KEPT.days, retention.UPLOAD_KEPT.days, exports.LASTS.days}
    told = {int(number) for text in (privacy, terms, answers) for number in re.findall(r"\b(\d+) days?\b", text)}
    assert told == {41, 11, 1, legal_facts.LOG_FILES_KEPT} | constants


def test_log_files_are_rotated_as_told() -> None:
    """The rotation that is set up keeps as many older files of each log as the page says, one for each day."""
    setup = (ROOT / "scripts/monitoring_setup.sh").read_text()
    assert set(re.findall(r"^ +rotate (\d+)$", setup, re.MULTILINE)) == {str(legal_facts.LOG_FILES_KEPT)}
    assert setup.count("    daily\n") == setup.count("    rotate ")


def test_pictures_are_counted_as_told(app_factory: Callable[..., Flask]) -> None:
    """Free pictures and monthly credits are those of the settings; without free ones nobody is promised any."""
    client = app_factory(guest_daily_limit=6, monthly_credits=77).test_client()
    assert "6 pictures a day are free" in shown(client, TERMS)
    assert "6 pictures a day are free" in shown(client, HELP)
    assert "77" in shown(client, TERMS)
    closed = app_factory(guest_daily_limit=0).test_client()
    assert "Painting needs an account." in shown(closed, TERMS)
    assert "a day are free" not in shown(closed, HELP) + shown(closed, TERMS)


# --- Who receives something ---


def test_every_engine_and_store_has_words() -> None:
    """Each engine and each store that the settings know can be named on the page."""
    assert set(legal_facts.PAINTERS) == set(ALL_ENGINES)
    assert set(legal_facts.KEEPERS) == set(ALL_STORES)


@pytest.mark.parametrize("key", NAMED)
def test_who_is_configured_is_named(key: str, app_factory: Callable[..., Flask], client: FlaskClient) -> None:
    """Whoever receives something is named with what it is called and where it is; nobody is without being set."""
    overrides, words = NAMED[key]
    with_it = app_factory(**overrides).test_client()
    assert key in marked(with_it, PRIVACY, "recipient")
    assert [word for word in words if word not in shown(with_it, PRIVACY)] == []
    assert key not in marked(client, PRIVACY, "recipient")
    assert [word for word in words if word in shown(client, PRIVACY)] == []
    assert "password@" not in with_it.get(PRIVACY).text


def test_errors_go_where_the_page_says(settings_factory: Callable[..., Settings]) -> None:
    """Sentry is named with its host when it is set, and not without; no client of Sentry is started for it."""
    with_it = legal_facts.helpers(settings_factory(**SENTRY))
    assert [(one.key, one.hosts) for one in with_it] == [("sentry", ("errors.example",))]
    assert legal_facts.helpers(settings_factory()) == []


def test_recipients_stand_in_the_order_in_which_they_are_asked(app_factory: Callable[..., Flask]) -> None:
    """With everything set the page names everybody, engines and stores in their order; with ENGINES only those."""
    everything = {**KIE, **OPENAI, **PROCESSOR, **R2, **IMGBB, **GOOGLE}
    app = app_factory(**everything, **MAIL)
    assert marked(app.test_client(), PRIVACY, "recipient") == [*ALL_ENGINES, "r2", "imgbb", "google", "mail"]
    chosen = app_factory(**everything, engine_order=("openai", "gradio"), store_order=("local",))
    assert marked(chosen.test_client(), PRIVACY, "recipient") == ["openai", "gradio", "local", "google"]


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("http://127.0.0.1:7860", "Our own painter"),
        ("http://localhost:7860", "Our own painter"),
        ("https://someone-paints.hf.space", "A Space at Hugging Face someone-paints.hf.space"),
        ("https://paint.example", "A Gradio application paint.example"),
        ("https://nothf.space.example", "A Gradio application nothf.space.example"),
    ],
)
def test_the_space_is_called_what_it_is(address: str, named: str, app_factory: Callable[..., Flask]) -> None:
    """A Space on this machine gives nothing away; one elsewhere is named by its host, Hugging Face by its name."""
    text = shown(app_factory(gradio_url=address).test_client(), PRIVACY)
    assert named in text
    assert ("nothing leaves it" in text) == ("Our own painter" in named)


def test_another_storage_is_not_called_cloudflare(app_factory: Callable[..., Flask]) -> None:
    """Another S3 than Cloudflare's is named by its host, and a public bucket by its public host too."""
    other = {
        **R2,
        "cloudflare_r2_endpoint": "https://s3.store.example",
        "cloudflare_r2_public_url": "https://wall.example",
    }
    text = shown(app_factory(**other).test_client(), PRIVACY)
    assert "A storage service s3.store.example wall.example" in text
    assert "public address there" in text
    assert "Cloudflare" not in text


# --- Cookies, and what scripts keep ---

KEPT_BY_SCRIPT = re.compile(
    r"""\b(localStorage|sessionStorage|indexedDB|caches)\.(?:getItem|setItem|removeItem|open|delete)\(\s*["']?(\w+)"""
)
"""A store of the browser and the key, or the constant with the key, that a script reaches into it with."""


def cookies_of(answers: list[TestResponse]) -> dict[str, int]:
    """The cookies that answers set, with their life in seconds; 0 until the browser is closed."""
    found: dict[str, int] = {}
    for answer in answers:
        for line in answer.headers.getlist("Set-Cookie"):
            name, value = line.partition(";")[0].split("=", 1)
            fields = dict(part.strip().lower().partition("=")[::2] for part in line.split(";")[1:])
            if value and "max-age" in fields:
                found[name] = int(fields["max-age"])
            elif value and "expires" in fields:
                found[name] = round((parsedate_to_datetime(fields["expires"]) - datetime.now(UTC)).total_seconds())
            elif value:
                found.setdefault(name, 0)
    return found


def test_cookies_that_are_set_are_the_ones_that_are_told(app: Flask) -> None:
    """A tour of every page, signed in and out, gets the cookies of the policy with the lives that it tells."""
    rules = [rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or set()) and not rule.arguments]
    guest, user = app.test_client(), member(app)
    signing_in = user.post("/auth/signin", data={"email": user.email, "password": user.password})
    chooser = app.test_client()
    choosing = chooser.post("/language", data={"language": "zh", "csrf_token": token_of(chooser)})
    answers = [*(guest.get(rule) for rule in rules), choosing, signing_in, *(user.get(rule) for rule in rules)]
    found = cookies_of(answers)
    told = {one.name: one.days for one in legal_facts.cookies(app_settings(app))}
    assert {name: round(life / 86_400) for name, life in found.items()} == told
    assert marked(guest, COOKIES, "cookie") == list(told)
    for name, count in told.items():
        assert f"Name {name} For" in shown(guest, COOKIES)
        assert f"{count} days" in shown(guest, COOKIES)


def token_of(client: FlaskClient) -> str:
    """The token that this browser's forms carry."""
    return str(client.get("/api/csrf").get_json()["csrfToken"])


def app_settings(app: Flask) -> Settings:
    """The settings that an application was made with."""
    with app.app_context():
        return runtime().settings


def test_cookies_have_their_names_of_production(app_factory: Callable[..., Flask]) -> None:
    """In production the policy tells the names that browsers get there."""
    app = app_factory(app_env="production", app_url="https://a.example", secret_key=("k3y-of-the-test-" * 3,))
    client = app.test_client()
    home = client.get("/", base_url="https://a.example")
    form = {"language": "zh", "csrf_token": re.search(r'name="csrf_token" value="([^"]+)"', home.text)[1]}
    chosen = client.post("/language", data=form, base_url="https://a.example")
    found = cookies_of([home, chosen])
    assert all(name.startswith("__Host-") for name in found)
    assert sorted(found) == sorted(marked(client, COOKIES, "cookie"))


def test_no_other_line_of_code_sets_a_cookie() -> None:
    """Our code sets the cookies of guest and language alone, and no script sets any; the session's is set by Flask."""
    names = []
    for path in CODE:
        text = path.read_text()
        assert "Set-Cookie" not in text, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "set_cookie":
                names.append(ast.unparse(node.args[0]))
    assert names == ["settings.language_cookie", "runtime().settings.guest_cookie"]
    assert [name for name, text in SCRIPTS.items() if "document.cookie" in text or "cookieStore" in text] == []


def test_legal_pages_set_no_guest_cookie(client: FlaskClient) -> None:
    """Whoever only reads these pages is not counted as a guest."""
    for path in PAGES:
        assert "guest" not in cookies_of([client.get(path)]), path


def test_what_scripts_keep_is_told(client: FlaskClient) -> None:
    """Every key that a script keeps in the browser is in the policy with its kind of store, and no other is."""
    used = set()
    for name, text in SCRIPTS.items():
        keys = KEPT_BY_SCRIPT.findall(text)
        mentions = re.findall(r"\b(?:localStorage|sessionStorage|indexedDB|caches)[.\[](?!keys\(\))", text)
        assert len(keys) == len(mentions), f"{name}.js keeps something in a way that this test cannot read"
        constants = dict(re.findall(r"""const (\w+) = ["'](\w+)-?["'];""", text))
        used |= {f"{store}:{constants.get(key, key)}" for store, key in keys if key != "name"}
    assert set(marked(client, COOKIES, "kept")) == used


# --- Date, contact, law ---


def test_date_contact_and_law_are_settings(app_factory: Callable[..., Flask]) -> None:
    """The three legal pages are dated, all four say where to write, and the terms name the law, as it is set."""
    told = {
        "legal_effective_date": date(2031, 3, 4),
        "legal_contact_email": "me@window.example",
        "legal_jurisdiction": "Ruritania",
        "site_name": "Attic & Light",
    }
    client = app_factory(**told).test_client()
    for path in (PRIVACY, TERMS, COOKIES):
        assert "In force since 4 March 2031" in shown(client, path), path
    for path in PAGES:
        assert '<a href="mailto:me@window.example">me@window.example</a>' in client.get(path).text, path
    assert "The law of Ruritania applies." in shown(client, TERMS)
    assert "Attic & Light" in shown(client, PRIVACY)


def test_dates_are_written_as_the_language_wants(app: Flask, client: FlaskClient) -> None:
    """The date goes through the filter of the language and stands in machine-readable form beside it."""
    assert f'<time datetime="{app_settings(app).legal_effective_date}">' in client.get(TERMS).text


def test_the_default_date_is_the_release() -> None:
    """Without LEGAL_EFFECTIVE_DATE the texts are as old as the latest release."""
    latest = re.search(r"^## \d\S* - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest
    assert Settings.model_fields["legal_effective_date"].default.isoformat() == latest[1]


@pytest.mark.parametrize("value", ["nobody", "two words@example.org", "@"])
def test_a_contact_is_an_address(value: str) -> None:
    """What is no mail address stops the start."""
    with pytest.raises(SettingsError, match="LEGAL_CONTACT_EMAIL"):
        load_settings(_env_file=None, legal_contact_email=value)


# --- The pages themselves ---


EVERY_PAGE = pytest.mark.parametrize("path", PAGES)


@EVERY_PAGE
def test_its_contents_lead_to_its_parts(path: str, client: FlaskClient) -> None:
    """The list at the top names every part once, in order, and each link has its heading."""
    text = client.get(path).text
    links = re.findall(r'<li><a href="#([\w-]+)">([^<]+)</a></li>', text)
    headings = re.findall(r'<h2 id="([\w-]+)">([^<]+)</h2>', text)
    assert len(links) >= 4
    assert [pair for pair in headings if pair[0] not in {"contents-title", "contact"}] == links


@EVERY_PAGE
def test_its_inner_links_lead_somewhere(path: str, client: FlaskClient) -> None:
    """Every link to a page of ours is answered, with its anchor where it names one."""
    for address in set(re.findall(r'href="(/(?!static)[^"]*)"', client.get(path).text)):
        place, _, anchor = address.partition("#")
        answer = client.get(place.partition("?")[0])
        assert answer.status_code in {200, 302, 303}, address
        assert not anchor or f'id="{anchor}"' in answer.text, address


@EVERY_PAGE
def test_notes_for_the_operator_are_not_on_it(path: str, client: FlaskClient) -> None:
    """What the operator has to settle stands in docs/legal.md and not before visitors."""
    text = shown(client, path)
    notes = (DOCS / "legal.md").read_text()
    for word in ("lawyer", "FLUX.1-dev", "tokens of several accounts"):
        assert word in notes
        assert word not in text


def test_every_footer_leads_to_it(client: FlaskClient) -> None:
    """The footer of a page, also of an error, links all four."""
    for page in ("/", "/nothing-here"):
        footer = client.get(page).text.partition("<footer")[2]
        assert [path for path in PAGES if f'href="{path}"' not in footer] == []


def test_help_answers_ten_questions(client: FlaskClient) -> None:
    """/help has ten questions, each with an answer of at most 70 words, and then says how to reach the operator."""
    text: Any = client.get(HELP).text.partition("<main")[2].partition("</main>")[0]
    found = re.findall(r'<section>\s*<h2 id="([\w-]+)">([^<]+)</h2>(.*?)</section>', text, re.DOTALL)
    assert len(found) == 11
    assert all(question.endswith("?") for _, question, _ in found)
    for anchor, _, answer in found:
        words = re.sub(r"<[^>]+>", " ", answer).split()
        assert 5 <= len(words) <= 70, f"{anchor}: {len(words)} words"
    assert found[-1][0] == "contact"
    assert "mailto:" in found[-1][2]
