"""HTTP_PROXY, HTTPS_PROXY and NO_PROXY work for every library that calls out, and a wrong proxy is named."""

import contextlib
import datetime
import os
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import requests
import sentry_sdk
from authlib.integrations.requests_client import OAuth2Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from obstore.exceptions import BaseError
from obstore.store import S3Store

from ghibli_flask.clock import FixedClock
from ghibli_flask.masking import Mask
from ghibli_flask.proxies import LOOPBACK, install_proxies, proxy_for, proxy_trouble
from ghibli_flask.sentry import start_sentry
from ghibli_flask.services import alert_channels, hub_quota
from ghibli_flask.settings import Settings
from ghibli_flask.storage.imgbb import ImgBBStore
from jobs.engines import gradio_http
from jobs.engines.base import Deadline, Engine, EngineBroken, EngineBusy, EngineError
from jobs.engines.kie import KieEngine
from jobs.engines.openai import OpenAIEngine
from jobs.engines.processor import ProcessorEngine
from tests.engines.conftest import MakeEngine, RunningSpace, heard_by_the_space, paint
from tests.support.http_sink import http_sink
from tests.support.ports import free_port
from tests.support.proxy import Proxy, running_proxy, tls_in_front_of
from tests.support.standins import imgbb, kie, openai
from tests.support.standins.hub import HubStandIn, quota
from tests.support.standins.server import Heard, Reply, StandIn, json_reply

HOST = "painter.example"
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy is set before a test, and none is left after it."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for HOST that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The certificate is trusted in the way that an operator tells it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    gradio_http.tls.cache_clear()
    yield
    gradio_http.tls.cache_clear()


def use(proxy_url: str) -> None:
    """Set this proxy as an operator does."""
    install_proxies(Settings(_env_file=None, http_proxy=proxy_url, https_proxy=proxy_url))


@contextlib.contextmanager
def only_by_proxy(url: str, port: int, certificate: Path) -> Iterator[Proxy]:
    """A proxy in use, which alone knows that `url` is at this plain port: forwarded, or through a tunnel with TLS."""
    with contextlib.ExitStack() as stack:
        if url.startswith("https"):
            port = stack.enter_context(tls_in_front_of(port, str(certificate)))
        proxy = stack.enter_context(running_proxy({HOST: port}, login="visitor:se@cret"))
        use(proxy.url)
        yield proxy


@pytest.fixture(params=["http", "https"])
def far_url(request: pytest.FixtureRequest, trusted: None) -> str:
    """An address that no name look-up knows; its certificate is trusted."""
    return f"{request.param}://{HOST}"


