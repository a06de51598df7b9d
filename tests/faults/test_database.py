"""The database on its bad day: no order is half accepted, and none that was painted is lost."""

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading
from ghibli_flask.storage import Stores
from ghibli_flask.storage.local import LocalStore
from ghibli_flask.storage.stores import STORES_KEY
from tests.engines.conftest import RunningSpace
from tests.faults.conftest import (
    Visitor,
    assert_nothing_left,
    meanwhile,
    paint_waiting,
    running_rings,
    seconds_of,
    stored_files,
    task_count,
    tries_used,
)
from tests.support.mariadb_server import MariaDBServer
from tests.support.member import member

Painter = Callable[..., Flask]
STOPPED_S = 2.0
FROZEN_S = 4.0
"""A server that holds its connections and says nothing costs a second each: a ping, then every new connection."""
FAULTS = pytest.mark.parametrize(("fault", "bound"), [("stop", STOPPED_S), ("pause", FROZEN_S)])

pytestmark = pytest.mark.parametrize("each_database", ["mariadb"], indirect=True)


class StoreWithAPause(LocalStore):
    """The local folder; after it has written a file of this kind it waits, so that the world can change meanwhile."""

    def __init__(self, folder: Path, kind: str) -> None:
        super().__init__(folder)
        self.kind, self.written, self.go_on = kind, threading.Event(), threading.Event()

    def write(self, key: str, data: bytes, expires_at: datetime | None = None) -> str:
        """Write, then wait to be told to go on."""
        super().write(key, data)
        if key.startswith(self.kind):
            self.written.set()
            assert self.go_on.wait(30)
        return key


def give_a_pause(app: Flask, kind: str) -> StoreWithAPause:
    """Let an application pause between the file of an order and its row."""
    store = StoreWithAPause(Path(app.instance_path) / "files", kind)
    app.extensions[STORES_KEY] = Stores({"local": store})
    return store


@FAULTS
def test_away_at_submit(
    each_database: str,
    fault: str,
    bound: float,
    web: Flask,
    visitor: Visitor,
    mariadb_server: MariaDBServer,
    clock: FixedClock,
) -> None:
    """With the database stopped or frozen an order is refused with 503 in time; nothing is stored or charged."""
    visitor.poll("0" * 32)  # The pool holds a connection that is about to die.
    try:
        getattr(mariadb_server, fault)()
        seconds, answer = seconds_of(visitor.try_to_order)
    finally:
        mariadb_server.resume()
        mariadb_server.start()
    assert seconds < bound
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert answer.json["code"] == "unavailable"
    assert answer.headers["Retry-After"] == "30"
    assert stored_files(web) == set()
    assert (task_count(web), sum(tries_used(web))) == (0, 0)
    assert visitor.order()


def test_a_statement_may_take_its_time(each_database: str, web: Flask) -> None:
    """The second that a greeting and a ping get is not the time of a statement: one that takes longer is answered."""
    with web.app_context(), reading() as session:
        assert session.execute(text("SELECT SLEEP(1.5)")).scalar_one() == 0


def test_lost_between_file_and_row(
    each_database: str, web: Flask, visitor: Visitor, mariadb_server: MariaDBServer, clock: FixedClock
) -> None:
    """When the database goes while the photograph is being stored: 503, no charge, and the cleanup takes the file."""
    store = give_a_pause(web, "sources")
    answers = []
    try:
        with meanwhile(lambda: answers.append(visitor.try_to_order())):
            assert store.written.wait(30)
            mariadb_server.stop()
            store.go_on.set()
    finally:
        mariadb_server.start()
    assert (answers[0].status_code, answers[0].json["code"]) == (503, "unavailable")
    assert (task_count(web), sum(tries_used(web))) == (0, 0)
    assert len(stored_files(web)) == 1
    assert_nothing_left(web, clock)
    assert stored_files(web) == set()


def test_away_when_the_picture_is_done(
    each_database: str,
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    gallery: RunningSpace,
    mariadb_server: MariaDBServer,
    clock: FixedClock,
) -> None:
    """A database that is away at the moment of settling is waited for: the finished picture reaches the visitor."""
    task_id = visitor.order()
    app = painter(gallery)
    store = give_a_pause(app, "results")
    try:
        with meanwhile(lambda: paint_waiting(app)) as painting:
            assert store.written.wait(30)
            mariadb_server.stop()
            store.go_on.set()
            painting.join(2)
            assert painting.is_alive(), "The worker waits for the database."
            mariadb_server.start()
    finally:
        mariadb_server.start()
    told = visitor.poll(task_id)
    assert (told["status"], told["refunded"]) == ("SUCCESS", False)
    assert tries_used(web) == [1, 1]
    assert running_rings(web) == []
    assert_nothing_left(web, clock)


@FAULTS
def test_away_for_a_signed_in_person(
    each_database: str, fault: str, bound: float, web: Flask, mariadb_server: MariaDBServer
) -> None:
    """Whoever is signed in gets the same plain refusals in time, although nobody can say who it is."""
    person = member(web)
    try:
        getattr(mariadb_server, fault)()
        for ask in (
            person.order,
            lambda: person.get("/"),
            lambda: person.get("/account"),
            lambda: person.get("/nowhere"),
        ):
            seconds, answer = seconds_of(ask)
            assert answer.status_code == (404 if answer.request.path == "/nowhere" else 503)
            assert "Traceback" not in answer.text
            assert seconds < bound
    finally:
        mariadb_server.resume()
        mariadb_server.start()
    assert person.order().status_code == 202
