"""The server of these tests: installed once by deploy/install.sh, with everything running."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import Machine
from tests.support.space_server import SpaceServer


@pytest.fixture(scope="package")
def machine(checkout: Path, tmp_path_factory: pytest.TempPathFactory, space_server: SpaceServer) -> Iterator[Machine]:
    """A server as deploy/install.sh makes it, with nginx, gunicorn, workers, MariaDB and Redis from its files."""
    machine = Machine(tmp_path_factory.mktemp("server"), checkout, space_server.url)
    try:
        done = machine.install()
        assert done.returncode == 0, done.stdout + done.stderr
        # Guests of a test are many and all at one address.
        settings = machine.app_dir / "shared/.env"
        settings.write_text(settings.read_text() + "GUEST_DAILY_LIMIT=1000\nGUEST_DAILY_LIMIT_PER_ADDRESS=1000\n")
        machine.manager._obey(["restart", "ghibli-web.service"], now=False)
        yield machine
    finally:
        machine.close()
