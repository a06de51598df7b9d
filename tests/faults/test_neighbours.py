"""The whole product while its neighbours restart: no process ends, and orders flow again by themselves."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, create_engine, select, update

from ghibli_flask.models import HealthCheck, ImageTask
from ghibli_flask.queueing import maintenance_queue_name, paint_queue_name
from scripts.processes import wait_until
from tests.faults.conftest import photo
from tests.support.mariadb_server import MariaDBServer
from tests.support.site import Site

OUTAGE_S = 3.0
FLOWING_S = 30.0
PROCESSES = ("web", "worker", "maintenance", "scheduler")


@pytest.fixture
def nobody_ends(site: Site) -> Iterator[Site]:
    """The running product; none of its processes may end or be replaced."""
    before = {name: site[name].pid for name in PROCESSES}
    yield site
    assert {name: site[name].pid for name in PROCESSES if site[name].running} == before


@pytest.fixture
def books(site: Site) -> Iterator[Engine]:
    """The running site's own database."""
    engine = create_engine(site.env["DATABASE_URL"])
    yield engine
    engine.dispose()


def order_at(site: Site, number: int) -> requests.Response:
    """Order a painting as a program without a browser does."""
    return requests.post(f"{site.url}/api/generate-image", files={"image": photo(number)}, timeout=20)


def poll_at(site: Site, task_id: str) -> dict[str, Any]:
    """What the running site tells."""
    told: dict[str, Any] = requests.get(f"{site.url}/api/poll-task?taskId={task_id}", timeout=20).json()
    return told


def is_painted(site: Site, task_id: str) -> bool:
    """Whether the picture is there."""
    return bool(poll_at(site, task_id)["status"] == "SUCCESS")


def health_of(site: Site) -> dict[str, str]:
    """Each part of the running site, up or down."""
    checks: dict[str, str] = requests.get(f"{site.url}/api/health", timeout=20).json()["checks"]
    return checks


def test_a_stuck_order_is_given_back_by_itself(nobody_ends: Site, books: Engine) -> None:
    """With nobody painting, and right after Redis lost its memory, a late order is refunded within the promise."""
    site = nobody_ends
    site.redis.stop()
    site.redis.start()
    site["worker"].pause()
    task_id = order_at(site, 0).json()["taskId"]
    promised = datetime.fromisoformat(str(poll_at(site, task_id)["refundAt"]))
    deadline = datetime.now(UTC) - timedelta(seconds=31)
    with books.begin() as connection:
        mine = ImageTask.public_id == task_id
        accepted_until = connection.scalar(select(ImageTask.deadline_at).where(mine))
        connection.execute(update(ImageTask).where(mine).values(deadline_at=deadline))
    promised -= accepted_until - deadline
    # The promise is counted from the deadline: what is left of it is what the sweep may take.
    seconds_left = (promised - datetime.now(UTC)).total_seconds()
    assert 100 < seconds_left < 160
    assert wait_until(lambda: poll_at(site, task_id)["status"] == "FAILED", seconds_left, every=0.5)
    told = poll_at(site, task_id)
    assert (told["code"], told["refunded"], told["refundAt"]) == ("too_late", True, None)
    assert told["error"] == "It was not done within the promised time. Your try has come back."
    with books.connect() as connection:
        assert connection.scalars(select(ImageTask.status).where(mine)).all() == ["failed"]
        sweeps = select(HealthCheck.ok).where(HealthCheck.kind == "sweep")
        assert connection.scalar(sweeps.order_by(HealthCheck.id.desc()).limit(1))
    site["worker"].resume()
    assert wait_until(lambda: set(health_of(site).values()) == {"up"}, 15, every=0.5), health_of(site)


def test_redis_restarts_empty(nobody_ends: Site) -> None:
    """Redis goes and comes back without its memory: workers serve again, and the periodic duties are entered again."""
    site = nobody_ends
    site.redis.stop()
    time.sleep(OUTAGE_S)
    site.redis.start()
    answer = order_at(site, 1)
    assert answer.status_code == 202
    # The web side may still believe that Redis is away; an order accepted in that second is rung for by the sweep.
    task_id = answer.json()["taskId"]
    assert wait_until(lambda: is_painted(site, task_id), 100, every=0.5)
    with site.redis.client() as client:
        duties = ["ghibli-monitor", "ghibli-sweep"]
        assert wait_until(lambda: sorted(client.zrange("ghibli:scheduler:jobs", 0, -1)) == duties, FLOWING_S)
        for queue in (paint_queue_name("ghibli"), maintenance_queue_name("ghibli")):
            assert client.llen(f"rq:queue:{queue}") == 0


def test_the_database_restarts(nobody_ends: Site, mariadb_server: MariaDBServer) -> None:
    """The database goes and comes back: 503 meanwhile, and afterwards orders are taken and painted as before."""
    site = nobody_ends
    mariadb_server.stop()
    try:
        refused = order_at(site, 2)
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert requests.get(f"{site.url}/health", timeout=5).status_code == 200
        assert requests.get(f"{site.url}/api/health", timeout=20).status_code == 503
        time.sleep(OUTAGE_S)
    finally:
        mariadb_server.start()
    answer = order_at(site, 2)
    assert answer.status_code == 202, answer.text
    assert wait_until(lambda: is_painted(site, answer.json()["taskId"]), FLOWING_S, every=0.5)
