"""A walk over four machines, told as JSON: `python -m tests.scale.walk CHECKOUT FOLDER [--in-namespaces]`.

Each chapter gives what was wrong in it, in words. test_many_machines.py starts this in a network of its own and judges.
"""

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from ghibli_flask import queueing
from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading, transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.models import ImageTask
from ghibli_flask.task_states import LIVE, TaskState
from scripts.processes import wait_until
from tests.chaos.audit import complaints, unfinished
from tests.chaos.crowd import Told, Visitor
from tests.scale.installation import ORDERS_PER_MINUTE, Installation
from tests.scale.machines import HUB
from tests.scale.visitors import Browser
from tests.support.member import confirmed_account
from tests.support.tokens import TOKENS

MEMBER, CROWD_MEMBERS = "ada@example.org", ("bea@example.org", "cyd@example.org")
VISITORS, ORDERS_EACH, CROWD_PAUSE_S = 6, 4, 1.0
PAINTING_S = 1.5
MINUTE = timedelta(seconds=61)


class Chapter:
    """What was wrong so far."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def holds(self, fact: bool, words: object) -> None:
        """Note the words unless this is so."""
        if not fact:
            self.wrong.append(str(words))


def one_visit(town: Installation) -> list[str]:
    """A guest who is greeted and orders at one machine, asks at the other, and sees the picture at both."""
    here, there = town.webs
    chapter, guest = Chapter(), Browser("192.0.2.10")
    guest.enter(here)
    made = guest.order(here, 1)
    chapter.holds(made.status_code == 202, f"the order: {made.status_code}")
    task_id = made.json()["taskId"]
    status = guest.wait(there, task_id)
    chapter.holds(status == "SUCCESS", f"at the other machine: {status}")
    seen = [guest.get(url, f"/api/image/{task_id}").content for url in (here, there)]
    chapter.holds(seen[0] == seen[1] and seen[0].startswith(b"\xff\xd8"), "the machines show different pictures")
    thumbnails = {guest.get(url, f"/api/image/{task_id}/thumbnail").status_code for url in (here, there)}
    chapter.holds(thumbnails == {200}, f"thumbnails: {thumbnails}")
    original = guest.get(there, f"/api/image/{task_id}/original").status_code
    chapter.holds(original == 200, f"its own photo at the other machine: {original}")
    stranger = Browser("192.0.2.11")
    stranger.enter(there)
    refused = stranger.get(there, f"/api/image/{task_id}/original").status_code
    chapter.holds(refused == 403, f"a stranger's at the other machine: {refused}")
    return chapter.wrong


def one_account(town: Installation) -> list[str]:
    """Somebody who signs in at one machine, orders at the other, and signs out for both."""
    here, there = town.webs
    chapter, ada = Chapter(), Browser("192.0.2.12")
    ada.enter(here)
    chapter.holds(ada.sign_in(here, MEMBER) == 303, "the sign-in")
    before = ada.get(there, "/api/user-credits").json()["credits"]
    task_id = ada.order(there, 2).json()["taskId"]
    after = ada.get(here, "/api/user-credits").json()["credits"]
    chapter.holds(after == before - 1, f"{before} credits became {after}")
    chapter.holds(ada.wait(here, task_id) == "SUCCESS", "the order at the other machine")
    packed = ada.post(there, "/account/export")
    chapter.holds(packed.status_code == 303, f"the wish for a zip: {packed.status_code}")
    balanced = town.balancer.url
    is_sent = wait_until(lambda: ada.get(balanced, "/account/export").content.startswith(b"PK"), 20, every=0.3)
    chapter.holds(is_sent, "the zip does not come through nginx")
    chapter.holds(ada.post(there, "/auth/signout").status_code == 303, "the sign-out")
    left = [ada.get(url, "/api/user-credits").status_code for url in (here, there)]
    chapter.holds(left == [401, 401], f"after the sign-out: {left}")
    return chapter.wrong


def one_order(town: Installation) -> list[str]:
    """An order that is sent to both machines at once under one key is one task, with one charge."""
    chapter, guest = Chapter(), Browser("192.0.2.13")
    guest.enter(town.webs[0])
    with ThreadPoolExecutor(2) as both:
        answers = list(both.map(lambda url: guest.order(url, 3, key="the same"), town.webs))
    codes, tasks = {answer.status_code for answer in answers}, {answer.json().get("taskId") for answer in answers}
    chapter.holds(codes == {200, 202} and len(tasks) == 1, f"{codes} {tasks}")
    chapter.holds(guest.wait(town.webs[1], tasks.pop()) == "SUCCESS", "it was not painted")
    return chapter.wrong


def one_cancel(town: Installation) -> list[str]:
    """A painting that was ordered at one machine is stopped from the other."""
    here, there = town.webs
    chapter, guest = Chapter(), Browser("192.0.2.14")
    guest.enter(here)
    town.space.paint_for(6)
    task_id = guest.order(here, 4).json()["taskId"]
    chapter.holds(guest.wait(there, task_id, {"PROCESSING"}) == "PROCESSING", "it was not begun")
    cancelled = guest.post(there, f"/api/tasks/{task_id}/cancel").status_code
    seen = guest.status(here, task_id)
    town.space.paint_for(PAINTING_S)
    chapter.holds(cancelled == 200, f"cancel: {cancelled}")
    chapter.holds((seen["status"], seen["refunded"]) == ("CANCELLED", True), f"at the other machine: {seen}")
    return chapter.wrong


def one_limit(town: Installation) -> list[str]:
    """The orders a minute from one address are counted over both machines together."""
    chapter = Chapter()

    def ask(number: int) -> int:
        browser = Browser("192.0.2.15")
        return browser.post(town.webs[number % 2], "/api/generate-image", json={}).status_code

    with ThreadPoolExecutor(8) as many:
        codes = list(many.map(ask, range(ORDERS_PER_MINUTE + 10)))
    counts = {code: codes.count(code) for code in set(codes)}
    # A minute that ends meanwhile begins the count anew, once.
    chapter.holds(counts.get(429, 0) == 10 or datetime.now(UTC).second < 15, f"answers: {counts}")
    return chapter.wrong


def one_purse(town: Installation) -> list[str]:
    """Tokens are leased by both workers from one purse: every call has one, and the seconds add up at both machines."""
    chapter, guest = Chapter(), Browser("192.0.2.16")
    guest.enter(town.webs[0])
    town.space.paint_for(0.5)
    ids = [guest.order(town.webs[number % 2], 100 + number).json()["taskId"] for number in range(12)]
    statuses = {guest.wait(town.webs[0], task_id) for task_id in ids}
    town.space.paint_for(PAINTING_S)
    chapter.holds(statuses == {"SUCCESS"}, f"orders ended {statuses}")
    for name in ("worker-1", "worker-2"):
        chapter.holds(bool(town.painted_by(name) & set(ids)), f"{name} painted nothing of it")
    calls = town.space.calls()
    chapter.holds({call["token"] for call in calls} <= set(TOKENS), "a call had no token")
    chapter.holds(len({call["token"] for call in calls}) > 1, "one token did everything")
    secret = {"X-Admin-Secret": "the secret of whoever asks after tokens"}
    told = [guest.get(url, "/api/token-status", headers=secret).json() for url in town.webs]
    chapter.holds(told[0]["tokens"] == told[1]["tokens"], "the machines tell different things of the tokens")
    used = told[0]["summary"]["totalUsageMinutes"] * 60
    painted = sum(float(str(call["ended"])) - float(str(call["began"])) for call in calls)
    chapter.holds(
        painted * 0.9 <= used <= painted + 2 * len(calls) + 10, f"{painted:.0f} s painted, {used:.0f} counted"
    )
    return chapter.wrong


class Cut:
    """A crowd orders through nginx while a web machine and a worker machine are cut off, and come back."""

    def __init__(self, town: Installation) -> None:
        self._town, self.told = town, Told()
        self.stranded: dict[str, int] = {}
        """The orders that the worker had in hand, with the attempt that it was."""
        self.lines: list[str] = []

    def crowd(self) -> list[str]:
        """Every order is accepted, though half of the machines go, and all but those in hand there are painted."""
        town, chapter = self._town, Chapter()
        visitors = [
            Visitor(town, self.told, 10 + number, ORDERS_EACH, CROWD_PAUSE_S, email)  # type: ignore[arg-type]
            for number, email in enumerate([*CROWD_MEMBERS, *[None] * (VISITORS - len(CROWD_MEMBERS))])
        ]
        for visitor in visitors:
            visitor.daemon = True
            visitor.start()
        wait_until(lambda: len(self.told.accepted) >= VISITORS, 20)
        town.machines["web-1"].cut_off()
        wait_until(lambda: len(_in_hand(town)) >= 4, 20, every=0.02)
        town.machines["worker-2"].cut_off()
        met = _in_hand(town)
        for visitor in visitors:
            visitor.join(90)
        wait_until(lambda: not _in_hand(town).keys() - met.keys(), 20)
        time.sleep(2 * PAINTING_S)  # What the other worker had in hand at that moment has ended by now.
        self.stranded = _in_hand(town)
        chapter.holds(len(self.told.accepted) == VISITORS * ORDERS_EACH, f"given up: {self.told.given_up}")
        chapter.holds(bool(self.stranded), "the worker had nothing in hand when it was cut off")
        chapter.holds(set(self.stranded) <= set(met), f"{self.stranded} are of nobody who was cut off; in hand: {met}")
        chapter.holds(not self.told.broken, self.told.broken)
        self.lines.append(
            f"{len(self.told.accepted)} orders accepted, {len(self.stranded)} in hand of the worker that was cut off; "
            f"slowest answer {self.told.slowest_s:.1f} s; refusals on the way: {self.told.refused or 'none'}"
        )
        return chapter.wrong

    def repair(self) -> list[str]:
        """One sweep has the other worker paint what was stranded, while the machine is still away."""
        town, chapter = self._town, Chapter()
        _let_a_minute_pass(town)
        is_repaired = wait_until(lambda: not unfinished(town.app), 60, every=0.2)
        chapter.holds(is_repaired, "the other worker did not take over")
        endings = _endings(town, set(self.stranded))
        chapter.holds({ending[0] for ending in endings.values()} == {"completed"}, f"ended: {endings}")
        later = all(endings[task_id][1] > attempt for task_id, attempt in self.stranded.items())
        chapter.holds(later, f"not of a later attempt: {endings}")
        chapter.holds(set(self.stranded) <= town.painted_by("worker-1"), "the other worker did not paint them")
        return chapter.wrong

    def comeback(self) -> list[str]:
        """Back again, the worker throws away what it had and takes new orders; the web machine answers."""
        town, chapter = self._town, Chapter()
        before = _endings(town, set(self.stranded))
        town.space.paint_for(0.2)
        town.machines["worker-2"].rejoin()
        town.machines["web-1"].rejoin()
        back_at = time.monotonic()
        guest = Browser("192.0.2.17")
        guest.enter(town.webs[0])
        let_go = wait_until(lambda: all(_was_let_go(town, task_id) for task_id in self.stranded), 90, every=0.2)
        chapter.holds(let_go, f"not let go: {[task for task in self.stranded if not _was_let_go(town, task)]}")
        self.lines.append(f"back after the cut, the worker had let go of all it had within {_since(back_at)}")
        chapter.holds(
            _endings(town, set(self.stranded)) == before, "a run that was cut off changed an order that ended"
        )
        chapter.holds(not set(self.stranded) & town.painted_by("worker-2"), "it says that it painted what it had lost")
        number, took_part = 200, False
        while not took_part and time.monotonic() - back_at < 90:
            ids = [guest.order(town.webs[0], number + place).json()["taskId"] for place in range(6)]
            number += len(ids)
            statuses = {guest.wait(town.webs[1], task_id) for task_id in ids}
            chapter.holds(statuses == {"SUCCESS"}, f"orders afterwards ended {statuses}")
            took_part = bool(set(ids) & town.painted_by("worker-2"))
        chapter.holds(took_part, "the worker that came back takes no orders")
        self.lines.append(f"it painted again within {_since(back_at)}")
        return chapter.wrong


def the_books(town: Installation, told: Told) -> list[str]:
    """At the end every order has ended, every credit and free try is right, and every file has its row."""
    ahead = FixedClock(datetime.now(UTC) + timedelta(minutes=65))
    app = town.application(ahead)
    for process in town.residents:
        process.kill()
    return complaints(app, told, lambda: set(town.s3.keys()))


def _since(moment: float) -> str:
    return f"{time.monotonic() - moment:.0f} s"


def _in_hand(town: Installation) -> dict[str, int]:
    """What is being painted, and in which attempt."""
    return {task.public_id: task.attempt for task in _tasks(town, ImageTask.status == TaskState.PROCESSING.value)}


def _endings(town: Installation, ids: set[str]) -> dict[str, tuple[str, int, str | None, int]]:
    found = _tasks(town, ImageTask.public_id.in_(ids))
    return {task.public_id: (task.status, task.attempt, task.result_key, task.refunded) for task in found}


def _tasks(town: Installation, condition: Any) -> list[ImageTask]:
    with town.app.app_context(), reading() as session:
        return list(session.scalars(select(ImageTask).where(condition)))


def _was_let_go(town: Installation, task_id: str) -> bool:
    """Whether the worker that came back has ended its run: it found the row in other hands."""
    words = (f"task {task_id} was no longer of attempt", f"task {task_id} was taken from attempt")
    return any(word in town.log_of("worker-2") for word in words)


def _let_a_minute_pass(town: Installation) -> None:
    """Have the signs of everything unfinished be a minute older, and sweep; waiting for it would show no more."""
    live = ImageTask.status.in_([state.value for state in LIVE])
    with town.app.app_context():
        for task in _tasks(town, live):
            older = {
                "queued_at": task.queued_at - MINUTE,
                "heartbeat_at": task.heartbeat_at - MINUTE if task.heartbeat_at else None,
            }
            aged = update(ImageTask).where(ImageTask.id == task.id, ImageTask.attempt == task.attempt).values(**older)
            transaction(lambda session, aged=aged: session.execute(aged))
            popped = queueing.paint_queue().intermediate_queue
            seen_key = popped.get_first_seen_key(queueing.job_id(task.public_id, task.ring))
            runtime().redis.set(seen_key, (datetime.now(UTC) - MINUTE).timestamp(), ex=600)
        ring_for_a_sweep(town)


def ring_for_a_sweep(town: Installation) -> None:
    """Have the maintenance worker sweep now."""
    with town.app.app_context():
        queueing.maintenance_queue().enqueue_call("jobs.sweep.sweep", result_ttl=0)


def walk(town: Installation) -> dict[str, object]:
    """All chapters, in their order."""
    began_at = time.monotonic()
    town.start()
    ring_for_a_sweep(town)  # One that ran lately is what lets the next one trust the silence of a worker.
    with town.app.app_context():
        for email in (MEMBER, *CROWD_MEMBERS):
            confirmed_account(email)
    cut = Cut(town)
    chapters: dict[str, Callable[[], list[str]]] = {
        "one_visit": lambda: one_visit(town),
        "one_account": lambda: one_account(town),
        "one_order": lambda: one_order(town),
        "one_cancel": lambda: one_cancel(town),
        "one_limit": lambda: one_limit(town),
        "one_purse": lambda: one_purse(town),
        "crowd": cut.crowd,
        "repair": cut.repair,
        "comeback": cut.comeback,
        "books": lambda: the_books(town, cut.told),
    }
    lines, found = [f"everything answered after {_since(began_at)}"], {}
    for name, chapter in chapters.items():
        chapter_at = time.monotonic()
        try:
            found[name] = chapter()
        except Exception as error:
            found[name] = [f"{type(error).__name__}: {error}"]
        lines.append(f"{name}: {_since(chapter_at)}, {found[name] or 'as it should be'}")
        print(lines[-1], flush=True)
    return {"chapters": found, "lines": [*lines, *cut.lines]}


def main() -> None:
    """Walk, and print what was found as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--in-namespaces", action="store_true")
    chosen = parser.parse_args()
    town = Installation(chosen.checkout, chosen.folder, in_namespaces=chosen.in_namespaces)
    try:
        report = walk(town)
    finally:
        town.stop()
    where = "network namespaces" if chosen.in_namespaces else f"processes at addresses of their own beside {HUB}"
    print(json.dumps({"machines": where, **report}))


if __name__ == "__main__":
    main()
