"""The site as nginx serves it: the road of an order, limits, caching, headers, and what is kept from strangers."""

import re
import socket
import ssl
import struct
import subprocess
import warnings
from collections.abc import Iterator

import pymysql
import pytest
import requests

from scripts.processes import wait_until
from tests.deploy.machine import Client, Machine

MEGABYTE = 1024 * 1024
DRESS = (
    "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Strict-Transport-Security",
    "Permissions-Policy", "Cross-Origin-Opener-Policy",
)  # fmt: skip


@pytest.fixture
def visitor(machine: Machine) -> Iterator[Client]:
    """Somebody who looks at the site."""
    client = machine.visitor()
    yield client
    client.session.close()


def figures(machine: Machine) -> str:
    """The whole configuration as nginx understands it."""
    done = subprocess.run([*machine._nginx(), "-T"], capture_output=True, text=True, check=True, timeout=30)
    assert "warn" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "figure",
    [
        "client_max_body_size 70m;", "proxy_connect_timeout 300s;", "proxy_send_timeout 300s;",
        "proxy_read_timeout 300s;", "send_timeout 300s;", "proxy_buffers 16 16k;", "proxy_buffer_size 32k;",
        "keepalive_timeout 65s;", "gzip_comp_level 6;", "open_file_cache max=2000 inactive=60s;",
        "proxy_cache_valid 200 60m;", "proxy_cache_valid 404 1m;", "server_tokens off;",
        "add_header X-Cache-Status $upstream_cache_status always;",
    ],
)  # fmt: skip
def test_figures(machine: Machine, figure: str) -> None:
    """The figures of earlier installations are kept, and nginx finds nothing to warn of."""
    assert figure in figures(machine)


def test_the_main_road(machine: Machine, visitor: Client) -> None:
    """A photograph that comes in through nginx is painted, and nginx sends the picture, dressed once and by ranges."""
    task_id = visitor.order()
    assert visitor.wait(task_id) == "SUCCESS"
    address = f"/api/image/{task_id}"
    cookie = "; ".join(f"{one.name}={one.value}" for one in visitor.session.cookies)
    told = requests.get(
        f"http://127.0.0.1:{machine.web_port}{address}", headers={"Cookie": cookie}, timeout=30
    )  # What the application answers: a name and no bytes.
    assert told.headers["X-Accel-Redirect"].startswith("/_files/results/")
    assert told.content == b""

    kept = machine.app_dir / "shared/instance" / told.headers["X-Accel-Redirect"].replace("/_files/", "files/")
    modes = [path.stat().st_mode & 0o777 for path in (kept, kept.parent, machine.app_dir / "shared/instance")]
    assert modes == [0o640, 0o750, 0o710], "nginx reads pictures by its group, and nothing else."

    picture = visitor.get(address)
    assert (picture.status_code, picture.headers["Content-Type"]) == (200, "image/jpeg")
    assert picture.content.startswith(b"\xff\xd8")
    assert "X-Accel-Redirect" not in picture.headers
    for name in DRESS:
        assert picture.headers[name] == told.headers[name], name
    assert picture.headers["Cache-Control"] == "private, no-cache"
    part = visitor.get(address, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, picture.content[2:6])
    again = visitor.get(address, headers={"If-None-Match": picture.headers["ETag"]})
    assert again.status_code == 304
    assert visitor.get(told.headers["X-Accel-Redirect"]).status_code == 404, "Nobody gets there by himself."
    assert visitor.get(address, headers={"Cookie": ""}).status_code == 200, "Holding the id opens the picture."


def test_headers_are_not_doubled(visitor: Client) -> None:
    """A page carries each security header once, as the application wrote it, and its cookie is for https alone."""
    page = visitor.get("/")
    for name in DRESS:
        assert len(page.raw.headers.getlist(name)) == 1, name
    assert page.headers["Server"] == "nginx"
    csrf = visitor.get("/api/csrf", headers={"Cookie": ""})
    assert "__Host-guest=" in csrf.headers["Set-Cookie"]
    assert "Secure" in csrf.headers["Set-Cookie"]


