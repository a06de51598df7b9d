"""What is refused: whatever is no picture, stops early, is too small or too narrow, or meets a busy machine."""

from __future__ import annotations

import threading
import time
import zipfile
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ghibli_flask.errors import Busy, InvalidFields, NotAPicture, TooLarge
from ghibli_flask.images import decode, normalise
from tests.images import pictures
from tests.images.pictures import corners, cut, encoded

FORMATS = ["JPEG", "PNG", "WEBP", "HEIF", "AVIF", "GIF", "TIFF"]
STOPS = "stops in the middle"


def packed() -> bytes:
    """Make a ZIP with a picture in it."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("photo.png", encoded(corners(), "PNG"))
    return out.getvalue()


NO_PICTURES = {
    "words": b"just a few words, nothing to look at",
    "html": b"<!doctype html><html><body>no</body></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>',
    "pdf": encoded(corners(), "PDF"),
    "eps": encoded(corners(), "EPS"),
    "bmp": encoded(corners(), "BMP"),
    "ico": encoded(corners(), "ICO"),
    "tga": encoded(corners(), "TGA"),
    "ppm": encoded(corners(), "PPM"),
    "icns": encoded(corners(), "ICNS"),
    "jpeg 2000": encoded(corners(), "JPEG2000"),
    "psd": b"8BPS\0\1" + bytes(200),
    "zip": packed(),
    "mp4": b"\0\0\0\x20ftypisom" + bytes(100),
    "zeros": bytes(1000),
    "jpeg start": b"\xff\xd8\xff",
    "png start": pictures.PNG_START,
}


@pytest.mark.parametrize("name", NO_PICTURES)
def test_whatever_is_no_picture(name: str) -> None:
    """Text, documents, archives, films and formats that nobody photographs in are refused before any decoder."""
    with pytest.raises(NotAPicture):
        normalise(NO_PICTURES[name])


def test_an_empty_file() -> None:
    """No bytes at all are told apart from a file that cannot be read."""
    with pytest.raises(NotAPicture, match="empty"):
        normalise(b"")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.98])
@pytest.mark.parametrize("format_name", [*FORMATS, "progressive JPEG", "packed TIFF"])
def test_a_picture_that_stops_in_the_middle(format_name: str, share: float) -> None:
    """A file that was not copied to its end is refused with a sentence of its own, wherever it was cut."""
    image = corners(300, 200).effect_spread(20)
    options: dict[str, object] = {}
    if "progressive" in format_name:
        options["progressive"] = True
    if "packed" in format_name:
        options["compression"] = "tiff_lzw"
    data = encoded(image, format_name.split()[-1], **options)
    with pytest.raises(NotAPicture, match=STOPS):
        normalise(cut(data, share))


def test_a_phone_may_write_on_behind_the_picture() -> None:
    """Bytes behind the picture, as phones put films and notes there, do not make it look broken."""
    for format_name in ("JPEG", "HEIF", "AVIF", "PNG", "GIF"):
        data = encoded(corners(), format_name) + b"SEFH" + bytes(range(256)) * 4 + b"SEFT"
        assert normalise(data).width == 96, format_name


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (1, 1), (1, 5000)])
def test_tiny_sides(size: tuple[int, int]) -> None:
    """A side under 16 pixels is a field error on `image`."""
    with pytest.raises(InvalidFields, match="16 pixels") as refused:
        normalise(encoded(Image.new("RGB", size), "PNG"))
    assert [error.field for error in refused.value.fields] == ["image"]


def test_too_narrow_once_it_is_reduced() -> None:
    """A strip that would be under 16 pixels after reduction is refused as well, and says why."""
    with pytest.raises(InvalidFields, match="narrow") as refused:
        normalise(encoded(Image.new("RGB", (4096, 24)), "JPEG"))
    assert [error.field for error in refused.value.fields] == ["image"]


def test_the_bound_on_pixels() -> None:
    """The bound is exact, comes from the caller, and its sentence says how much is taken."""
    data = encoded(Image.new("RGB", (1000, 1000)), "PNG")
    assert normalise(data, max_pixels=1_000_000).width == 1000
    with pytest.raises(TooLarge, match="the most is 2 megapixels"):
        normalise(encoded(Image.new("RGB", (2000, 1001)), "PNG"), max_pixels=2_000_000)


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_pixels_without_an_agreed_meaning(mode: str) -> None:
    """Floating-point and L*a*b* pictures, which could only be guessed at, are refused."""
    with pytest.raises(NotAPicture):
        normalise(encoded(Image.new(mode, (32, 32)), "TIFF"))


def test_32_bit_integers() -> None:
    """32-bit greys are taken when they stay within 16 bits and refused when their white is unknown."""
    assert normalise(encoded(Image.new("I", (32, 32), 65_535), "TIFF")).width == 32
    with pytest.raises(NotAPicture):
        normalise(encoded(Image.new("I", (32, 32), 2_000_000), "TIFF"))


def test_busy_when_every_core_is_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every core taken a visitor is told after 5 seconds to come back in 5; afterwards all works again."""
    data = encoded(corners(), "JPEG")
    cores = threading.BoundedSemaphore(1)
    monkeypatch.setattr(decode, "_cores", cores)
    with cores:
        started = time.monotonic()
        with pytest.raises(Busy) as refused:
            normalise(data)
        assert 4.9 < time.monotonic() - started < 25
    assert refused.value.retry_after == 5
    assert normalise(data).width == 96


def test_a_failure_gives_its_core_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken picture does not keep a core."""
    monkeypatch.setattr(decode, "_cores", threading.BoundedSemaphore(1))
    broken = cut(encoded(corners(300, 200).effect_spread(20), "JPEG"), 0.6)
    for _attempt in range(3):
        with pytest.raises(NotAPicture, match=STOPS):
            normalise(broken)
    assert normalise(encoded(corners(), "JPEG")).width == 96


def test_many_threads_at_once() -> None:
    """Sixteen requests at once wait for a core in turn and all get their picture."""
    data = encoded(corners(800, 600), "JPEG")
    done: list[int] = []
    threads = [threading.Thread(target=lambda: done.append(normalise(data).width)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [800] * 16


SMALL = {name: encoded(corners(48, 32).effect_spread(4), name) for name in FORMATS}


# In production Python's warnings about damaged metadata are only logged; here too, so that the same code runs.
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
@pytest.mark.parametrize("format_name", FORMATS)
def test_damaged_bytes_never_raise_anything_else(format_name: str, data: st.DataObject) -> None:
    """Whatever bytes are changed, cut or put in, only an error of ours comes out, or a picture."""
    content = bytearray(SMALL[format_name])
    for _change in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(content) - 1))
        junk = data.draw(st.binary(max_size=8))
        content[position : position + data.draw(st.integers(0, 8))] = junk
    try:
        picture = normalise(bytes(content), max_pixels=4_000_000)
    except (NotAPicture, TooLarge, InvalidFields):
        return
    assert pictures.opened(picture.data).mode == "RGB"


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", *sorted(decode._SIGNATURES), b"RIFF\xff\0\0\0WEBP", b"\0\0\0\x18ftypavif"]),
)
def test_random_bytes(noise: bytes, start: bytes) -> None:
    """Random bytes, with and without a picture's first bytes, are refused and nothing else happens."""
    with pytest.raises((NotAPicture, TooLarge, InvalidFields)):
        normalise(start + noise)
