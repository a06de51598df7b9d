"""The mails of accounts on their way: asked for by the web side, written by the maintenance queue, sent by SMTP."""

import base64
import datetime as dt
import logging
import re
import smtplib
import ssl
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flask import Flask
from rq.job import Job

from ghibli_flask import queueing
from ghibli_flask.extensions import runtime
from ghibli_flask.services import accounts, mail
from jobs.schedule import OwnScheduler
from tests.auth.conftest import deliver, kept_mails, link_in
from tests.support.mail_server import MailServer, Postbox
from tests.support.member import PASSWORD, confirmed_account
from tests.support.ports import free_port
from tests.support.visitor import Visitor

# rq-scheduler asks for cron times in the way that crontab announces to change.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:rq_scheduler")

EMAIL = "ada@example.org"
UNKNOWN = "nobody@example.org"
PRODUCTION: dict[str, Any] = {
    "app_env": "production",
    "app_url": "https://paint.example.org",
    "secret_key": ("correct-horse-battery-staple-4711-0815",),
}


@pytest.fixture
def app(app_factory: Callable[..., Flask], mail_server: MailServer) -> Flask:
    """The application with this mail server."""
    return app_factory(mail_url=f"smtp://127.0.0.1:{mail_server.port}", mail_from="Painter <paint@example.org>")


def ask(app: Flask, email: str, path: str = "/auth/forgot") -> tuple[int, str]:
    """Ask for a mail as a visitor; gives the answer's status and its text without the address and the token."""
    visitor = Visitor(app)
    answer = visitor.post(path, data={"email": email, "password": PASSWORD})
    text = answer.get_data(as_text=True).replace(email, "…")
    return answer.status_code, re.sub(r'("csrfToken": "|csrf_token" value="|csrf-token" content=")[^"]*', r"\1…", text)


def test_a_mail_goes_out(app: Flask, postbox: Postbox) -> None:
    """What the worker writes arrives at the server: to the one address, from the site, as plain text with the link."""
    with app.app_context():
        confirmed_account(EMAIL)
    ask(app, EMAIL)
    assert postbox.letters == [], "the web side sent it itself"
    deliver(app)
    (letter,) = postbox.letters
    assert postbox.recipients == [[EMAIL]]
    assert letter["To"] == EMAIL
    assert letter["From"] == "Painter <paint@example.org>"
    assert letter["Subject"] == "A new password"
    assert letter["Date"]
    assert letter["Message-ID"]
    assert letter.get_content_type() == "text/plain"
    assert Visitor(app).get(link_in(letter)).status_code == 200


@pytest.mark.parametrize(
    ("path", "state", "subject"),
    [
        ("/auth/signup", "new", "Please confirm your address"),
        ("/auth/signup", "known", "You have an account already"),
        ("/auth/forgot", "known", "A new password"),
    ],
)
def test_each_letter_is_the_right_one(app: Flask, postbox: Postbox, path: str, state: str, subject: str) -> None:
    """A new address is asked to confirm, a known one is told so, and a forgotten password is replaced."""
    if state == "known":
        with app.app_context():
            confirmed_account(EMAIL)
    ask(app, EMAIL, path)
    deliver(app)
    assert [letter["Subject"] for letter in postbox.letters] == [subject]
    text = postbox.letters[0].get_content()
    assert "http://127.0.0.1:3000" in text
    assert PASSWORD not in text


def test_an_unknown_address_gets_no_mail(app: Flask, postbox: Postbox) -> None:
    """Nobody hears anything when there is no account, and the visitor's answer is the same."""
    with app.app_context():
        confirmed_account(EMAIL)
    assert ask(app, UNKNOWN) == ask(app, EMAIL)
    deliver(app)
    assert postbox.recipients == [[EMAIL]]