def test_static_files(machine: Machine, visitor: Client) -> None:
    """nginx keeps static files for 60 minutes in each coding and their absence for one minute, browsers for a year."""
    page = visitor.get("/").text
    address = re.search(r"/static/[0-9a-f]{12}/css/site\.css", page)
    assert address is not None
    first = visitor.get(address[0])
    second = visitor.get(address[0])
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.headers["X-Cache-Status"] in {"MISS", "HIT"}
    assert second.headers["X-Cache-Status"] == "HIT"
    assert second.headers["Content-Encoding"] == "br"
    other = visitor.get(address[0], headers={"Accept-Encoding": "gzip"})
    plain = visitor.get(address[0], headers={"Accept-Encoding": "identity"})
    assert (other.headers["Content-Encoding"], plain.headers.get("Content-Encoding")) == ("gzip", None)
    assert second.content == other.content == plain.content
    assert "immutable" in second.headers["Cache-Control"]
    assert second.headers["X-Content-Type-Options"] == "nosniff"
    assert [kept_seconds(machine, coding + address[0]) for coding in ("br", "gzip", "")] == [3600, 3600, 3600]
    missing = "/static/000000000000/css/site.css"
    assert [visitor.get(missing).status_code, visitor.get(missing).headers["X-Cache-Status"]] == [404, "HIT"]
    assert kept_seconds(machine, f"br{missing}") == 60


def kept_seconds(machine: Machine, path: str) -> int:
    """For how long nginx takes its copy for fresh; its copy begins with version and times."""
    for file in (machine.folder / "cache/static").rglob("*"):
        if file.is_file() and f"\nKEY: {path}\n".encode() in (data := file.read_bytes()):
            _version, valid_until, _updating, _error, _modified, date = struct.unpack_from("<Qqqqqq", data)
            return int(valid_until - date)
    pytest.fail(f"{path} is not kept.")


def test_photographs_that_are_too_large(machine: Machine, visitor: Client) -> None:
    """60 MB go through nginx to the application, which refuses them; 71 MB nginx refuses itself, in our words."""
    sixty = visitor.post("/api/generate-image", files={"image": ("a.jpg", b"\xff\xd8" + bytes(60 * MEGABYTE))})
    assert (sixty.status_code, sixty.json()["code"]) == (413, "too_large")
    assert "RateLimit" in sixty.headers or "Content-Security-Policy" in sixty.headers, "The application has answered."
    body = bytes(71 * MEGABYTE)
    for path, kind in (("/api/generate-image", "application/problem+json"), ("/paint", "text/html")):
        answer = visitor.post(path, data=body)
        assert answer.status_code == 413
        assert answer.headers["Content-Type"].startswith(kind)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "larger than we can take" in answer.text
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_photographs_in_haste(machine: Machine) -> None:
    """Who sends photographs faster than a person could is told to wait, others are not."""
    hasty, other = machine.visitor("127.0.0.9"), machine.visitor("127.0.0.8")
    answers = [hasty.post("/api/upload-image") for _number in range(30)]
    refused = [answer for answer in answers if answer.headers["Content-Type"] == "application/problem+json"]
    assert refused
    nginx_own = [answer for answer in answers if answer.status_code == 429]
    assert nginx_own
    assert nginx_own[0].json()["code"] == "too_many_requests"
    assert nginx_own[0].headers["Retry-After"] == "10"
    assert other.post("/api/upload-image").status_code != 429
    hasty.session.close()
    other.session.close()


