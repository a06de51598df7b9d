"""One order through the real Space: shape, marks, metadata, progress, and what is left behind."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from PIL import Image

from ghibli_flask import queueing, status
from ghibli_flask.extensions import runtime
from ghibli_flask.images import read_mark
from ghibli_flask.services import files
from jobs.engines.base import News
from jobs.pulse import Pulse
from tests.images import pictures
from tests.support.checkout import ROOT
from tests.support.visitor import Visitor, photo

Painted = Callable[[str], None]


@pytest.fixture
def stored(app: Flask) -> Callable[[], list[Path]]:
    """Every stored file."""
    folder = app.extensions["ghibli_runtime"].settings.instance_dir / "files"
    return lambda: [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 480), (1024, 768)), ((480, 641), (767, 1024)), ((2000, 100), (1024, 51)), ((90, 900), (102, 1024))],
)
def test_the_picture_keeps_its_own_shape(
    visitor: Visitor, painted: Painted, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    """Landscape, portrait, panorama and strip come back in exactly their own ratio."""
    task_id = visitor.ordered(photo(*size))
    painted(task_id)
    answer = visitor.poll(task_id)
    assert answer["status"] == "SUCCESS", answer
    assert answer["engine"] == "gradio"
    assert pictures.opened(visitor.get(f"/api/image/{task_id}").get_data()).size == expected


def test_a_wished_size_bounds_the_picture(visitor: Visitor, painted: Painted) -> None:
    """The result fits inside width and height with its shape kept."""
    task_id = visitor.ordered(photo(640, 480), width="512", height="512")
    painted(task_id)
    assert pictures.opened(visitor.get(f"/api/image/{task_id}").get_data()).size == (512, 384)


@pytest.mark.parametrize("style", ["ghibli", "golden", "night", "watercolour"])
def test_every_style_paints_another_picture(visitor: Visitor, painted: Painted, style: str) -> None:
    """Each style reaches its own look: the same photograph comes back changed, and night darker than the day."""
    data = (ROOT / "docs/photographs/china.jpg").read_bytes()
    task_id = visitor.ordered(data, style=style)
    painted(task_id)
    result = pictures.opened(visitor.get(f"/api/image/{task_id}").get_data())
    original = pictures.opened(visitor.get(f"/api/image/{task_id}/original").get_data())
    brightness = [image.convert("L").resize((1, 1)).getpixel((0, 0)) for image in (result, original)]
    assert (brightness[0] < brightness[1] - 15) == (style == "night")


def test_no_stored_file_tells_where_the_photo_was_taken(
    visitor: Visitor, painted: Painted, stored: Callable[[], list[Path]]
) -> None:
    """A photo with GPS, maker and comment leaves none of it in any stored file; the result carries the AI mark."""
    data = pictures.encoded(pictures.held(6), "JPEG", exif=pictures.camera_exif(6), comment=pictures.SECRET)
    assert pictures.SECRET.encode() in data
    task_id = visitor.ordered(data)
    painted(task_id)
    assert len(stored()) == 3, "photograph, painting, thumbnail"
    for path in stored():
        assert pictures.SECRET.encode() not in path.read_bytes()
        with Image.open(path) as image:
            assert not image.getexif()
    for address in (f"/api/image/{task_id}", f"/api/image/{task_id}/thumbnail"):
        assert read_mark(visitor.get(address).get_data()) is not None


def test_real_progress_reaches_the_visitor(
    app: Flask, visitor: Visitor, painted: Painted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Space's own progress arrives; what is published of it moves through the stages in order and never back."""
    seen: list[status.LiveStatus] = []
    real = status.publish

    def record(public_id: str, value: status.LiveStatus, redis: object = None) -> bool:
        seen.append(value)
        return real(public_id, value)

    fractions: list[float] = []
    tell = Pulse.tell

    def listen(pulse: Pulse, news: News, engine: str | None = None) -> None:
        if news.fraction is not None:
            fractions.append(news.fraction)
        tell(pulse, news, engine)

    monkeypatch.setattr(status, "publish", record)
    monkeypatch.setattr(Pulse, "tell", listen)
    task_id = visitor.ordered((ROOT / "docs/photographs/flower.jpg").read_bytes())
    painted(task_id)
    progress = [value.progress for value in seen]
    assert progress == sorted(progress)
    stages = list(dict.fromkeys(value.stage for value in seen))
    assert [stage for stage in stages if stage != "waiting_for_gpu"] == [
        "queued", "connecting", "painting", "downloading", "saving", "done",
    ]  # fmt: skip
    assert any(0 < fraction < 1 for fraction in fractions)
    assert fractions == sorted(fractions)


def test_nothing_is_left_behind(
    app: Flask,
    visitor: Visitor,
    painted: Painted,
    stored: Callable[[], list[Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a painting there is no temporary file; after a deletion and the cleanup no file at all."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    task_id = visitor.ordered(photo(400, 300))
    painted(task_id)
    assert list(temporary.iterdir()) == []
    visitor.delete(f"/api/tasks/{task_id}")
    with app.app_context():
        files.drain()
    assert stored() == []


def test_a_worker_tells_its_load(app: Flask, visitor: Visitor, painted: Painted) -> None:
    """After a painting the web side knows slots and durations, and gives the next order a time."""
    task_id = visitor.ordered(photo(400, 300))
    painted(task_id)
    with app.app_context():
        load = queueing.load()
    assert load is not None
    assert (load.workers, load.slots) == (1, 1)
    assert len(load.durations) == 1
    assert visitor.order().get_json()["etaSeconds"] is not None


def test_ringing_twice_paints_once(app: Flask, visitor: Visitor, painted: Painted) -> None:
    """A second ring for a painted task finds nothing to claim."""
    task_id = visitor.ordered(photo(400, 300))
    painted(task_id)
    first = visitor.poll(task_id)
    painted(task_id)
    assert visitor.poll(task_id) | {"elapsedMs": 0} == first | {"elapsedMs": 0}
    with app.app_context():
        assert runtime().redis.get(status.key(task_id)) is not None
