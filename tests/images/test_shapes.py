"""How pictures travel to an engine and come back: sides, padding, exact ratio, and answers that are not as asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ghibli_flask.errors import NotAPicture
from ghibli_flask.images import DigitalSourceType, Fit, finish, fit, normalise, prepare, read_mark
from tests.images import pictures
from tests.images.pictures import BLUE, GREEN, GREY, RED, corners, cut, encoded, opened
from tests.images.test_normalise import near

PAINTER = DigitalSourceType.ALGORITHMICALLY_ENHANCED

sides = st.integers(16, 20_000)
wishes = st.none() | st.tuples(st.integers(256, 1024), st.integers(256, 1024))


@given(sides, sides, wishes)
def test_sides_sent_are_what_engines_take(width: int, height: int, within: tuple[int, int] | None) -> None:
    """For every picture and wish the sides sent are multiples of 16 between 256 and 1,024."""
    chosen = fit(width, height, within=within)
    for side in (chosen.width, chosen.height):
        assert side % 16 == 0
        assert 256 <= side <= 1024


@given(sides, sides, wishes)
def test_the_finished_sides_keep_the_ratio(width: int, height: int, within: tuple[int, int] | None) -> None:
    """The finished sides have the picture's ratio within the rounding of one pixel and fit inside what was wished."""
    chosen = fit(width, height, within=within)
    bound = within or (1024, 1024)
    assert chosen.final_width <= bound[0]
    assert chosen.final_height <= bound[1]
    assert chosen.final_width == bound[0] or chosen.final_height == bound[1]
    scale = min(bound[0] / width, bound[1] / height)
    assert abs(chosen.final_width - width * scale) <= 1
    assert abs(chosen.final_height - height * scale) <= 1


@given(sides, sides, wishes)
def test_the_content_lies_within_the_sides(width: int, height: int, within: tuple[int, int] | None) -> None:
    """The picture's place is inside what is sent, in the middle, and only pictures beyond 4:1 are padded."""
    chosen = fit(width, height, within=within)
    left, top, right, bottom = chosen.content
    assert 0 <= left < right <= chosen.width
    assert 0 <= top < bottom <= chosen.height
    assert abs(left - (chosen.width - right)) <= 1
    assert abs(top - (chosen.height - bottom)) <= 1
    ratio = max(width, height) / min(width, height)
    assert chosen.padded == (ratio > 4)


@given(sides, sides, wishes)
def test_what_is_sent_is_hardly_stretched(width: int, height: int, within: tuple[int, int] | None) -> None:
    """Rounding to multiples of 16 changes the shape by at most half a step of the shorter side."""
    chosen = fit(width, height, within=within)
    across, down = chosen.content[2] - chosen.content[0], chosen.content[3] - chosen.content[1]
    wide = width >= height
    long, short = (across, down) if wide else (down, across)
    exact = long * min(width, height) / max(width, height)
    assert abs(short - exact) <= (0.5 if chosen.padded else 8) or (not chosen.padded and short == 256)


@given(sides, sides)
def test_without_a_wish_it_is_as_large_as_possible(width: int, height: int) -> None:
    """Without a wish the longer side is the largest that the engine takes, before and after."""
    chosen = fit(width, height)
    assert max(chosen.width, chosen.height) == 1024
    assert max(chosen.final_width, chosen.final_height) == 1024


@pytest.mark.parametrize(
    ("size", "within", "expected"),
    [
        ((4032, 3024), None, Fit(1024, 768, (0, 0, 1024, 768), 1024, 768)),
        ((2048, 1365), None, Fit(1024, 688, (0, 0, 1024, 688), 1024, 682)),
        ((1000, 1000), (512, 800), Fit(512, 512, (0, 0, 512, 512), 512, 512)),
        ((4000, 3000), (256, 256), Fit(352, 256, (0, 0, 352, 256), 256, 192)),
        ((6000, 900), None, Fit(1024, 256, (0, 51, 1024, 205), 1024, 154)),
        ((100, 2000), None, Fit(256, 1024, (102, 0, 153, 1024), 51, 1024)),
    ],
)
def test_known_shapes(size: tuple[int, int], within: tuple[int, int] | None, expected: Fit) -> None:
    """A phone's photo, a camera's, a square, a small wish, a panorama and a tall strip, worked out by hand."""
    assert fit(*size, within=within) == expected