@pytest.fixture
def proxied(gallery: RunningSpace, certificate: Path, far_url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy in use, and the address of the Space that it alone can reach."""
    with only_by_proxy(far_url, gallery.port, certificate) as proxy:
        yield proxy, far_url


def ask_requests(url: str) -> bool:
    return requests.get(f"{url}/calls", timeout=5).ok


def ask_authlib(url: str) -> bool:
    with OAuth2Session("client", token={"access_token": "x", "token_type": "bearer"}) as session:
        return bool(session.get(f"{url}/calls", timeout=5).ok)


def ask_httpx(url: str) -> bool:
    return httpx.get(f"{url}/calls", timeout=5, verify=gradio_http.tls()).is_success


@pytest.mark.parametrize("ask", [ask_requests, ask_authlib, ask_httpx])
def test_libraries(proxied: tuple[Proxy, str], ask: Callable[[str], bool]) -> None:
    """A request of each HTTP library arrives through the proxy, in the clear and through a tunnel."""
    proxy, url = proxied
    assert ask(url)
    assert proxy.asked
    assert {asked.split()[-1] for asked in proxy.asked} == {HOST}


def test_objects(proxied: tuple[Proxy, str]) -> None:
    """The object stores ask through the proxy too; what answers here is no S3, so the call itself fails."""
    proxy, url = proxied
    store = S3Store(
        "bucket",
        endpoint=url,
        region="auto",
        access_key_id="id",
        secret_access_key="key",
        client_options={"allow_http": True, "timeout": "3s"},
        retry_config={"max_retries": 0, "retry_timeout": datetime.timedelta(seconds=3)},
    )
    with pytest.raises((BaseError, FileNotFoundError)):
        store.get("nothing")
    assert HOST in proxy.asked[0]


def test_a_painting(proxied: tuple[Proxy, str], engine_for: MakeEngine) -> None:
    """All of a painting goes through the proxy: connecting, upload, event stream and download."""
    proxy, url = proxied
    assert heard_by_the_space(paint(engine_for(url, "/six")))[0] == "Ghibli Studio style"
    if url.startswith("https"):
        assert set(proxy.asked) == {f"CONNECT {HOST}"}
    else:
        # Configuration, endpoints, stream and picture; upload and order.
        assert (proxy.asked.count(f"GET {HOST}"), proxy.asked.count(f"POST {HOST}")) == (4, 2)


def test_what_is_not_sent_through_it(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """The bundled Space is on this machine and is asked directly, unless NO_PROXY is set to something else."""
    with running_proxy({"127.0.0.1": gallery.port}) as proxy:
        install_proxies(Settings(_env_file=None, http_proxy=proxy.url))
        assert paint(engine_for(gallery.url))
        assert proxy.asked == []
        install_proxies(Settings(_env_file=None, http_proxy=proxy.url, no_proxy="other.example"))
        assert paint(engine_for(gallery.url))
        assert proxy.asked


def test_where_every_library_looks() -> None:
    """The settings reach the environment in both spellings; without a proxy nothing is touched."""
    install_proxies(Settings(_env_file=None, no_proxy="a.example"))
    assert not any(name in os.environ for name in NAMES)
    install_proxies(Settings(_env_file=None, https_proxy="http://proxy.example:3128"))
    found = {name: os.environ.get(name) for name in NAMES}
    assert found["HTTPS_PROXY"] == found["https_proxy"] == "http://proxy.example:3128"
    assert found["NO_PROXY"] == found["no_proxy"] == LOOPBACK
    assert found["HTTP_PROXY"] is found["http_proxy"] is None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_away(engine_for: MakeEngine, scheme: str) -> None:
    """Both ways to paint and to check say that it is the proxy, and which, without its password."""
    port = free_port()
    use(f"http://visitor:secret@127.0.0.1:{port}")
    url = f"{scheme}://{HOST}"
    with pytest.raises(EngineBroken) as painting:
        paint(engine_for(url))
    with pytest.raises(EngineBroken) as checking:
        engine_for(url).check(credential=None, deadline=Deadline(5))
    with pytest.raises(requests.RequestException) as asking:
        requests.get(url, timeout=5)
    for text in (painting.value.safe_text, checking.value.safe_text, proxy_trouble(asking.value) or ""):
        assert text.startswith(f"The proxy http://127.0.0.1:{port} does not answer as it should: ")
        assert "secret" not in text


@pytest.mark.parametrize(("login", "said"), [("visitor:right", "407"), (None, "502")])
def test_a_proxy_that_refuses_a_tunnel(engine_for: MakeEngine, login: str | None, said: str) -> None:
    """A wrong password, and a host that the proxy cannot reach, are told in the proxy's own words."""
    with running_proxy({}, login=login) as proxy:
        use(f"http://visitor:wrong@127.0.0.1:{proxy.port}")
        with pytest.raises(EngineBroken, match=f"127.0.0.1:{proxy.port} .*{said}"):
            paint(engine_for(f"https://{HOST}"))
        with pytest.raises(requests.RequestException) as asking:
            requests.get(f"https://{HOST}", timeout=5)
        assert said in (proxy_trouble(asking.value) or "")


def test_a_wrong_password_for_a_forwarded_request(engine_for: MakeEngine) -> None:
    """A proxy that asks for a password answers like a host; it is recognised all the same."""
    with running_proxy({}, login="visitor:right") as proxy:
        use(f"http://visitor:wrong@127.0.0.1:{proxy.port}")
        with pytest.raises(EngineBroken, match=r"The proxy .*407"):
            paint(engine_for(f"http://{HOST}"))


def test_what_is_not_the_proxys_fault(gallery: RunningSpace, certificate: Path, engine_for: MakeEngine) -> None:
    """A certificate that nobody trusts, and a host that is away without a proxy, are not blamed on the proxy."""
    with pytest.raises(EngineBroken) as away:
        paint(engine_for(f"http://127.0.0.1:{free_port()}"))
    assert "proxy" not in away.value.safe_text
    with tls_in_front_of(gallery.port, str(certificate)) as secure, running_proxy({HOST: secure}) as proxy:
        use(proxy.url)
        with pytest.raises(EngineBroken) as untrusted:
            paint(engine_for(f"https://{HOST}"))
    assert "CERTIFICATE_VERIFY_FAILED" in untrusted.value.safe_text
    assert "proxy" not in untrusted.value.safe_text
    assert proxy_trouble(ValueError("anything")) is None


def test_a_proxy_without_a_scheme() -> None:
    """`host:port`, as people write it, is an http proxy; no proxy is named for a direct call."""
    os.environ.update({"http_proxy": "proxy.example:3128", "no_proxy": "direct.example"})
    assert proxy_for("http://painter.example") == "http://proxy.example:3128"
    assert proxy_for("http://direct.example") is None


# --- Everybody else whom the product calls ---


class FarProcessor(StandIn):
    """An outside processor, written from docs/processors.md."""

    def answer(self, heard: Heard) -> Reply:
        if heard.path.startswith("/process/"):
            return json_reply({"received": True})
        if heard.path == "/api/poll-task":
            return json_reply({"status": "SUCCESS", "urls": ["/picture.jpg"]})
        return Reply(b"the picture", kind="image/jpeg")


def engine_at(name: str, url: str) -> tuple[Engine, str]:
    """One of the engines that call by requests, and a credential for it."""
    engines: dict[str, tuple[Engine, str]] = {
        "kie": (KieEngine("google/nano-banana-edit", url, url, polling_plan=((float("inf"), 0.01),)), kie.KEY),
        "openai": (OpenAIEngine("gpt-image-2", f"{url}/v1"), openai.KEY),
        "processor": (ProcessorEngine(url, ask_every_s=0.02), "process-secret"),
    }
    return engines[name]


STAND_INS: dict[str, type[StandIn]] = {"kie": kie.KieStandIn, "openai": openai.OpenAIStandIn, "processor": FarProcessor}


@contextlib.contextmanager
def far(kind: type[StandIn], url: str, certificate: Path) -> Iterator[tuple[Any, Proxy]]:
    """A stand-in that takes itself for `url`, and the proxy that alone can reach it."""
    with (
        type(kind.__name__, (kind,), {"url": url})() as stand_in,
        only_by_proxy(url, stand_in.port, certificate) as proxy,
    ):
        yield stand_in, proxy


@pytest.mark.parametrize("name", STAND_INS)
def test_a_painting_by_another_engine(name: str, far_url: str, certificate: Path) -> None:
    """All of it goes through the proxy, the order and the picture; over https in tunnels alone."""
    with far(STAND_INS[name], far_url, certificate) as (stand_in, proxy):
        engine, key = engine_at(name, far_url)
        assert paint(engine, credential=key, reference="task-1").endswith(b"the picture")
    if far_url.startswith("https"):
        assert set(proxy.asked) == {f"CONNECT {HOST}"}
    else:
        assert len(proxy.asked) == len(stand_in.heard)


@pytest.mark.parametrize("name", STAND_INS)
def test_another_engine_without_the_proxy(name: str) -> None:
    """What NO_PROXY names is called directly."""
    with STAND_INS[name]() as stand_in, running_proxy({}) as proxy:
        use(proxy.url)
        engine, key = engine_at(name, stand_in.url)
        assert paint(engine, credential=key, reference="task-1").endswith(b"the picture")
        assert proxy.asked == []


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", STAND_INS)
def test_another_engine_behind_a_wrong_proxy(name: str, scheme: str) -> None:
    """A proxy that is away can be tried again; one that wants another password is named as well, without either."""
    engine, key = engine_at(name, f"{scheme}://{HOST}")

    def failure(kind: type[EngineError], port: int) -> str:
        use(f"http://visitor:wrong@127.0.0.1:{port}")
        with pytest.raises(kind, match=f"The proxy http://127.0.0.1:{port} does not answer as it should") as caught:
            paint(engine, credential=key, reference="task-1")
        assert "wrong" not in caught.value.safe_text
        return caught.value.safe_text

    failure(EngineBusy, free_port())
    with running_proxy({}, login="visitor:right") as proxy:
        assert "407" in failure(EngineError, proxy.port)


def test_results_at_imgbb(far_url: str, certificate: Path) -> None:
    """A picture is kept at ImgBB and read again through the proxy."""
    now = datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC)
    with far(imgbb.ImgBBStandIn, far_url, certificate) as (_, proxy):
        store = ImgBBStore(far_url + imgbb.UPLOAD, imgbb.KEY, FixedClock(now))
        key = store.write("results/a.jpg", b"the picture", now + datetime.timedelta(days=1))
        assert store.read(key) == b"the picture"
        assert len(proxy.asked) == 2


