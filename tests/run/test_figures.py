"""Two web processes and a painting worker as an operator runs them: one order followed through every log by its id,
and the figures of all of them compared with what really happened.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from scripts.processes import wait_until
from tests.support.checkout import migrate
from tests.support.site import Site
from tests.support.standins.server import Heard, Reply, StandIn, json_reply
from tests.support.visitor import photo

OPERATOR = "the-operators-key-for-these-tests-4711"
SECRET = "the-long-secret-of-outside-processors"
ORDERS = 6
REQUESTS = "ghibli_http_request_duration_seconds_count"
HEALTHY = {"method": "GET", "route": "/health", "status": "2xx"}


class Processor(StandIn):
    """An outside processor that has its picture at once; what arrived stays in `heard`."""

    def answer(self, heard: Heard) -> Reply:
        if heard.path == "/api/poll-task":
            return json_reply({"status": "SUCCESS", "urls": [f"/api/image/{heard.query['taskId']}"]})
        if heard.path.startswith("/api/image/"):
            return Reply(photo(640, 512), kind="image/jpeg")
        return json_reply({"received": True})


@pytest.fixture(scope="module")
def processor() -> Iterator[StandIn]:
    """The engine of this installation."""
    with Processor() as server:
        yield server


@pytest.fixture(scope="module")
def plant(checkout: Path, tmp_path_factory: pytest.TempPathFactory, processor: StandIn) -> Iterator[Site]:
    """Redis, two web processes behind one port and a painting worker, all writing JSON, behind a proxy of ours."""
    folder = tmp_path_factory.mktemp("plant")
    plant = Site(
        checkout,
        folder,
        database_url=f"sqlite:///{folder / 'plant.sqlite3'}",
        gradio_url="http://127.0.0.1:1",
        ENGINES="processor",
        PROCESSOR_URL=processor.url,
        TASK_PROCESS_SECRET_KEY=SECRET,
        ADMIN_API_KEY=OPERATOR,
        LOG_FORMAT="json",
        TRUSTED_PROXIES="1",
    )
    plant.redis.start()
    try:
        migrate(plant.checkout, plant.env)
        for name in ("web", "worker"):
            plant[name].start()
        yield plant
    finally:
        for name in ("worker", "web"):
            plant[name].stop()
        plant.redis.stop()


def order(plant: Site, request_id: str) -> str:
    """Order a picture under this request id and see it done; gives the task's id."""
    sent = {"X-Request-ID": request_id}
    answer = requests.post(f"{plant.url}/api/generate-image", files={"image": photo()}, headers=sent, timeout=30)
    assert answer.status_code == 202, answer.text
    assert answer.headers["X-Request-ID"] == request_id
    task_id = str(answer.json()["taskId"])
    assert wait_until(lambda: poll(plant, task_id) == "SUCCESS", 60, every=0.5), task_id
    return task_id


def poll(plant: Site, task_id: str) -> str:
    """What a task's status is."""
    return str(requests.get(f"{plant.url}/api/poll-task", params={"taskId": task_id}, timeout=10).json()["status"])


