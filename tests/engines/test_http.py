"""The engines' HTTP: where it connects, what it sends along, and that every wait can be ended. Also over TLS."""

import datetime
import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jobs.engines import http
from jobs.engines.base import Deadline, EngineBroken, PaintingCancelled
from jobs.engines.call import Call
from jobs.engines.http import AnswerLost, Conversation, NotReached
from tests.engines.conftest import AT_ONCE_S, listening_stranger
from tests.engines.paid import nothing_is_left  # noqa: F401  # A fixture.
from tests.support.standins.server import Heard, Reply, StandIn

KEY = "key-0123456789abcdef"


class Echo(StandIn):
    """Answers everything with a small picture."""

    def answer(self, heard: Heard) -> Reply:
        return Reply(b"picture", kind="image/png")


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A server over plain http."""
    with Echo() as server:
        yield server


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Echo, Path]]:
    """A server over https, and the certificate to trust for it."""
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(self_signed())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Echo()
    server.secure_with(context)
    with server:
        yield server, certificate


def self_signed() -> bytes:
    """A key and a certificate of its own for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + certificate.public_bytes(serialization.Encoding.PEM)


def call(seconds: float = 10.0, is_cancelled: threading.Event | None = None) -> Call:
    """A call that hears of a cancel by this event."""
    cancelled = is_cancelled or threading.Event()
    return Call(Deadline(seconds), lambda _: None, cancelled.is_set)


def test_tls(secure: tuple[Echo, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Over https the same connection serves several requests, and one that hangs can be cancelled."""
    server, certificate = secure
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    server.next("/slow", Reply(manner="silence"))
    cancelled = threading.Event()
    with Conversation(call(is_cancelled=cancelled)) as conversation:
        answers = [conversation.send("GET", f"{server.url}/fast", key=KEY) for _ in range(3)]
        assert [answer.body for answer in answers] == [b"picture"] * 3
        assert server.connections == 1
        threading.Timer(0.1, cancelled.set).start()
        began_at = time.monotonic()
        with pytest.raises(PaintingCancelled):
            conversation.send("GET", f"{server.url}/slow", key=KEY)
        assert time.monotonic() - began_at < AT_ONCE_S
        assert server.client_left.wait(AT_ONCE_S)


def test_a_certificate_that_nobody_vouches_for(secure: tuple[Echo, Path]) -> None:
    """A server without a good certificate is not spoken to."""
    server, _ = secure
    with Conversation(call()) as conversation, pytest.raises(NotReached, match=r"SSLError, .*self-signed certificate"):
        conversation.send("GET", server.url, key=KEY)
    assert not server.heard


def test_a_public_name_that_means_this_machine() -> None:
    """A name is judged by the address that it turns out to have, before anything is said to it."""
    with listening_stranger() as stranger, Conversation(call()) as conversation:
        with pytest.raises(EngineBroken, match="not on the public network"):
            conversation.download(f"https://localhost:{stranger.port}/a.jpg", home=(), max_bytes=100)
        assert not stranger.heard


def test_home_is_an_origin(echo: Echo) -> None:
    """What may be anywhere is one origin: scheme, host and port."""
    with Conversation(call()) as conversation:
        assert conversation.download(f"{echo.url}/a.png", home=(echo.url,), max_bytes=100) == b"picture"
        for home in (
            "http://127.0.0.1",
            echo.url.replace("http:", "https:"),
            echo.url.replace("127.0.0.1", "localhost"),
        ):
            with pytest.raises(EngineBroken):
                conversation.download(f"{echo.url}/a.png", home=(home,), max_bytes=100)
    assert len(echo.heard) == 1


def test_the_body_of_a_redirect_is_bounded_too(echo: Echo) -> None:
    """A redirect with an endless body costs no more memory than any other answer."""
    echo.next("/a.png", Reply(b"x" * 1000, 302, headers={"Location": "/b.png"}))
    with Conversation(call()) as conversation, pytest.raises(EngineBroken, match="larger than 100 bytes"):
        conversation.download(f"{echo.url}/a.png", home=(echo.url,), max_bytes=100)


def test_netrc_is_left_alone(echo: Echo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What ~/.netrc holds for a host is never sent: neither instead of the key nor where there is none."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Conversation(call()) as conversation:
        conversation.send("GET", echo.url, key=KEY)
        conversation.send("GET", echo.url)
    assert [heard.headers["Authorization"] for heard in echo.heard] == [f"Bearer {KEY}", None]


def test_connections_that_are_closed_are_let_go(echo: Echo) -> None:
    """A server that closes each connection does not cost a conversation one open file after the other."""
    echo.next("/a", *[Reply(headers={"Connection": "close"})] * 20)
    with Conversation(call()) as conversation:
        conversation.send("GET", f"{echo.url}/a")
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(19):
            conversation.send("GET", f"{echo.url}/a")
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 4
    assert echo.connections == 20


def test_patience_ends_one_request_only(echo: Echo) -> None:
    """A request may be given less time than the call has; the conversation goes on over a new connection."""
    echo.next("/slow", Reply(manner="silence"))
    with Conversation(call()) as conversation:
        with pytest.raises(AnswerLost, match="no answer within 0 s"):
            conversation.send("GET", f"{echo.url}/slow", patience=0.1)
        assert conversation.send("GET", f"{echo.url}/fast").status == 200


def test_a_proxy_that_is_not_there(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wrong proxy nothing is sent, and the error says that it is the proxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with (
        Conversation(call()) as conversation,
        pytest.raises(NotReached, match=r"The proxy http://127.0.0.1:1 does not answer"),
    ):
        conversation.send("GET", echo.url, key=KEY)
    assert not echo.heard


def test_a_proxy_that_refuses(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel that a proxy refuses carried no request, and the key did not travel to the proxy."""
    monkeypatch.setenv("HTTPS_PROXY", echo.url)
    with Conversation(call()) as conversation, pytest.raises(NotReached, match="Tunnel connection failed: 501"):
        conversation.send("POST", "https://api.example.org/v1/images", key=KEY, json={})
    assert not echo.heard


def test_an_unwritable_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that no name look-up takes is an error of the engine like any other."""
    monkeypatch.setattr(http, "DOWNLOAD_PAUSE_S", 0.01)
    with Conversation(call()) as conversation, pytest.raises((NotReached, EngineBroken)):
        conversation.download(f"https://{'a' * 64}.example.org/a.png", home=(), max_bytes=100)