def test_a_quota_of_the_hub(far_url: str, certificate: Path) -> None:
    """The quota of a token is asked for through the proxy."""
    hub = HubStandIn()
    hub.accounts = {"hf_token": quota(120)}
    hub.start()
    try:
        with only_by_proxy(far_url, urllib.parse.urlsplit(hub.url).port or 0, certificate) as proxy:
            assert hub_quota.read(far_url, "hf_token").left == 120
            assert len(proxy.asked) == 1
    finally:
        hub.stop()


def test_alerts(far_url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alert reaches the webhook and Sentry through the proxy."""
    scheme = far_url.partition(":")[0]
    settings = Settings(_env_file=None, sentry_dsn=f"{scheme}://key@{HOST}/1", alert_webhook_url=f"{far_url}/hook")
    monkeypatch.setattr(alert_channels, "runtime", lambda: SimpleNamespace(settings=settings))
    now = datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC)
    with http_sink() as sink, only_by_proxy(far_url, sink.port, certificate) as proxy:
        start_sentry(settings, Mask(settings))
        try:
            assert alert_channels.send(alert_channels.Message("disk", "The disk is full.", now))
        finally:
            sentry_sdk.get_client().close(timeout=0)
            sentry_sdk.get_global_scope().set_client(None)
        assert len(sink.bodies) == len(proxy.asked) == 2
