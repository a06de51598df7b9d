"""A web process of its own, and in its database one of everything that a call can be about."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from flask import Flask

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.factory import create_app
from ghibli_flask.services import processors
from ghibli_flask.services.orders import Order
from ghibli_flask.settings import Settings
from ghibli_flask.styles import DEFAULT_STYLE
from ghibli_flask.task_states import Outcome
from scripts.processes import LOOPBACK
from scripts.procfile import process_env, read_procfile
from tests.conftest import close, empty_tables
from tests.support.checkout import offline_env
from tests.support.member import member
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.runs import claim, paint
from tests.support.site import SiteProcess
from tests.support.visitor import Visitor, photo

SECRET = "a-secret-that-only-the-tests-know-"
KEYS = ("API_TOKEN", "TASK_PROCESS_SECRET_KEY", "ADMIN_API_KEY", "ADMIN_SECRET")
NOBODY = "http://127.0.0.1:1"
"""Where nobody listens: nothing is painted, and nothing leaves this machine."""
ENDS = (Outcome.PAINTED, Outcome.ORIGINAL, Outcome.FAILED, Outcome.CANCELLED)


class Program(Visitor):
    """A program that keeps no cookies."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self.client = app.test_client(use_cookies=False)
        self.token = ""


@dataclass(frozen=True)
class Contract:
    """The running site: its address, a folder with the ids of what is there, and the keys that open it."""

    url: str
    folder: Path
    checkout: Path
    keys: dict[str, str]


@pytest.fixture(scope="module")
def contract(
    checkout: Path,
    tmp_path_factory: pytest.TempPathFactory,
    migrated_url: Callable[[str], str],
    redis_server: RedisServer,
) -> Iterator[Contract]:
    """A web process on a real MariaDB and Redis; no worker, so that everything stays in the state it was put into."""
    folder = tmp_path_factory.mktemp("contract")
    address = migrated_url("mariadb")
    port = free_port()
    shared = {
        "secret_key": SECRET * 2,
        "database_url": address,
        "redis_url": redis_server.url,
        "instance_dir": str(folder / "instance"),
        "gradio_url": NOBODY,
        "openai_api_key": "sk-nobody",
        "openai_base_url": f"{NOBODY}/v1",
        "orders_per_minute": "0",
        "guest_daily_limit": "10000",
        "guest_daily_limit_per_address": "10000",
        "trusted_proxies": "1",
    }
    keys = {name: SECRET + name.lower() for name in KEYS}
    settings = {name.upper(): value for name, value in shared.items()} | keys
    settings |= {"HOST": LOOPBACK, "PORT": str(port), "HUGGING_FACE_TOKENS": "hf_" + "a1" * 17, "HF_ENDPOINT": NOBODY}
    env = process_env(offline_env(**settings), checkout)
    app = create_app(Settings(_env_file=None, **shared))
    web = SiteProcess("web", read_procfile(checkout)["web"], checkout, env, folder / "logs")
    try:
        cookies = furnish(app, folder)
        web.start()
        yield Contract(f"http://{LOOPBACK}:{port}", folder, checkout, keys | cookies)
    finally:
        web.stop()
        close(app)
        empty_tables(address)
        redis_server.empty()


def furnish(app: Flask, folder: Path) -> dict[str, str]:
    """Put tasks of every state, shares and uploads there, some without an owner; gives the member's cookies."""
    anybody, ada = Program(app), member(app)
    tasks = [task for visitor in (anybody, ada) for task in in_every_state(app, visitor)]
    painted = [visitor.ordered() for visitor in (anybody, ada)]
    for task in painted:
        paint(app, task)
    shares = [
        visitor.post("/api/share", json={"taskId": task, "inGallery": True, "showOriginal": True}).get_json()["shareId"]
        for visitor, task in zip((anybody, ada), painted, strict=True)
    ]
    uploads = [upload(visitor) for visitor in (anybody, ada)]
    lists = {
        "tasks": tasks + painted,
        "handed-over": [handed_over(app, number) for number in range(4)],
        "shares": shares,
        "uploads": uploads,
        "users": [ada.user_id],
    }
    for name, ids in lists.items():
        (folder / f"{name}.txt").write_text("".join(f'"{one}"\n' for one in ids))
    cookies = {name: ada.client.get_cookie(name) for name in ("guest", "session")}
    return {name: cookie.value for name, cookie in cookies.items() if cookie} | {"csrf": ada.token}


def in_every_state(app: Flask, visitor: Visitor) -> list[str]:
    """Tasks of this visitor: queued, in work, ended in each way, and one that was deleted."""
    queued, taken, deleted = visitor.ordered(), visitor.ordered(), visitor.ordered()
    claim(app, taken)
    visitor.delete(f"/api/tasks/{deleted}")
    ended = [(visitor.ordered(), outcome) for outcome in ENDS]
    for task, outcome in ended:
        paint(app, task, outcome, "internal" if outcome is Outcome.FAILED else None)
    return [queued, taken, deleted, *(task for task, _ in ended)]


def upload(visitor: Visitor) -> str:
    """A photograph that this visitor sent ahead; gives its id."""
    answer = visitor.post("/api/upload-image", data={"image": (BytesIO(photo()), "photo.jpg")})
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return str(answer.get_json()["uploadId"])


def handed_over(app: Flask, number: int) -> str:
    """An order that a program handed over under an id of its own; gives that id."""
    order = Order(
        Mode.IMAGE_TO_IMAGE, photo(), "", DEFAULT_STYLE, width=512, height=512, seed=1, alias=f"my-order-{number}"
    )
    with app.app_context():
        processors.accept(order, None)
    assert order.alias
    return order.alias
