"""An S3 of the tests' own: moto's server, as a process that tests may kill and start again."""

import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import requests

from scripts.processes import LOOPBACK
from tests.support.ports import free_port
from tests.support.server import Server

BUCKET = "pictures"


class S3Server(Server):
    """A real S3 protocol on a free loopback port, with one empty bucket; it keeps nothing on disk."""

    name = "s3"

    def __init__(self, folder: Path, host: str = LOOPBACK) -> None:
        super().__init__(folder)
        self.host, self.port = host, free_port()
        self.url = f"http://{host}:{self.port}"

    def command(self) -> Sequence[str | Path]:
        return [sys.executable, "-m", "moto.server", "-H", self.host, "-p", str(self.port)]

    def answers(self) -> bool:
        try:
            return requests.put(f"{self.url}/{BUCKET}", timeout=5).status_code in {200, 409}
        except requests.RequestException:
            return False

    def empty(self) -> None:
        """Forget every object, and be up again in case a test stopped the server."""
        self.resume()
        self.start()
        requests.post(f"{self.url}/moto-api/reset", timeout=5).raise_for_status()
        requests.put(f"{self.url}/{BUCKET}", timeout=5).raise_for_status()

    def keys(self) -> list[str]:
        """The keys of all objects."""
        answer = requests.get(f"{self.url}/{BUCKET}", params={"list-type": "2"}, timeout=5)
        answer.raise_for_status()
        return sorted(key.text or "" for key in ElementTree.fromstring(answer.content).findall(".//{*}Key"))

    def headers(self, key: str) -> dict[str, str]:
        """What is kept beside an object."""
        return dict(requests.head(f"{self.url}/{BUCKET}/{key}", timeout=5).headers)
