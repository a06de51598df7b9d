"""The Space as its callers meet it: a real server, called with the real client."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from conftest import PHOTOGRAPHS, SPACE
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from gradio_client.utils import Status
from PIL import Image

ENDPOINT = "/single_condition_generate_image"
PHOTO = PHOTOGRAPHS / "china.jpg"


@pytest.fixture(scope="module")
def client(space, tmp_path_factory):
    """One client, which puts what it downloads into a folder of the test."""
    client = Client(
        space.url, download_files=tmp_path_factory.mktemp("downloads"), verbose=False, analytics_enabled=False
    )
    yield client
    client.close()


def call(client: Client, **changes) -> Image.Image:
    """The painting for a call by name with six parameters, some of them changed."""
    wished = {
        "prompt": "Ghibli Studio style",
        "spatial_img": handle_file(PHOTO),
        "height": 256,
        "width": 384,
        "seed": 42,
        "control_type": "Ghibli",
    } | changes
    return opened(client.predict(**wished, api_name=ENDPOINT))


def opened(path: str) -> Image.Image:
    """The picture in a file, fully read."""
    with Image.open(path) as picture:
        picture.load()
        return picture


def test_six_parameters_by_name(client):
    """The first form of the endpoint gives a WebP of exactly the wished size."""
    painting = call(client, height=432, width=640)
    assert painting.format == "WEBP"
    assert painting.size == (640, 432)


def test_eight_parameters_by_name(client):
    """The second form is accepted as well."""
    assert call(client, use_zero_init=True, zero_steps=3).size == (384, 256)


@pytest.mark.parametrize("more", [(), (False, 1)], ids=["six", "eight"])
def test_parameters_by_position(client, more):
    """Both forms work by position."""
    path = client.predict("", handle_file(PHOTO), 256, 384, 7, "golden", *more, api_name=ENDPOINT)
    assert opened(path).size == (384, 256)


@pytest.mark.parametrize("style", ["Ghibli", "golden", "night", "watercolour"])
def test_every_style_is_painted(client, style):
    """Each of the four styles answers."""
    assert call(client, control_type=style).size == (384, 256)


def test_another_shape_is_cropped(client):
    """A wide photograph is painted upright when that is wished, and fills the picture."""
    assert call(client, height=512, width=256).size == (256, 512)


def test_the_parameters_are_described_by_name(space):
    """The description names the eight parameters; only the picture has no default."""
    described = httpx.get(f"{space.url}/gradio_api/info").json()["named_endpoints"]
    assert list(described) == [ENDPOINT]
    parameters = described[ENDPOINT]["parameters"]
    assert [parameter["parameter_name"] for parameter in parameters] == [
        "prompt",
        "spatial_img",
        "height",
        "width",
        "seed",
        "control_type",
        "use_zero_init",
        "zero_steps",
    ]
    assert [p["parameter_name"] for p in parameters if not p["parameter_has_default"]] == ["spatial_img"]


@pytest.fixture
def no_picture(tmp_path) -> Path:
    """A text file that calls itself a photograph."""
    path = tmp_path / "photo.jpg"
    path.write_text("This is not a picture.")
    return path


@pytest.fixture
def half_a_picture(tmp_path) -> Path:
    """The first half of a photograph's file."""
    path = tmp_path / "half.jpg"
    path.write_bytes(PHOTO.read_bytes()[:90_000])
    return path


