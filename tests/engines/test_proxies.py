"""HTTP_PROXY, HTTPS_PROXY and NO_PROXY work for every library that calls out, and a wrong proxy is named."""

import datetime
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from obstore.exceptions import BaseError
from obstore.store import S3Store

from ghibli_flask.proxies import LOOPBACK, install_proxies, proxy_for, proxy_trouble
from ghibli_flask.settings import Settings
from jobs.engines import gradio_http
from jobs.engines.base import Deadline, EngineBroken
from tests.engines.conftest import MakeEngine, RunningSpace, free_port, heard_by_the_space, paint
from tests.support.proxy import Proxy, running_proxy, tls_in_front_of

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


@pytest.fixture(params=["http", "https"])
def proxied(
    request: pytest.FixtureRequest, gallery: RunningSpace, certificate: Path, trusted: None
) -> Iterator[tuple[Proxy, str]]:
    """A proxy in use, and the address of the Space that it alone can reach: forwarded, or through a tunnel."""
    with tls_in_front_of(gallery.port, str(certificate)) as secure:
        port = secure if request.param == "https" else gallery.port
        with running_proxy({HOST: port}, login="visitor:se@cret") as proxy:
            use(proxy.url)
            yield proxy, f"{request.param}://{HOST}"


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
