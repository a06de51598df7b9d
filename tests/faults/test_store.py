"""The store on its bad day: an order whose files cannot be kept is refused, or failed and given back."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import files
from tests.engines.conftest import RunningSpace
from tests.faults.conftest import (
    Visitor,
    assert_nothing_left,
    paint_waiting,
    row,
    stored_files,
    task_count,
    tries_used,
)

Painter = Callable[..., Flask]


@contextmanager
def blocked(path: Path) -> Iterator[None]:
    """A file where the store wants a folder: unlike missing rights, this stops root too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")
    yield
    path.unlink()


def assert_refused(web: Flask, visitor: Visitor) -> None:
    """An order is refused with the sentence for an outage, and nothing has been charged or entered."""
    answer = visitor.try_to_order()
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert answer.json["code"] == "unavailable"
    assert "Nothing was charged" in answer.json["detail"]
    assert (task_count(web), sum(tries_used(web))) == (0, 0)


def test_not_writable_at_submit(each_database: str, web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """With no store to take the photograph the order is refused; it is taken as soon as the store is back."""
    with blocked(Path(web.instance_path) / "files"):
        assert_refused(web, visitor)
        assert visitor.get("/api/health").status_code == 503
    assert visitor.get("/api/health").status_code == 200
    assert visitor.order()
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


@pytest.fixture
def tiny_disk(web: Flask) -> Iterator[Path]:
    """A file system of 64 kB for the application's files."""
    if os.geteuid() != 0:
        pytest.fail("Only root may mount the small file system that this test fills.")
    folder = Path(web.instance_path) / "files"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_disk_full_at_submit(web: Flask, visitor: Visitor, tiny_disk: Path, clock: FixedClock) -> None:
    """On a full disk the order is refused, no part of a file stays, and orders are taken again when there is room."""
    ballast = tiny_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(bytes(128 * 1024))
    assert_refused(web, visitor)
    assert stored_files(web) == {"ballast"}
    ballast.unlink()
    assert visitor.order()
    assert_nothing_left(web, clock)


def test_the_result_cannot_be_stored(
    each_database: str, web: Flask, visitor: Visitor, painter: Painter, gallery: RunningSpace, clock: FixedClock
) -> None:
    """A painted picture that no store takes fails the order with its own sentence, and the try is back."""
    task_id = visitor.order()
    with blocked(Path(web.instance_path) / "files/results"):
        paint_waiting(painter(gallery))
    told = visitor.poll(task_id)
    assert (told["status"], told["code"], told["refunded"]) == ("FAILED", "storage", True)
    assert told["error"] == "The finished picture could not be stored. Your try has come back."
    assert tries_used(web) == [0, 0]
    assert_nothing_left(web, clock)


def test_the_photo_is_gone(
    web: Flask, visitor: Visitor, painter: Painter, gallery: RunningSpace, clock: FixedClock
) -> None:
    """An order whose photograph has vanished from the disk fails with its own sentence, and the try is back."""
    task_id = visitor.order()
    (Path(web.instance_path) / "files" / row(web, task_id).source_key).unlink()
    paint_waiting(painter(gallery))
    told = visitor.poll(task_id)
    assert (told["status"], told["code"], told["refunded"]) == ("FAILED", "source_gone", True)
    assert told["error"] == "The photo was no longer there when its turn came. Your try has come back."
    assert tries_used(web) == [0, 0]


def test_a_file_that_cannot_be_deleted_yet(web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """While the store is away the cleanup keeps its entries, and it deletes the files once the store is back."""
    visitor.delete(visitor.order())
    folder = Path(web.instance_path) / "files"
    folder.rename(folder.with_name("aside"))
    with blocked(folder), web.app_context():
        assert files.drain() == 0
    folder.with_name("aside").rename(folder)
    assert len(stored_files(web)) == 1
    clock.advance(minutes=2)
    with web.app_context():
        assert files.drain() == 1
    assert stored_files(web) == set()
    assert_nothing_left(web, clock)