@pytest.fixture
def tiny_picture(tmp_path) -> Path:
    """A picture with too few pixels."""
    path = tmp_path / "tiny.png"
    Image.new("RGB", (200, 15)).save(path)
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"spatial_img": None}, "There is no picture"),
        ({"control_type": "cubist"}, "not in the list of choices"),
        ({"control_type": None}, "The style must be one of"),
        ({"seed": 4.5}, "The seed must be a whole number"),
        ({"seed": None}, "The seed must be a whole number"),
        ({"height": 300.5}, "The height must be a whole number"),
        ({"width": 240}, "less than minimum value 256"),
        ({"height": 1040}, "greater than maximum value 1024"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(client, changes, sentence):
    """A request that cannot be painted says why."""
    with pytest.raises(AppError, match=sentence):
        call(client, **changes)


@pytest.mark.parametrize(
    ("fixture", "sentence"),
    [
        ("no_picture", "not a picture that can be read"),
        ("half_a_picture", "not a picture that can be read"),
        ("tiny_picture", "too small"),
    ],
)
def test_bad_files_are_refused_with_a_sentence(client, request, fixture, sentence):
    """A file that is no usable picture is refused without telling internal paths."""
    with pytest.raises(AppError, match=sentence) as caught:
        call(client, spatial_img=handle_file(request.getfixturevalue(fixture)))
    assert "/" not in str(caught.value)


def submit(client: Client, side: int = 1024):
    """Begin a painting without waiting for it."""
    return client.submit("", handle_file(PHOTO), side, side, 1, "Ghibli", api_name=ENDPOINT)


def test_true_stages_are_reported(client):
    """While it paints, the Space names its stages, with a share that grows."""
    call(client)
    job = submit(client)
    told: list[tuple[float, str]] = []
    while not job.done():
        for unit in job.status().progress_data or []:
            if unit.desc and (unit.progress, unit.desc) not in told:
                told.append((unit.progress, unit.desc))
        time.sleep(0.005)
    job.result()
    shares = [share for share, _ in told]
    assert len(told) >= 2
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)


def test_one_render_at_a_time(client):
    """Three requests at once end one after the other, and those that wait know their place in the queue."""
    start = time.monotonic()
    jobs = [submit(client) for _ in range(3)]
    ends: dict[int, float] = {}
    ranks = set()
    while len(ends) < len(jobs):
        for index, job in enumerate(jobs):
            if job.done():
                ends.setdefault(index, time.monotonic() - start)
            elif job.status().rank is not None:
                ranks.add(job.status().rank)
        time.sleep(0.01)
    # Side by side they would end together, after the time of three; in turn they end after one, two and three.
    assert max(ends.values()) - min(ends.values()) > 0.5 * min(ends.values())
    assert ranks
    assert [opened(job.result()).size for job in jobs] == [(1024, 1024)] * 3


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_stops_it_and_leaves_nothing(start_space, name):
    """In the middle of a render the Space stops soon, with code 0, frees its port and removes its files."""
    space = start_space()
    client = Client(space.url, verbose=False, analytics_enabled=False)
    job = submit(client)
    while job.status().code in (Status.JOINING_QUEUE, Status.STARTING):
        time.sleep(0.01)
    assert list(space.temporary.iterdir())
    space.process.send_signal(getattr(signal, name))
    assert space.process.wait(timeout=15) == 0, space.log.read_text()
    assert not list(space.temporary.iterdir())
    port = int(space.url.rsplit(":", 1)[1])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    client.close()


def test_a_taken_port_is_said(space, tmp_path):
    """A second Space on the same port ends with an error that names the port."""
    port = space.url.rsplit(":", 1)[1]
    second = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(SPACE / "app.py")],
        env={"GRADIO_SERVER_PORT": port, "GRADIO_TEMP_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode != 0
    assert port in second.stderr
    assert not list(tmp_path.glob("painter-*"))


@pytest.mark.parametrize(("size", "fitting"), [((640, 427), (688, 1024)), ((300, 1200), (1024, 256))])
def test_the_page_keeps_the_shape_of_the_photograph(tmp_path, size, fitting):
    """After an upload the page's sliders move to the height and width of the photograph's own shape."""
    photo = tmp_path / "photo.png"
    Image.new("RGB", size).save(photo)
    told = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", "import sys, app; print(app.size_for(sys.argv[1]))", str(photo)],
        cwd=SPACE,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stdout.strip() == str(fitting)
