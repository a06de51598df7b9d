"""The whole product while its neighbours restart: no process ends, and orders flow again by themselves."""

import time
from collections.abc import Iterator

import pytest
import requests

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


def order_at(site: Site, number: int) -> requests.Response:
    """Order a painting as a program without a browser does."""
    return requests.post(f"{site.url}/api/generate-image", files={"image": photo(number)}, timeout=20)


def is_painted(site: Site, task_id: str) -> bool:
    """Whether the picture is there."""
    told = requests.get(f"{site.url}/api/poll-task?taskId={task_id}", timeout=20).json()
    return bool(told["status"] == "SUCCESS")


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
        assert wait_until(lambda: client.zcard("ghibli:scheduler:jobs") == 1, FLOWING_S)
        for queue in (paint_queue_name("ghibli"), maintenance_queue_name("ghibli")):
            assert client.llen(f"rq:queue:{queue}") == 0
    checks = requests.get(f"{site.url}/api/health", timeout=20).json()["checks"]
    assert checks == dict.fromkeys(checks, "up")


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