@pytest.mark.parametrize(
    "size", [(1200, 900), (900, 1200), (6000, 900), (2000, 200), (2000, 100), (100, 2000), (2048, 16)]
)
def test_a_picture_comes_back_in_its_own_shape(size: tuple[int, int]) -> None:
    """Sent and returned unpainted, photos, panoramas up to 128:1 and tall strips keep ratio and corners."""
    source = normalise(encoded(corners(*size), "PNG"))
    chosen = fit(source.width, source.height)
    sent = opened(prepare(source.data, chosen))
    assert sent.size == (chosen.width, chosen.height)
    assert sent.mode == "RGB"

    picture = finish(encoded(sent, "PNG"), chosen, source_type=PAINTER)
    kept = opened(picture.data)
    assert kept.size == (picture.width, picture.height) == (chosen.final_width, chosen.final_height)
    assert picture.content_type == "image/jpeg"
    x, y = kept.width // 4, kept.height // 4
    for point, colour in {
        (x, y): RED,
        (kept.width - x, y): GREEN,
        (x, kept.height - y - 1): BLUE,
        (kept.width - x, kept.height - y - 1): GREY,
    }.items():
        assert near(kept.getpixel(point), colour, 32), (point, kept.getpixel(point), colour)


def test_the_padding_is_a_reflection() -> None:
    """Above and below a panorama stands its mirror image, so that no hard edge is painted."""
    source = normalise(encoded(corners(2000, 200), "PNG"))
    chosen = fit(source.width, source.height)
    _left, top, _right, bottom = chosen.content
    sent = opened(prepare(source.data, chosen))
    for distance in (4, 20, 40):
        for x in (100, 900):
            assert near(sent.getpixel((x, top - distance)), sent.getpixel((x, top + distance)), 16)  # type: ignore[arg-type]
            assert near(sent.getpixel((x, bottom + distance)), sent.getpixel((x, bottom - distance)), 16)  # type: ignore[arg-type]


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "AVIF", "GIF"])
def test_answers_in_any_format(format_name: str) -> None:
    """An engine may answer in any of the usual formats; what is kept is a JPEG with the mark and nothing else."""
    picture = finish(encoded(corners(1024, 688), format_name), fit(2048, 1365), source_type=PAINTER)
    kept = opened(picture.data)
    assert kept.size == (1024, 682)
    assert near(kept.getpixel((100, 100)), RED)
    assert near(kept.getpixel((1000, 600)), GREY)
    assert read_mark(picture.data) is PAINTER


@pytest.mark.parametrize("size", [(1008, 672), (512, 344), (2048, 1376)])
def test_answers_of_another_size(size: tuple[int, int]) -> None:
    """An answer a few pixels off, smaller or larger comes back in the exact sides, with its edges kept."""
    image = corners(*size)
    image.paste((255, 255, 0), (0, 0, size[0], size[1] // 40))
    kept = opened(finish(encoded(image, "PNG"), fit(2048, 1365), source_type=PAINTER).data)
    assert kept.size == (1024, 682)
    assert near(kept.getpixel((200, 5)), (255, 255, 0), 30)


def test_an_answer_of_another_shape_is_cropped() -> None:
    """A square answer to a wide picture loses its upper and lower edge instead of being squeezed."""
    image = Image.new("RGB", (1024, 1024), RED)
    image.paste(BLUE, (0, 256, 1024, 768))
    kept = opened(finish(encoded(image, "PNG"), fit(2000, 1000), source_type=PAINTER).data)
    assert kept.size == (1024, 512)
    assert near(kept.getpixel((500, 6)), BLUE)
    assert near(kept.getpixel((500, 505)), BLUE)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>busy, try again</html>",
        b'{"error": "GPU quota"}',
        cut(encoded(corners(1024, 768).effect_spread(20), "PNG"), 0.5),
        cut(encoded(corners(1024, 768).effect_spread(20), "JPEG"), 0.5),
        encoded(Image.new("RGB", (4, 4)), "PNG"),
        encoded(Image.new("L", (12_000, 12_000)), "PNG"),
        encoded(Image.new("F", (512, 512)), "TIFF"),
    ],
    ids=["empty", "html", "json", "half png", "half jpeg", "tiny", "huge", "floats"],
)
def test_answers_that_are_no_picture(answer: bytes) -> None:
    """Whatever cannot be used as a painting is one kind of error, for the engine to answer for."""
    with pytest.raises(NotAPicture):
        finish(answer, fit(800, 600), source_type=PAINTER)


def test_what_is_sent_is_bare() -> None:
    """No metadata travels to an engine, even when the source still had some."""
    source = encoded(corners(800, 600), "JPEG", exif=pictures.camera_exif(), comment=pictures.SECRET)
    sent = prepare(source, fit(800, 600))
    assert pictures.SECRET.encode() not in sent
    assert not opened(sent).getexif()