def lines(plant: Site, process: str) -> list[dict[str, Any]]:
    """The lines of our processes in a log; gunicorn's own first words are no JSON."""
    text = (plant.logs / f"{process}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def figures(plant: Site) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a scrape shows, whichever web process answers it."""
    answer = requests.get(f"{plant.url}/metrics", headers={"Authorization": f"Bearer {OPERATOR}"}, timeout=10)
    assert answer.status_code == 200, answer.text
    samples = (sample for family in text_string_to_metric_families(answer.text) for sample in family.samples)
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def becomes(plant: Site, number: float, name: str, **labels: str) -> bool:
    """Whether a figure becomes exactly this within some seconds."""
    return wait_until(lambda: figures(plant).get((name, frozenset(labels.items())), 0) == number, 10, every=0.3)


def test_an_order_is_followed_by_its_id(plant: Site, processor: StandIn) -> None:
    """The id in the HTTP answer is in the web process' lines, in the worker's and in the call of the engine."""
    task_id = order(plant, "a-visitors-request-1")
    of_web = [line for line in lines(plant, "web") if line.get("request_id") == "a-visitors-request-1"]
    accepted, request = of_web
    assert (accepted["event"], accepted["task_id"]) == (f"task {task_id} is accepted", task_id)
    assert (request["event"], request["method"], request["status"]) == ("request", "POST", 202)
    assert (request["route"], request["path"]) == ("/api/generate-image", "/api/generate-image")
    assert request["seconds"] > 0
    assert request["bytes"] > 0

    def of_worker() -> list[str]:
        found = [line for line in lines(plant, "worker") if line.get("request_id") == "a-visitors-request-1"]
        assert {line["task_id"] for line in found} == {task_id}
        return [line["event"] for line in found]

    assert wait_until(lambda: len(of_worker()) == 3, 5)
    asked, painted, ended = of_worker()
    assert asked == "engine processor is asked"
    assert painted.startswith("engine processor painted in ")
    assert ended == f"task {task_id} ended painted in attempt 1"
    (handed_out,) = processor.asked(f"/process/{task_id}-1")
    assert handed_out.headers["X-Request-ID"] == "a-visitors-request-1"


def test_orders_that_are_painted_together_keep_their_ids(plant: Site) -> None:
    """Several orders in threads of one worker: each line names the request of its own task and of no other."""
    ids = [f"together-{number}" for number in range(ORDERS)]
    with ThreadPoolExecutor(ORDERS) as pool:
        task_ids = list(pool.map(lambda request_id: order(plant, request_id), ids))
    pairs = {(line["request_id"], line["task_id"]) for line in lines(plant, "worker") if "task_id" in line}
    assert {pair for pair in pairs if pair[0] in ids} == set(zip(ids, task_ids, strict=True))


def test_the_figures_are_what_happened(plant: Site, processor: StandIn) -> None:
    """Two web processes and a worker count as one: orders, endings, engine calls, files and requests agree."""
    done = sum(heard.path.startswith("/process/") for heard in processor.heard)
    assert done >= 1 + ORDERS
    style = {"style": "ghibli"}
    assert becomes(plant, done, "ghibli_orders_accepted_total", mode="image-to-image", **style)
    ended = {"outcome": "painted", "reason": "none", "engine": "processor", **style}
    assert becomes(plant, done, "ghibli_orders_ended_total", **ended)
    assert becomes(plant, done, "ghibli_engine_calls_total", engine="processor", result="painted")
    for stage in ("waiting", "painting", "saving", "whole"):
        labels = {"stage": stage, "engine": "processor"}
        assert becomes(plant, done, "ghibli_order_duration_seconds_count", **labels), stage
    # A photograph, a picture and a thumbnail each.
    assert becomes(plant, 3 * done, "ghibli_storage_writes_total", store="local", result="kept")
    polls = sum(line.get("route") == "/api/poll-task" for line in lines(plant, "web"))
    assert becomes(plant, polls, REQUESTS, method="GET", route="/api/poll-task", status="2xx")
    assert becomes(plant, 1, "ghibli_workers")


def test_after_a_restart_of_redis_counting_goes_on(plant: Site) -> None:
    """A Redis that died and forgot: what was asked while it was away is counted once it is back, and nothing twice."""
    plant.redis.kill()
    for _ in range(5):
        assert requests.get(f"{plant.url}/health", timeout=5).ok
    plant.redis.start()
    assert becomes(plant, 5, REQUESTS, **HEALTHY)


def test_a_process_that_ends_sends_its_last_counts(plant: Site) -> None:
    """What was counted in the moment before a stop is not lost: both web processes send it while they end."""
    for _ in range(20):
        assert requests.get(f"{plant.url}/health", timeout=5).ok
    plant["web"].stop()
    with plant.redis.client() as client:
        counted = {tuple(json.loads(key)): float(value) for key, value in client.hgetall("ghibli:metrics").items()}
    of_health = {key: value for key, value in counted.items() if key[1:4] == ("GET", "/health", "2xx")}
    assert sum(value for key, value in of_health.items() if key[-1] != "sum") == 25


def test_no_log_holds_a_secret(plant: Site) -> None:
    """No line of any process holds the operator's key or the secret of processors."""
    for process in ("web", "worker"):
        text = (plant.logs / f"{process}.log").read_text()
        assert OPERATOR not in text
        assert SECRET not in text
