"""Bringing photographs into the form that the painter takes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from painter.photo import cover_crop, to_srgb
from PIL import Image, ImageCms


def through_file(picture: Image.Image, file_format: str, **options) -> Image.Image:
    """The picture as it is opened from a file of that format."""
    data = io.BytesIO()
    picture.save(data, file_format, **options)
    return Image.open(io.BytesIO(data.getvalue()))


def test_a_turned_photograph_is_set_upright():
    """The camera's orientation mark turns the pixels."""
    exif = Image.Exif()
    exif[274] = 6
    photo = to_srgb(through_file(Image.new("RGB", (40, 20)), "JPEG", exif=exif))
    assert photo.size == (20, 40)


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(Image.new("RGBA", (20, 20), (0, 0, 0, 0)), id="rgba"),
        pytest.param(Image.new("LA", (20, 20), (0, 0)), id="grey-alpha"),
    ],
)
def test_transparency_lies_on_white(picture):
    """What is transparent becomes white, not black."""
    assert to_srgb(through_file(picture, "PNG")).getpixel((5, 5)) == (255, 255, 255)


def test_sixteen_bits_keep_their_tones():
    """A grey of half brightness in 16 bits is a grey of half brightness in 8."""
    picture = Image.fromarray(np.full((20, 20), 32768, np.uint16))
    assert to_srgb(through_file(picture, "PNG")).getpixel((5, 5)) == (128, 128, 128)


def test_four_inks_become_three_colours():
    """A CMYK photograph without ink is white."""
    assert to_srgb(through_file(Image.new("CMYK", (20, 20), (0, 0, 0, 0)), "JPEG")).getpixel((5, 5)) == (255, 255, 255)


def test_a_colour_profile_is_applied():
    """Values measured in another space are converted: L* 50 is a middle grey of 119 in sRGB."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = to_srgb(through_file(Image.new("RGB", (20, 20), (10, 120, 200)), "PNG", icc_profile=profile))
    assert np.abs(np.array(same.getpixel((5, 5))) - (10, 120, 200)).max() <= 1


def test_a_broken_profile_is_ignored():
    """A profile that cannot be read does not stop the photograph."""
    photo = to_srgb(through_file(Image.new("RGB", (20, 20), (10, 120, 200)), "PNG", icc_profile=b"nonsense"))
    assert photo.getpixel((5, 5)) == (10, 120, 200)


def test_another_shape_is_cropped_not_stretched():
    """A circle stays a circle when the wished shape differs from the photograph's."""
    y, x = np.mgrid[:400, :800]
    disc = ((x - 400) ** 2 + (y - 200) ** 2 < 100**2).astype(np.uint8) * 255
    cropped = np.asarray(cover_crop(Image.fromarray(disc).convert("RGB"), 300, 300))[..., 0] > 127
    assert cropped.shape == (300, 300)
    assert abs(cropped.any(axis=0).sum() - cropped.any(axis=1).sum()) <= 1
    assert abs(cropped.any(axis=0).sum() - 150) <= 2
