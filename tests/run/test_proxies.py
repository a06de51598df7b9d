"""`make run` behind a proxy: its own Space is reached directly, and everybody else as the settings say."""

import os
from pathlib import Path

import pytest

from ghibli_flask.proxies import install_proxies, proxy_for
from ghibli_flask.settings import Settings
from scripts.run import Development

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize("excepted", ["", "NO_PROXY=intranet.example\n"])
def test_the_bundled_space_is_excepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, excepted: str) -> None:
    """With a proxy in `.env` alone, a process of make run asks this machine directly and keeps NO_PROXY of `.env`."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    file = tmp_path / ".env"
    file.write_text(f"HTTP_PROXY={PROXY}\nINSTANCE_DIR={tmp_path}\n{excepted}")
    development = Development(Settings(_env_file=file), None)  # type: ignore[arg-type]  # It starts nothing here.
    development.bypass_proxies()
    # From here on this is one of the processes that it starts.
    os.environ.update({name: development.env[name] for name in NAMES if name in development.env})
    install_proxies(Settings(_env_file=file))
    assert proxy_for("http://127.0.0.1:7860") is None
    assert proxy_for("http://localhost:7860") is None
    assert proxy_for("http://painter.example") == PROXY
    assert proxy_for("http://intranet.example") == (None if excepted else PROXY)
