"""One order painted through two installations of our own: the first hands it to the second, whose Space paints it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from sqlalchemy import create_engine, text

from scripts.processes import wait_until
from tests.support.checkout import migrate
from tests.support.site import Site
from tests.support.space_server import SpaceServer
from tests.support.visitor import photo

SECRET = "the-long-secret-that-both-installations-know"
PROCESSES = ("web", "worker")


class Instance(Site):
    """An installation on SQLite with its web process and one painting worker."""

    def __init__(self, checkout: Path, folder: Path, gradio_url: str, **settings: str) -> None:
        folder.mkdir()
        self.database_url = f"sqlite:///{folder / 'own.sqlite3'}"
        super().__init__(
            checkout,
            folder,
            database_url=self.database_url,
            gradio_url=gradio_url,
            TASK_PROCESS_SECRET_KEY=SECRET,
            **settings,
        )

    def start(self) -> None:
        """Start Redis and the two processes; ready when the web answers."""
        self.redis.start()
        migrate(self.checkout, self.env)
        for name in PROCESSES:
            self[name].launch()
        for name in PROCESSES:
            self[name].wait()

    def stop(self) -> None:
        """Stop what was started."""
        for name in PROCESSES:
            self[name].stop()
        self.redis.stop()

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of every task."""
        engine = create_engine(self.database_url)
        try:
            with engine.connect() as connection:
                question = text(f"SELECT {', '.join(columns)} FROM image_tasks ORDER BY id")
                return [tuple(row) for row in connection.execute(question)]
        finally:
            engine.dispose()

    def order(self, **fields: str) -> str:
        """Order a picture as a program without cookies does; gives the task's id."""
        answer = requests.post(
            f"{self.url}/api/generate-image", files={"image": ("photo.jpg", photo(480, 320))}, data=fields, timeout=10
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["taskId"])

    def poll(self, task_id: str, secret: str | None = None) -> requests.Response:
        """Ask after a task."""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return requests.get(f"{self.url}/api/poll-task?taskId={task_id}", headers=headers, timeout=10)

    def ended(self, task_id: str) -> dict[str, Any]:
        """What is told of a task that ends within half a minute."""
        told: dict[str, Any] = {}

        def has_ended() -> bool:
            told.update(self.poll(task_id).json())
            return told["status"] not in {"PENDING", "PROCESSING"}

        assert wait_until(has_ended, 30), f"{told}\n{self['worker'].tail()}"
        return told


@pytest.fixture(scope="module")
def far(checkout: Path, tmp_path_factory: pytest.TempPathFactory, space_server: SpaceServer) -> Iterator[Instance]:
    """The installation that paints."""
    instance = Instance(checkout, tmp_path_factory.mktemp("far") / "site", space_server.url)
    try:
        instance.start()
        yield instance
    finally:
        instance.stop()


@pytest.fixture(scope="module")
def near(checkout: Path, tmp_path_factory: pytest.TempPathFactory, far: Instance) -> Iterator[Instance]:
    """The installation that hands its orders to the other one; nobody listens at its own Space's address."""
    folder = tmp_path_factory.mktemp("near") / "site"
    instance = Instance(checkout, folder, "http://127.0.0.1:1", ENGINES="processor", PROCESSOR_URL=far.url)
    try:
        instance.start()
        yield instance
    finally:
        instance.stop()


def test_one_order_through_two_installations(near: Instance, far: Instance) -> None:
    """The visitor's order is painted by the other installation, under the attempt's name and in the same style."""
    task_id = near.order(style="night", prompt="a red boat")
    told = near.ended(task_id)
    assert (told["status"], told["engine"], told["progress"]) == ("SUCCESS", "processor", 100), told
    picture = requests.get(near.url + told["urls"][0], timeout=10).content
    assert Image.open(BytesIO(picture)).size == (1024, 683)
    assert b"compositeWithTrainedAlgorithmicMedia" in picture

    alias = f"{task_id}-1"
    columns = ("alias", "status", "engine", "style", "prompt", "charged", "payer")
    assert far.rows(*columns) == [(alias, "completed", "gradio", "night", "a red boat", 0, "processor")]
    assert near.rows("alias", "status", "engine", "attempt") == [(None, "completed", "processor", 1)]
    assert far.poll(alias).status_code == 404
    assert far.poll(alias, SECRET).json()["status"] == "SUCCESS"
    with far.redis.client() as client:
        assert client.get(f"task:{alias}:image")


def test_a_cancel_reaches_the_other_installation(near: Instance, far: Instance) -> None:
    """An order that is cancelled while the other installation has it is cancelled there too."""
    far["worker"].pause()
    try:
        task_id = near.order()
        assert wait_until(lambda: len(far.rows("id")) == 2, 15), near["worker"].tail()
        answer = requests.post(f"{near.url}/api/tasks/{task_id}/cancel", timeout=10)
        assert answer.json()["status"] == "CANCELLED"
        assert wait_until(lambda: far.rows("alias", "status")[1] == (f"{task_id}-1", "cancelled"), 15)
    finally:
        far["worker"].resume()


def test_a_report_is_quicker_than_asking(near: Instance, far: Instance) -> None:
    """A report with the picture ends the order while the other installation has not even begun."""
    far["worker"].pause()
    before = len(far.rows("id"))
    try:
        task_id = near.order()
        assert wait_until(lambda: len(far.rows("id")) > before, 15), near["worker"].tail()
        answer = requests.post(
            f"{near.url}/progress/{task_id}-1",
            json={"progress": 100, "status": "completed", "imageBase64": encoded(photo(960, 640))},
            headers={"Authorization": f"Bearer {SECRET}"},
            timeout=10,
        )
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        told = near.ended(task_id)
        assert (told["status"], told["engine"]) == ("SUCCESS", "processor")
    finally:
        far["worker"].resume()


def test_what_came_from_outside_is_not_handed_on(near: Instance, far: Instance) -> None:
    """An order that came by /process fails where only an outside processor could paint it: orders cannot circle."""
    answer = requests.post(
        f"{near.url}/process/from-outside",
        json={"prompt": "", "height": 256, "width": 256, "seed": 1, "imageBase64": encoded(photo())},
        headers={"Authorization": f"Bearer {SECRET}"},
        timeout=10,
    )
    assert answer.status_code == 200
    before = len(far.rows("id"))
    assert wait_until(lambda: near.poll("from-outside", SECRET).json()["status"] == "FAILED", 15)
    assert len(far.rows("id")) == before


def encoded(data: bytes) -> str:
    """Bytes as they travel in JSON."""
    return base64.b64encode(data).decode()
