"""Secrets stay where they belong: after a run of everything, nothing that is kept, written or answered holds one.

Every secret of the settings has a value of its own here. Orders go through every engine, well and badly, with far
sides that repeat the key in their errors; then rows, Redis, logs, answers, mails and files are searched for each value,
as it is, as it stands in addresses, and inside of Base64 at any offset.
"""

import base64
import itertools
import json
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import sentry_sdk
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from flask import Flask
from redis import Redis
from sqlalchemy import Engine, create_engine, inspect, text
from werkzeug.wrappers import Response

from ghibli_flask.extensions import runtime
from ghibli_flask.masking import ADDRESSES, WHOLE
from ghibli_flask.services import alerts, gpu_tokens, monitor, storage_check
from ghibli_flask.settings import Settings, SettingsError, load_settings
from jobs.engines.kie import KieEngine
from scripts import check_engines
from tests.engines.conftest import RunningSpace, start_space
from tests.faults.conftest import MOODS, Visitor, paint_waiting, photo
from tests.support.http_sink import Sink, http_sink
from tests.support.ports import free_port
from tests.support.proxy import running_proxy
from tests.support.redis_server import RedisServer
from tests.support.standins import imgbb, kie, openai
from tests.support.standins.hub import HubStandIn, quota
from tests.support.standins.server import Heard, Reply, StandIn, json_reply

GOOD, SPENT, REVOKED = "hf_goodYz81kQpWm3TtR", "hf_spentXq72jLoVn4SsE", "hf_revokedWb63hKiUm5Rr"
MAIL_PASSWORD, PROXY_PASSWORD = "mail/pass@word-5511", "proxy@pass-word-6622"
SECRETS = {
    "secret_key": "signing-key-7733-which-is-long-enough",
    "api_token": "api-token-8844-which-is-long-enough",
    "admin_api_key": "admin-api-key-9955-which-is-long-enough",
    "admin_secret": "admin-secret-1166-which-is-long-enough",
    "task_process_secret_key": "process-secret-2277-which-is-long-enough",
    "kie_ai_api_key": kie.KEY,
    "openai_api_key": openai.KEY,
    "imgbb_api_key": imgbb.KEY,
    "cloudflare_r2_secret_access_key": "r2-secret-access-key-3388",
    "google_client_secret": "google-client-secret-4499",
    "sentry_dsn": "sentry0public0key0551",
}
"""What is looked for, beside the tokens and the passwords in addresses; of an address that is one, its secret part."""

EVERY_VALUE = (*SECRETS.values(), GOOD, SPENT, REVOKED, MAIL_PASSWORD, PROXY_PASSWORD)
WEBHOOK_KEY = "a-secret-part"
HOST = "painter.example"
PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")

Haystacks = dict[str, bytes]


# --- Searching ---


