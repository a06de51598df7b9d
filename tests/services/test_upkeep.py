"""The monitor's looks at the certificate and at the last backup, with a real TLS server."""

import contextlib
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import monitor


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of our own for localhost, with its key, that lasts for 20 days."""
    file = tmp_path / "both.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 20 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(file), "-out", str(tmp_path / "only.pem")]
    subprocess.run(["openssl", *words.split(), *names], check=True, capture_output=True)
    file.write_text(file.read_text() + (tmp_path / "only.pem").read_text())
    return file


@pytest.fixture
def tls_port(certificate: Path) -> Iterator[int]:
    """The port of a server that greets by TLS and says nothing more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            raw, _address = listener.accept()
            with raw:
                with contextlib.suppress(OSError):
                    context.wrap_socket(raw, server_side=True).close()
                if done.is_set():
                    return

    done = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    done.set()
    socket.create_connection(listener.getsockname()).close()
    thread.join()
    listener.close()


def look(app: Flask, name: str) -> tuple[bool | None, str]:
    """What the monitor sees."""
    with app.app_context():
        seen = monitor.look().looks[name]
    return seen.ok, seen.text


def test_certificate(
    app_factory: Callable[..., Flask], tls_port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted certificate is well until 14 days before its end; one that browsers refuse is not."""
    clock = FixedClock(datetime.now(UTC))
    app = app_factory(app_url=f"https://localhost:{tls_port}", clock=clock)
    ok, text = look(app, "certificate")
    assert (ok, "Browsers refuse the certificate of localhost: self" in text) == (False, True), text
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert look(app, "certificate") == (True, "The certificate has 19 days left.")
    clock.advance(days=7)
    assert look(app, "certificate") == (False, "The certificate has 12 days left.")


def test_certificate_unknown(app_factory: Callable[..., Flask]) -> None:
    """A site that does not answer here is unknown, and one without https needs none."""
    assert look(app_factory(app_url="https://localhost:1"), "certificate")[0] is None
    assert look(app_factory(), "certificate")[0] is True


def test_backup(app_factory: Callable[..., Flask]) -> None:
    """The last backup is well for 30 hours; where none was ever made nobody is alarmed."""
    clock = FixedClock(datetime.now(UTC))
    app = app_factory(clock=clock)
    assert look(app, "backup") == (True, "none is made here by scripts/backup.sh")
    stamp = Path(app.instance_path) / "run/last-backup"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text("/var/backups/ghibli/one\n")
    moment = clock.now().timestamp()
    os.utime(stamp, (moment, moment))
    assert look(app, "backup") == (True, "The last whole backup is 0 hours old (/var/backups/ghibli/one).")
    clock.advance(hours=31)
    assert look(app, "backup")[0] is False