def test_the_worker_starttls_and_logs_in(
    app_factory: Callable[..., Flask], postbox: Postbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that wants encryption and a login gets both, with whatever characters name and password have."""
    certificate, context = own_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = MailServer(postbox, context)
    server.start()
    try:
        address = f"smtp://the%20painter:a%20secret%20with%20%2F%20and%20%40@localhost:{server.port}"
        app = app_factory(mail_url=address)
        with app.app_context():
            mail.send(mail.Letter(EMAIL, "Hello", "A word."))
    finally:
        server.stop()
    assert postbox.were_encrypted == [True]


def test_a_server_of_another_name_is_not_trusted(
    app_factory: Callable[..., Flask], postbox: Postbox, tmp_path: Path
) -> None:
    """A certificate that nobody vouches for ends the sending before a password or a link is said."""
    server = MailServer(postbox, own_certificate(tmp_path)[1])
    server.start()
    try:
        app = app_factory(mail_url=f"smtp://name:password@localhost:{server.port}")
        with app.app_context(), pytest.raises(ssl.SSLCertVerificationError):
            mail.send(mail.Letter(EMAIL, "Hello", "A word."))
    finally:
        server.stop()
    assert postbox.letters == []


def own_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for localhost that is its own authority: its file, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return pem, context


# --- When something is away ---


def later(app: Flask) -> list[Job]:
    """The jobs that are to run at a later time, but for the periodic ones."""
    with app.app_context():
        scheduler = OwnScheduler(runtime().settings.queue_prefix, (), runtime().redis)
        return list(scheduler.get_jobs())


def let_time_pass(app: Flask) -> None:
    """Make every job due that is to run later, and let scheduler and worker do what they then do."""
    with app.app_context():
        scheduler = OwnScheduler(runtime().settings.queue_prefix, (), runtime().redis)
        for job in scheduler.get_jobs():
            runtime().redis.zadd(scheduler.scheduled_jobs_key, {job.id: 0})
        scheduler.enqueue_jobs()
    deliver(app)


def failed(app: Flask) -> list[str]:
    """The ids of the jobs that were given up."""
    with app.app_context():
        return queueing.maintenance_queue().failed_job_registry.get_job_ids()


def test_a_server_that_is_away_loses_no_mail(app: Flask, mail_server: MailServer, postbox: Postbox) -> None:
    """The visitor hears nothing of it, and the mail goes out when the server is back, with a link that works."""
    with app.app_context():
        confirmed_account(EMAIL)
    answer_before = ask(app, UNKNOWN)
    mail_server.stop()
    assert ask(app, EMAIL) == answer_before
    deliver(app)
    assert len(later(app)) == 1
    let_time_pass(app)
    assert len(later(app)) == 1, "a second failure is tried again too"
    revived = Controller(postbox, hostname="127.0.0.1", port=mail_server.port)
    revived.start()
    try:
        let_time_pass(app)
    finally:
        revived.stop()
    assert postbox.recipients == [[EMAIL]]
    assert Visitor(app).get(link_in(postbox.letters[0])).status_code == 200
    assert later(app) == []
    assert failed(app) == []


def test_a_mail_is_given_up_in_the_end(app: Flask, mail_server: MailServer) -> None:
    """A server that stays away is tried four times; then the job stands among the failed ones, where it is seen."""
    with app.app_context():
        confirmed_account(EMAIL)
    mail_server.stop()
    ask(app, EMAIL)
    deliver(app)
    for _ in range(2):
        let_time_pass(app)
    assert len(later(app)) == 1
    assert failed(app) == []
    let_time_pass(app)
    assert later(app) == []
    assert len(failed(app)) == 1


def test_without_redis_nothing_is_promised(app_factory: Callable[..., Flask]) -> None:
    """With Redis away everybody is asked to come back, and no mail is said to be on its way."""
    app = app_factory(redis_url="redis://127.0.0.1:1/0")
    with app.app_context():
        confirmed_account(EMAIL)
    for path in ("/auth/forgot", "/auth/signup"):
        known, unknown = ask(app, EMAIL, path), ask(app, UNKNOWN, path)
        assert known == unknown
        assert known[0] == 503


# --- What Redis and the log know ---


def everything_in_redis(app: Flask) -> str:
    """Every key and every value, as text; RQ packs some of them."""
    found = []
    with app.app_context():
        redis = runtime().redis
        for key in redis.scan_iter():
            kind = redis.type(key)
            readers: dict[bytes, Callable[[Any], Any]] = {
                b"string": redis.get,
                b"hash": redis.hgetall,
                b"list": lambda name: redis.lrange(name, 0, -1),
                b"set": redis.smembers,
                b"zset": lambda name: redis.zrange(name, 0, -1),
                b"stream": redis.xrange,
            }
            found.append(f"{key!r} {unpacked(readers[kind](key))}")
    return "\n".join(found)


def unpacked(value: Any) -> str:
    """A value as text, unpacked wherever it is packed."""
    if isinstance(value, dict):
        return " ".join(f"{unpacked(name)}={unpacked(item)}" for name, item in value.items())
    if isinstance(value, list | tuple | set):
        return " ".join(unpacked(item) for item in value)
    if isinstance(value, bytes):
        with suppress(zlib.error):
            value = zlib.decompress(value)
        with suppress(ValueError):
            value = base64.b64decode(value, validate=True) + b" " + value
        with suppress(zlib.error):
            value = zlib.decompress(value)
        return value.decode("utf-8", "replace")
    return str(value)


def test_redis_knows_neither_addresses_nor_links(app: Flask, mail_server: MailServer) -> None:
    """At no time, waiting, failed or to be tried again, is there an address, a link or a password in Redis."""
    with app.app_context():
        confirmed_account(EMAIL)
    moments = []
    ask(app, EMAIL)
    ask(app, "new@example.org", "/auth/signup")
    Visitor(app).post("/auth/signin", data={"email": EMAIL, "password": "a wrong password"})
    moments.append(everything_in_redis(app))
    mail_server.stop()
    deliver(app)
    moments.append(everything_in_redis(app))
    for _ in range(3):
        let_time_pass(app)
    moments.append(everything_in_redis(app))
    with app.app_context():
        account = accounts.find_by_email_key(accounts.email_key(EMAIL))
        assert account is not None
        secrets = (accounts.link_token(accounts.RESET, account)[:20], "/auth/reset/", "/auth/confirm/")
    for moment in moments:
        assert accounts.email_key(EMAIL) in moment, "the jobs themselves were not looked at"
        for secret in (EMAIL, "ada@", "example.org", PASSWORD, *secrets):
            assert secret not in moment


def test_a_refused_recipient_stays_out_of_redis(app_factory: Callable[..., Flask]) -> None:
    """A server that refuses the recipient quotes the address; what RQ keeps of the failure does not."""

    class Refusing(Postbox):
        async def handle_RCPT(  # noqa: N802 - aiosmtpd's name.
            self, _server: SMTP, _session: Session, _envelope: Envelope, address: str, _options: list[str]
        ) -> str:
            return f"550 no such person: {address}"

    server = Controller(Refusing(), hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        app = app_factory(mail_url=f"smtp://127.0.0.1:{server.port}")
        with app.app_context():
            confirmed_account(EMAIL)
        ask(app, EMAIL)
        deliver(app)
        for _ in range(3):
            let_time_pass(app)
    finally:
        server.stop()
    assert EMAIL not in everything_in_redis(app)


def test_development_keeps_its_mails(app_factory: Callable[..., Flask], caplog: pytest.LogCaptureFixture) -> None:
    """Without MAIL_URL a developer finds the mail in the log, in the instance folder and on a page with its link."""
    app = app_factory()
    with app.app_context():
        confirmed_account(EMAIL)
    ask(app, EMAIL)
    with caplog.at_level(logging.INFO):
        deliver(app)
    (letter,) = kept_mails(app)
    link = link_in(letter)
    assert link in caplog.text
    with app.app_context():
        folder = runtime().settings.instance_dir / "mail"
    assert len(list(folder.glob("*.eml"))) == 1
    page = Visitor(app).get("/auth/mails").get_data(as_text=True)
    assert link in page
    assert EMAIL in page


def test_only_the_last_mails_are_kept(app_factory: Callable[..., Flask]) -> None:
    """Development keeps fifty mails, the newest."""
    app = app_factory()
    with app.app_context():
        for number in range(53):
            mail.send(mail.Letter(EMAIL, f"Letter {number}", "A word."))
    assert [letter["Subject"] for letter in kept_mails(app)] == [f"Letter {number}" for number in range(52, 2, -1)]


def test_production_without_a_mail_server_says_so(
    app_factory: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    """In production nothing is kept or shown: the log says that a mail was not sent, without address and link."""
    app = app_factory(**PRODUCTION)
    with app.app_context():
        confirmed_account(EMAIL)
        queueing.ask_for_mail(accounts.RESET, accounts.email_key(EMAIL), "en", None)
    with caplog.at_level(logging.INFO):
        deliver(app)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert told == ["A mail was not sent, because MAIL_URL is not set: A new password"]
    assert "/auth/reset/" not in caplog.text
    assert EMAIL not in caplog.text
    assert kept_mails(app) == []
    assert app.test_client().get("/auth/mails", base_url="https://paint.example.org").status_code == 404


def test_a_site_that_sends_mails_shows_none(app: Flask) -> None:
    """With MAIL_URL the development page of kept mails is not there, in development neither."""
    assert Visitor(app).get("/auth/mails").status_code == 404


def test_links_do_not_travel_in_the_clear(app_factory: Callable[..., Flask], postbox: Postbox) -> None:
    """A mail server on another machine that offers no STARTTLS gets neither password nor mail."""
    server = Controller(postbox, hostname="127.0.0.2", port=free_port())
    server.start()
    try:
        app = app_factory(mail_url=f"smtp://127.0.0.2:{server.port}")
        with app.app_context(), pytest.raises(smtplib.SMTPNotSupportedError, match="STARTTLS"):
            mail.send(mail.Letter(EMAIL, "Hello", "A word."))
    finally:
        server.stop()
    assert postbox.letters == []


def test_a_name_cannot_write_the_mail(app: Flask, postbox: Postbox) -> None:
    """What somebody types as a name does not reach the reader of the mail, nor does it make headers."""
    trick = "Ada, visit https://elsewhere.example now\r\nBcc: victim@example.org"
    Visitor(app).post("/auth/signup", data={"email": EMAIL, "password": PASSWORD, "name": trick})
    deliver(app)
    assert postbox.recipients == [[EMAIL]]
    assert "elsewhere.example" not in postbox.letters[0].as_string()


def test_an_address_cannot_make_headers(app: Flask, postbox: Postbox) -> None:
    """An address with line ends or blanks is refused before anything is kept."""
    for email in (
        "ada@example.org\r\nBcc: victim@example.org",
        "ada@example.org, victim@example.org",
        "ada @b.example",
    ):
        answer = Visitor(app).post("/auth/signup", data={"email": email, "password": PASSWORD})
        assert answer.status_code == 422
    deliver(app)
    assert postbox.letters == []