def needles(secret: str) -> set[bytes]:
    """A secret in all forms in which it could have slipped through."""
    raw = secret.encode()
    found = {raw, quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode()}
    for offset in range(3):
        # Within a longer text Base64 looks one of three ways; its first and last characters depend on the neighbours.
        coded = base64.b64encode(bytes(offset) + raw)
        core = coded[4 if offset else 0 : len(coded) // 4 * 4 - 4]
        found |= {core, core.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def search(haystacks: Haystacks) -> list[str]:
    """Where a secret was found, and which one by its first letters."""
    return [
        f"{secret[:12]}… in {place}"
        for secret in (*EVERY_VALUE, WEBHOOK_KEY)
        for needle in needles(secret)
        for place, content in haystacks.items()
        if needle in content
    ]


def rows(engine: Engine) -> Haystacks:
    """Every row of every table, whatever made it."""
    found: Haystacks = {}
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            for number, row in enumerate(connection.execute(text(f"SELECT * FROM {table}"))):
                values = (value if isinstance(value, bytes) else str(value).encode() for value in row)
                found[f"table {table}, row {number}"] = b"\n".join(values)
    return found


def redis_content(redis: Redis) -> Haystacks:
    """Every key with its value, of every type; RQ packs the jobs' data, so packed values are unpacked too."""
    found: Haystacks = {}
    for key in redis.scan_iter(count=1000):
        parts = [key, *_values(redis, key)]
        found[f"Redis {key.decode()}"] = b"\n".join(itertools.chain.from_iterable(_readings(part) for part in parts))
    return found


def _values(redis: Redis, key: bytes) -> Iterable[bytes]:
    match redis.type(key):
        case b"string":
            return [redis.get(key)]
        case b"list":
            return redis.lrange(key, 0, -1)
        case b"set":
            return redis.smembers(key)
        case b"zset":
            return redis.zrange(key, 0, -1)
        case b"hash":
            return itertools.chain.from_iterable(redis.hgetall(key).items())
        case b"stream":
            return [str(entry).encode() for entry in redis.xrange(key)]
        case other:
            raise AssertionError(f"This proof does not know how to read a {other}.")


def _readings(value: bytes) -> list[bytes]:
    try:
        return [value, zlib.decompress(value)]
    except zlib.error:
        return [value]


def files(*folders: Path) -> Haystacks:
    """Every file below these folders."""
    return {f"file {path}": path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


class Recorder:
    """Keeps what an application answers, headers and all."""

    def __init__(self, app: Flask) -> None:
        self.answers: list[bytes] = []
        app.after_request(self._keep)

    def _keep(self, response: Response) -> Response:
        response.direct_passthrough = False
        self.answers.append(f"{response.status}\n{response.headers}\n".encode() + response.get_data())
        return response

    def content(self) -> Haystacks:
        """The answers by their numbers."""
        return {f"answer {number}": answer for number, answer in enumerate(self.answers)}


# --- The far sides ---


class ProcessorStandIn(StandIn):
    """An outside processor, written from docs/api.md; `picture` is what it paints."""

    picture = b""

    def answer(self, heard: Heard) -> Reply:
        if heard.path.startswith("/process/"):
            return json_reply({"received": True})
        if heard.path == "/api/poll-task":
            return json_reply({"status": "SUCCESS", "urls": ["/api/image/any"]})
        return Reply(self.picture, kind="image/jpeg")


class Post:
    """An SMTP server's memory: the letters and nothing of the logins."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.logins = 0

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name.
        """Take a mail."""
        assert isinstance(envelope.content, bytes)
        self.letters.append(envelope.content)
        return "250 OK"

    def knows(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: Any) -> AuthResult:
        """Whether the password is right."""
        self.logins += 1
        return AuthResult(success=login.password == MAIL_PASSWORD.encode())


@pytest.fixture(scope="module")
def moods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSpace]:
    """The Space of the faults' tests, which knows spent and revoked tokens by their names."""
    space = start_space(tmp_path_factory.mktemp("moods"), str(MOODS))
    space.wait_until_ready()
    yield space
    space.kill()


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator["FarSides"]:
    """Everybody that the product speaks with, on loopback; no proxy and no Sentry outlives the test."""
    for name in PROXY_NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with ExitStack() as stack:
        yield FarSides(stack)
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)


class FarSides:
    """The stand-ins of one run."""

    def __init__(self, stack: ExitStack) -> None:
        self.openai = stack.enter_context(openai.OpenAIStandIn())
        self.kie = stack.enter_context(kie.KieStandIn())
        self.imgbb = stack.enter_context(imgbb.ImgBBStandIn())
        self.processor = stack.enter_context(ProcessorStandIn())
        self.openai.picture = self.kie.picture = self.processor.picture = photo(200)
        self.hook: Sink = stack.enter_context(http_sink())
        self.sentry: Sink = stack.enter_context(http_sink())
        self.hub = HubStandIn()
        self.hub.start()
        stack.callback(self.hub.stop)
        self.hub.accounts = {GOOD: quota(300), SPENT: quota(300), REVOKED: quota(300)}
        self.post = Post()
        self._mail = Controller(
            self.post, hostname="127.0.0.1", port=free_port(), authenticator=self.post.knows, auth_require_tls=False
        )
        self._mail.start()
        stack.callback(self._mail.stop)

    def settings(self, space: str) -> dict[str, Any]:
        """The settings of an installation that has everything."""
        return {
            **SECRETS,
            "secret_key": (SECRETS["secret_key"],),
            "hugging_face_tokens": (GOOD, SPENT, REVOKED),
            "gradio_token_hosts": ("127.0.0.1",),
            "hf_endpoint": self.hub.url,
            "gradio_url": space,
            "gradio_api_name": "/by_token",
            "openai_base_url": self.openai.api_url,
            "kie_base_url": self.kie.url,
            "kie_upload_url": self.kie.url,
            "processor_url": self.processor.url,
            "imgbb_url": self.imgbb.url + imgbb.UPLOAD,
            "store_order": ("imgbb", "local"),
            "cloudflare_r2_access_key_id": "r2-access-key-id",
            "cloudflare_r2_endpoint": "http://127.0.0.1:1",
            "cloudflare_r2_bucket": "pictures",
            "google_client_id": "google-client-id",
            "sentry_dsn": f"http://{SECRETS['sentry_dsn']}@127.0.0.1:{self.sentry.port}/1",
            "mail_url": f"smtp://painter:{quote(MAIL_PASSWORD, safe='')}@127.0.0.1:{self._mail.port}",
            "alert_email": ("operator@example.org",),
            "alert_webhook_url": self.hook.url,
            "guest_daily_limit": 100,
            "guest_daily_limit_per_address": 100,
            "retry_delay": 10,
        }


# --- The run ---


def break_down() -> str:
    """A request that fails with every secret in its words and in its local variables."""
    everything = " ".join(EVERY_VALUE)
    raise RuntimeError(f"no use for {everything}")


def order_everywhere(make: Callable[..., Flask], far: FarSides, visitor: Visitor) -> list[str]:
    """Orders through each engine, well and badly, with far sides that repeat the key; gives how each ended."""

    def paint(**settings: Any) -> str:
        task_id = visitor.order(next(numbers))
        paint_waiting(make(for_worker=True, **settings))
        told = visitor.poll(task_id)
        visitor.get(f"/api/image/{task_id}")
        return f"{told['status']} {told['engine'] or told['code']}"

    numbers = itertools.count()
    ended = [paint(engine_order=("gradio",), hugging_face_tokens=(token,)) for token in (GOOD, SPENT, REVOKED)]
    Visitor(make(store_order=("r2", "local"))).order(next(numbers))
    ended += [paint(engine_order=(name,)) for name in ("openai", "kie", "processor")]
    heard_key = f"no use for Bearer {openai.KEY}"
    far.openai.next(openai.EDITS, openai.error(400, "odd", "odd", heard_key))
    far.kie.next(kie.CREATE, kie.code(501, f"no use for {kie.KEY}"))
    process_secret = SECRETS["task_process_secret_key"]
    far.processor.reply_to = lambda _heard: Reply(f"no use for {process_secret}".encode(), 500)  # type: ignore[method-assign]
    ended += [paint(engine_order=(name,)) for name in ("openai", "kie", "processor")]
    far.openai.next(openai.EDITS, openai.error(401, "invalid_api_key", "odd", heard_key))
    ended.append(paint(engine_order=("openai",)))
    return ended


def order_through_proxies(make: Callable[..., Flask], moods: RunningSpace, visitor: Visitor) -> list[str]:
    """One order through a proxy, and one through a proxy that wants another password."""
    ended = []
    for login in (f"painter:{PROXY_PASSWORD}", "painter:another"):
        with running_proxy({HOST: moods.port}, login=login) as proxy:
            url = f"http://painter:{quote(PROXY_PASSWORD, safe='')}@127.0.0.1:{proxy.port}"
            task_id = visitor.order(50 + len(ended))
            app = make(
                for_worker=True,
                engine_order=("gradio",),
                gradio_url=f"http://{HOST}",
                gradio_api_name="/busy_once",
                http_proxy=url,
                https_proxy=url,
            )
            paint_waiting(app)
            assert proxy.asked
            told = visitor.poll(task_id)
            ended.append(f"{told['status']} {told['engine'] or told['code']}")
            with app.app_context():
                check_engines.run(check_engines.parse([]))
    return ended


def look_as_operators(web: Flask) -> list[int]:
    """What operators and programs ask with their secrets, right and wrong; gives the statuses."""
    client = web.test_client()
    admin, key, token = SECRETS["admin_secret"], SECRETS["admin_api_key"], SECRETS["api_token"]
    bearer = {"Authorization": f"Bearer {SECRETS['task_process_secret_key']}"}
    body: dict[str, Any] = {"prompt": "", "height": 256, "width": 256, "seed": 1, "token": GOOD}
    body["imageBase64"] = base64.b64encode(photo(90)).decode()
    answers = [
        client.get("/api/token-status", headers={"X-Admin-Secret": admin}),
        client.get(f"/api/token-status?secret={admin}"),
        client.get(f"/api/token-status?secret={GOOD}"),
        client.get("/api/health", headers={"X-API-Key": key}),
        client.post("/api/user-credits", json={"nonsense": token}, headers={"Authorization": f"Bearer {token}"}),
        client.post("/process/somebody-elses-order", json=body, headers=bearer),
        client.post("/process/nonsense", json={"prompt": 1}, headers=bearer),
        client.post("/progress/unknown", json={"status": "processing", "progress": 5}, headers=bearer),
        client.get("/api/breaks"),
        client.get("/"),
    ]
    return [answer.status_code for answer in answers]


def alert_and_check(app: Flask, far: FarSides) -> None:
    """Everything that an operator starts by hand or by the clock, with words that hold each secret."""
    with app.app_context():
        alerts.raise_alert(alerts.Cause.FULL_DISK, " ".join(EVERY_VALUE))
        alerts.mended(alerts.Cause.FULL_DISK)
        far.hook.status = 500
        alerts.raise_alert(alerts.Cause.QUEUE_TOO_OLD, "The webhook does not take this one.")
        far.hook.status = 200
        monitor.check()
        storage_check.check_all()
        gpu_tokens.refresh(force=True)
        for words in ([], ["--paint"], ["--json"]):
            check_engines.run(check_engines.parse(words))


def test_nothing_keeps_a_secret(
    app_factory: Callable[..., Flask],
    far: FarSides,
    moods: RunningSpace,
    redis_server: RedisServer,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """After a run of everything no secret is in rows, Redis, logs, output, answers, mails, the webhook or files."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(KieEngine, "pause_after", lambda _engine, _seconds: 0.02)

    def make(**settings: Any) -> Flask:
        return app_factory(**{**far.settings(moods.url), **settings})

    web = make()
    web.testing = False
    web.add_url_rule("/api/breaks", view_func=break_down)
    recorder, visitor = Recorder(web), Visitor(web)
    assert order_everywhere(make, far, visitor) == [
        "SUCCESS gradio", "SUCCESS quota", "FAILED engine_unavailable",
        "SUCCESS openai", "SUCCESS kie", "SUCCESS processor",
        "FAILED engine_unavailable", "FAILED engine_unavailable", "FAILED engine_unavailable",
        "FAILED engine_unavailable",
    ]  # fmt: skip
    assert order_through_proxies(make, moods, visitor) == ["SUCCESS gradio", "FAILED engine_unavailable"]
    assert look_as_operators(web) == [200, 200, 401, 200, 422, 200, 422, 404, 500, 200]
    del far.hub.accounts[REVOKED]
    alert_and_check(make(store_order=("r2", "imgbb", "local")), far)

    sentry_sdk.flush(5)
    written = capfd.readouterr()
    logs = Path(web.instance_path) / "logs"
    assert "[masked]" in (logs / "errors.log").read_text(), "The failing request was logged, without its words."
    assert "Traceback" in written.err
    assert far.imgbb.uploads
    assert far.post.letters
    assert far.post.logins
    assert far.hook.bodies
    assert WEBHOOK_KEY in far.hook.url
    assert far.sentry.bodies
    engine = create_engine(database_url)
    with Redis.from_url(redis_server.url) as redis:
        haystacks = {
            **rows(engine),
            **redis_content(redis),
            **recorder.content(),
            **files(tmp_path, Path(urlsplit(database_url).path).parent),
            "what was printed": (written.out + written.err).encode(),
            "mails": b"\n".join(far.post.letters),
            "the webhook": "\n".join(far.hook.bodies).encode(),
            # Sentry itself is told its own key with everything.
            "Sentry": "\n".join(far.sentry.bodies).replace(SECRETS["sentry_dsn"], "").encode(),
        }
    engine.dispose()
    places = " ".join(haystacks)
    for known in (
        "table image_tasks", "table incidents", "table health_checks", "Redis ghibli:tokens", "errors.log", ".sqlite3",
    ):  # fmt: skip
        assert known in places, "The search went past it."
    assert search(haystacks) == []


def test_a_planted_secret_is_found(app: Flask, redis_server: RedisServer, database_url: str, tmp_path: Path) -> None:
    """The search can fail: a secret planted in each kind of place, in each form, is found there."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO flags (name, value, set_by, set_at) VALUES ('maintenance', :value, 'x', '2026-11-22')"),
            {"value": f"said {GOOD}"},
        )
    (tmp_path / "left.tmp").write_text(quote(MAIL_PASSWORD, safe=""))
    app.add_url_rule("/api/tells", view_func=lambda: kie.KEY)
    recorder = Recorder(app)
    app.test_client().get("/api/tells")
    with Redis.from_url(redis_server.url) as redis, app.app_context():
        runtime().redis.hset("rq:job:planted", "data", zlib.compress(f"('{openai.KEY}',)".encode()))
        runtime().redis.zadd(f"planted:{SPENT}", {"x": 1})
        runtime().redis.rpush("planted", base64.b64encode(f"painter:{PROXY_PASSWORD} and more".encode()))
        content = redis_content(redis)
    found = search({**rows(engine), **content, **recorder.content(), **files(tmp_path)})
    engine.dispose()
    assert {line.split("… in ")[0] for line in found} == {
        # The key of the stand-in for ImgBB is a part of the two others.
        secret[:12]
        for secret in (GOOD, MAIL_PASSWORD, kie.KEY, openai.KEY, imgbb.KEY, SPENT, PROXY_PASSWORD)
    }
    for place in ("table flags", "left.tmp", "answer 0", "Redis rq:job:planted", f"Redis planted:{SPENT}"):
        assert any(place in line for line in found), place
    for offset in range(3):
        assert search({"text": base64.b64encode(b"x" * offset + f"{REVOKED} tail".encode())})


# --- The settings themselves ---


def secret_settings(value: str) -> dict[str, Any]:
    """Settings with this value as every secret that there is, and as the password of every address."""
    lists = {name for name in WHOLE if isinstance(Settings.model_fields[name].default, tuple)}
    found: dict[str, Any] = {name: (value,) if name in lists else value for name in WHOLE}
    found |= {"alert_webhook_url": f"https://hook.example/{value}", "sentry_dsn": f"https://{value}@sentry.example/1"}
    schemes = {"database_url": "mysql+pymysql", "redis_url": "redis", "mail_url": "smtp"}
    return found | {name: f"{schemes.get(name, 'http')}://name:{value}@host.example" for name in ADDRESSES}


def test_settings_do_not_show_their_secrets() -> None:
    """Neither repr nor str of the settings holds any secret; what is no secret is shown."""
    settings = Settings(_env_file=None, **secret_settings("not-to-be-shown-anywhere"))
    assert "not-to-be-shown-anywhere" not in f"{settings!r} {settings}"
    assert "queue_prefix='ghibli'" in repr(settings)


@pytest.mark.parametrize("name", [*WHOLE, *ADDRESSES])
def test_a_wrong_setting_does_not_show_its_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of a value that is refused names the setting and quotes nothing of it, nor of the others."""
    value = "half/secret℀part"
    for setting, content in secret_settings("other-secret").items():
        monkeypatch.setenv(setting.upper(), ",".join(content) if isinstance(content, tuple) else content)
    schemes = {"mail_url": "smtp", "database_url": "mysql", "redis_url": "redis"}
    is_address = name in ADDRESSES or name in {"sentry_dsn", "alert_webhook_url"}
    monkeypatch.setenv(name.upper(), f"{schemes.get(name, 'http')}://name:{value}@host" if is_address else value)
    monkeypatch.setenv("PORT", "none")
    with pytest.raises(SettingsError) as raised:
        load_settings(_env_file=None)
    assert "PORT: " in str(raised.value)
    for part in ("half", "secret℀part", "other-secret"):
        assert part not in str(raised.value)