def test_the_address_is_the_visitors_own(machine: Machine) -> None:
    """Guests are counted by the address that they come from, whatever they claim about it."""
    for address in ("127.0.0.2", "127.0.0.3"):
        client = machine.visitor(address)
        for claim in ("198.51.100.1", "198.51.100.2"):
            client.order(headers={"X-Forwarded-For": claim, "X-Real-IP": claim, "Forwarded": f"for={claim}"})
        client.session.close()
    with pymysql.connect(
        host="127.0.0.1",
        port=machine.mysql_port,
        user="ghibli",
        password=machine.setting("MYSQL_PASSWORD"),
        database="ghibli",
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT address_subject FROM image_tasks ORDER BY id DESC LIMIT 4")
        subjects = [row[0] for row in cursor.fetchall()]
    assert subjects[0] == subjects[1] != subjects[2] == subjects[3]
    seen = (machine.folder / "log/ghibli-access.log").read_text()
    assert "127.0.0.2 [" in seen
    assert "198.51.100" not in seen


def test_what_strangers_do_not_get(machine: Machine, visitor: Client) -> None:
    """Figures are refused, another host's name gets nothing, http leads to https, and logs hold no queries."""
    assert visitor.get("/metrics").status_code == 403
    assert visitor.get("/metrics?a=1").status_code == 403
    with pytest.raises(requests.ConnectionError):
        visitor.get("/", headers={"Host": "example.org"})
    plain = requests.get(f"http://localhost:{machine.http_port}/gallery?a=1", allow_redirects=False, timeout=30)
    assert (plain.status_code, plain.headers["Location"]) == (301, f"{machine.url}/gallery?a=1")
    (machine.folder / "acme/.well-known/acme-challenge").mkdir(parents=True)
    (machine.folder / "acme/.well-known/acme-challenge/token").write_text("for the authority")
    challenge = f"http://localhost:{machine.http_port}/.well-known/acme-challenge/token"
    assert requests.get(challenge, timeout=30).text == "for the authority"
    visitor.get("/gallery?secret=not-for-logs")
    logged = (machine.folder / "log/ghibli-access.log").read_text()
    assert '"GET /gallery HTTP' in logged
    assert "not-for-logs" not in logged


def test_requests_have_an_id_of_nginx(machine: Machine, visitor: Client) -> None:
    """The id in the answer is nginx's, stands in its log and is never the visitor's own; mailed links are cut there."""
    answers = [
        visitor.get("/gallery", headers={"X-Request-ID": "chosen-by-a-visitor"}),
        visitor.get("/auth/reset/the-token-of-a-mailed-link-4711"),
    ]
    log = machine.folder / "log/ghibli-access.log"
    # nginx writes its line when the answer is out, so a reader may be there first.
    assert wait_until(lambda: answers[-1].headers["X-Request-ID"] in log.read_text(), 10)
    logged = log.read_text()
    for answer in answers:
        request_id = answer.headers["X-Request-ID"]
        assert re.fullmatch(r"[0-9a-f]{32}", request_id)
        assert len([line for line in logged.splitlines() if line.endswith(request_id)]) == 1
    assert '"GET /auth/reset/... HTTP' in logged
    assert "mailed-link" not in logged


def test_only_safe_versions_of_tls(machine: Machine) -> None:
    """TLS 1.1 is refused and 1.2 is not."""

    def greets(version: ssl.TLSVersion) -> bool:
        context = ssl.create_default_context(cafile=str(machine.certificate))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Asking for an old version is the point.
            context.minimum_version = context.maximum_version = version
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        try:
            with (
                socket.create_connection(("127.0.0.1", machine.https_port), timeout=10) as raw,
                context.wrap_socket(raw, server_hostname="localhost"),
            ):
                return True
        except (ssl.SSLError, ConnectionError):
            return False

    assert [greets(ssl.TLSVersion.TLSv1_1), greets(ssl.TLSVersion.TLSv1_2)] == [False, True]


def test_when_the_web_processes_are_away(machine: Machine, visitor: Client) -> None:
    """Without web processes nginx answers with a page in our look, or with problem details; static files still come."""
    address = re.search(r"/static/[0-9a-f]{12}/css/site\.css", visitor.get("/").text)
    assert address is not None
    visitor.get(address[0])
    machine.manager._obey(["stop", "ghibli-web.socket"], now=False)
    try:
        page = visitor.get("/")
        assert (page.status_code, page.headers["Retry-After"]) == (502, "10")
        assert "Back in a moment" in page.text
        told = visitor.get("/api/styles")
        assert told.headers["Content-Type"] == "application/problem+json"
        assert told.json()["code"] == "unavailable"
        assert visitor.get(address[0]).status_code == 200
    finally:
        machine.manager._obey(["start", "ghibli-web.service"], now=False)
    assert visitor.get("/").status_code == 200
