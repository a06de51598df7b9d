"""What is kept of an upload: every format and mode comes out upright, in sRGB, bounded and without metadata."""

from __future__ import annotations

import struct
from io import BytesIO

import pillow_heif
import pytest
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from ghibli_flask.images import normalise
from tests.images import pictures
from tests.images.pictures import BLUE, GREEN, GREY, RED, camera_exif, corners, encoded, held, opened, png

FORMATS = ["JPEG", "PNG", "WEBP", "HEIF", "AVIF", "GIF", "TIFF"]


def near(colour: object, expected: tuple[int, int, int], tolerance: int = 6) -> bool:
    """Compare two colours, allowing for what JPEG changes."""
    assert isinstance(colour, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(colour, expected, strict=True))


def assert_upright(data: bytes) -> None:
    """Check the four corners of `pictures.corners`."""
    image = opened(data)
    assert image.size == (96, 64)
    for point, colour in {(10, 10): RED, (86, 10): GREEN, (10, 54): BLUE, (86, 54): GREY}.items():
        assert near(image.getpixel(point), colour), (point, image.getpixel(point))


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_keeps_its_picture(format_name: str) -> None:
    """Each accepted format is decoded to the same upright picture, kept as an RGB JPEG."""
    picture = normalise(encoded(corners(), format_name))
    assert (picture.width, picture.height, picture.content_type) == (96, 64, "image/jpeg")
    assert opened(picture.data).mode == "RGB"
    assert_upright(picture.data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "TIFF packed"])
def test_every_orientation_is_turned_once(format_name: str, orientation: int) -> None:
    """All eight ways to hold a camera come out upright, in formats that a decoder turns itself and in others."""
    image = held(orientation)
    if format_name.startswith("TIFF"):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[0x0112] = orientation
        compression = "tiff_lzw" if "packed" in format_name else None
        data = encoded(image, "TIFF", tiffinfo=tags, compression=compression)
    else:
        data = encoded(image, format_name, exif=camera_exif(orientation))
    assert_upright(normalise(data).data)


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF", "PNG"])
def test_a_large_picture_is_reduced_and_turned(format_name: str) -> None:
    """A phone's photo held upright, read at half size or in bands, still ends upright and in its corners."""
    data = encoded(corners(6000, 4200).transpose(Image.Transpose.ROTATE_90), format_name, exif=camera_exif(6))
    kept = opened(normalise(data).data)
    assert kept.size == (2048, 1434)
    assert near(kept.getpixel((100, 100)), RED)
    assert near(kept.getpixel((1900, 100)), GREEN)
    assert near(kept.getpixel((100, 1300)), BLUE)
    assert near(kept.getpixel((1900, 1300)), GREY)


def test_heif_is_turned_by_its_own_box_alone() -> None:
    """In HEIF the EXIF orientation is only a note: without the box that turns the picture it stays as it is."""
    data = encoded(corners(), "HEIF", exif=camera_exif(6))
    assert data.count(b"irot\x03") == 1
    assert_upright(normalise(data.replace(b"irot\x03", b"irot\x00")).data)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_costs_no_picture(format_name: str) -> None:
    """A picture whose EXIF is rubbish, as editors leave it behind, is kept as its pixels stand."""
    for rubbish in (
        b"Exif\0\0rubbish rubbish rubbish",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x09\0",
    ):
        assert_upright(normalise(encoded(corners(), format_name, exif=rubbish)).data)


def test_a_png_that_tells_its_orientation_behind_the_pixels() -> None:
    """An eXIf chunk after the image data is honoured too."""
    data = encoded(held(6), "PNG")
    exif = camera_exif(6).tobytes().removeprefix(b"Exif\0\0")
    assert_upright(normalise(data[:-12] + pictures.png_chunk(b"eXIf", exif) + data[-12:]).data)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_place_and_camera_are_gone(format_name: str) -> None:
    """No EXIF, XMP, comment, colour profile or thumbnail is in what is kept, whatever was in the upload."""
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>{pictures.SECRET}</a></x:xmpmeta>'.encode()
    options: dict[str, object] = {"exif": camera_exif()}
    if format_name != "TIFF":
        options |= {"icc_profile": pictures.srgb_profile(), "xmp": xmp}
    if format_name == "JPEG":
        options["comment"] = pictures.SECRET
    data = encoded(corners(), format_name, **options)
    assert pictures.SECRET.encode() in data

    kept = normalise(data).data
    image = Image.open(BytesIO(kept))
    assert pictures.SECRET.encode() not in kept
    assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not image.getexif()
    assert [name for name, _content in image.applist] == ["APP0"]


def test_text_in_a_png_is_gone() -> None:
    """Text chunks of a PNG are not carried over either."""
    info = PngInfo()
    info.add_text("Author", pictures.SECRET)
    info.add_itxt("Comment", pictures.SECRET)
    assert pictures.SECRET.encode() not in normalise(encoded(corners(), "PNG", pnginfo=info)).data


def test_display_p3_becomes_srgb() -> None:
    """The red of an iPhone photograph is the red that a browser shows: sRGB's full red has P3 values 234, 51, 35."""
    image = Image.new("RGB", (64, 64), (234, 51, 35))
    for format_name in ("JPEG", "PNG", "HEIF", "WEBP", "AVIF"):
        data = encoded(image, format_name, icc_profile=pictures.display_p3())
        assert near(opened(normalise(data).data).getpixel((32, 32)), (255, 0, 0), 12), format_name


@pytest.mark.parametrize(
    "profile", [b"nonsense", pictures.display_p3()[:200], pictures.cmyk_of_green()], ids=["words", "cut", "foreign"]
)
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    """A profile that cannot be used costs neither the picture nor its colours."""
    assert_upright(normalise(encoded(corners(), "PNG", icc_profile=profile)).data)


def test_cmyk_with_a_profile_uses_it() -> None:
    """A CMYK profile decides what the inks look like: this one sees every ink as the same green."""
    data = encoded(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG", icc_profile=pictures.cmyk_of_green())
    red, green, blue = opened(normalise(data).data).getpixel((32, 32))
    assert green > red + 40
    assert green > blue


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(format_name: str) -> None:
    """CMYK without a profile comes out in its colours, in Adobe's inverted JPEG as in TIFF."""
    assert_upright(normalise(encoded(corners(mode="CMYK"), format_name)).data)


def test_sixteen_bit_grey_keeps_its_steps() -> None:
    """A 16-bit gradient becomes an 8-bit gradient, in both byte orders, and is not clipped to white."""
    image = Image.new("I;16", (256, 32))
    for x in range(256):
        image.paste(x * 257, (x, 0, x + 1, 32))
    files = {"PNG": encoded(image, "PNG"), "TIFF": encoded(image, "TIFF")}
    rows = b"".join(struct.pack(">H", x * 257) for x in range(256)) * 32
    entries = [(256, 3, 1, 256), (257, 3, 1, 32), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 200), (277, 3, 1, 1), (278, 3, 1, 32), (279, 4, 1, len(rows))]
    little = pictures.tiff(entries)
    big = b"MM\0*" + struct.pack(">IH", 8, len(entries))
    for tag, kind, count, value in sorted(entries):
        big += struct.pack(">HHI", tag, kind, count) + (
            struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value)
        )
    files["TIFF big-endian"] = (big + bytes(4)).ljust(200, b"\0") + rows
    assert len(little) < 200
    for name, data in files.items():
        kept = opened(normalise(data).data)
        steps = [kept.getpixel((x, 16))[0] for x in (0, 64, 128, 192, 255)]  # type: ignore[index]
        assert all(abs(a - b) <= 4 for a, b in zip(steps, (0, 64, 128, 192, 255), strict=True)), (name, steps)


def test_sixteen_bits_per_colour() -> None:
    """A PNG with 48 bits per pixel, and one with 64, come out in their colours; transparency lies on white."""
    rows = (b"\0" + struct.pack(">3H", 0xDCDC, 0x1E1E, 0x1E1E) * 32) * 32
    assert near(opened(normalise(png(32, 32, depth=16, colour=2, rows=rows)).data).getpixel((16, 16)), (220, 30, 30))
    rows = (b"\0" + struct.pack(">4H", 0xDCDC, 0x1E1E, 0x1E1E, 0x8080) * 32) * 32
    assert near(opened(normalise(png(32, 32, depth=16, colour=6, rows=rows)).data).getpixel((16, 16)), (237, 142, 142))


def test_ten_bit_heif() -> None:
    """A HEIF with 10 bits per channel is brought to 8."""
    heif = pillow_heif.from_bytes("RGB;16", (64, 64), struct.pack("<3H", 0xDCDC, 0x1E1E, 0x1E1E) * 4096)
    out = BytesIO()
    heif.save(out, quality=90)
    assert pillow_heif.open_heif(out.getvalue()).info["bit_depth"] == 10
    assert near(opened(normalise(out.getvalue()).data).getpixel((32, 32)), (220, 30, 30))


def transparent(mode: str) -> Image.Image:
    """Draw a picture whose left half is opaque dark grey and whose right half is clear black."""
    image = Image.new("LA", (64, 32), (60, 255))
    image.paste((0, 0), (32, 0, 64, 32))
    return image.convert("RGBA").convert(mode) if mode == "PA" else image.convert(mode)


@pytest.mark.parametrize(
    ("format_name", "mode"),
    [
        ("PNG", "LA"),
        ("PNG", "RGBA"),
        ("WEBP", "RGBA"),
        ("AVIF", "RGBA"),
        ("HEIF", "RGBA"),
        ("TIFF", "RGBA"),
        ("TIFF", "LA"),
    ],
)
def test_transparency_lies_on_white(format_name: str, mode: str) -> None:
    """What shines through is white paper, not the black that often hides behind it."""
    image = opened(normalise(encoded(transparent(mode), format_name)).data)
    assert near(image.getpixel((8, 16)), (60, 60, 60))
    assert near(image.getpixel((56, 16)), (255, 255, 255))


@pytest.mark.parametrize("format_name", ["PNG", "GIF"])
def test_a_palette_with_a_clear_colour(format_name: str) -> None:
    """A palette's transparent entry becomes white and the other entries keep their colours."""
    image = Image.new("P", (64, 32), 0)
    image.putpalette([*RED, *BLUE, 0, 0, 0])
    image.paste(1, (16, 0, 32, 32))
    image.paste(2, (32, 0, 64, 32))
    kept = opened(normalise(encoded(image, format_name, transparency=2)).data)
    assert near(kept.getpixel((4, 16)), RED)
    assert near(kept.getpixel((24, 16)), BLUE)
    assert near(kept.getpixel((56, 16)), (255, 255, 255))


def test_a_colour_that_means_clear() -> None:
    """PNG's single transparent colour is white in the result."""
    clear = pictures.png_chunk(b"tRNS", struct.pack(">3H", *RED))
    data = png(32, 32, depth=8, colour=2, rows=(b"\0" + bytes(RED) * 32) * 32, extra=clear)
    assert near(opened(normalise(data).data).getpixel((16, 16)), (255, 255, 255))


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr"])
def test_other_modes(mode: str) -> None:
    """One-bit, grey, palette and YCbCr pictures come out as a person sees them."""
    image = Image.new("L", (64, 32), 0)
    image.paste(255, (32, 0, 64, 32))
    kept = opened(normalise(encoded(image.convert(mode), "TIFF")).data)
    assert near(kept.getpixel((8, 16)), (0, 0, 0))
    assert near(kept.getpixel((56, 16)), (255, 255, 255))


def test_a_grey_profile() -> None:
    """A grey JPEG with a profile made for colours keeps its greys."""
    kept = opened(normalise(encoded(Image.new("L", (32, 32), 90), "JPEG", icc_profile=pictures.srgb_profile())).data)
    assert near(kept.getpixel((16, 16)), (90, 90, 90))


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "HEIF", "MPO"])
def test_the_first_of_many_frames(format_name: str) -> None:
    """Animations, sequences and the multi-picture JPEGs of phones give their first picture."""
    frames = [Image.new("RGB", (64, 48), colour) for colour in (RED, GREEN, BLUE)]
    if format_name == "HEIF":
        heif = pillow_heif.from_pillow(frames[0])
        heif.add_from_pillow(frames[1])
        out = BytesIO()
        heif.save(out, quality=90)
        data = out.getvalue()
    else:
        data = encoded(frames[0], format_name, save_all=True, append_images=frames[1:])
    picture = normalise(data)
    assert (picture.width, picture.height) == (64, 48)
    assert near(opened(picture.data).getpixel((32, 24)), RED)


def test_thousands_of_frames_cost_nothing() -> None:
    """A GIF of 5,000 frames is read as fast as one of a single frame, because the others are never looked at."""
    frame = encoded(Image.new("P", (32, 32), 1), "GIF")
    start = frame.index(b",\0\0\0\0")
    data = frame[:start] + frame[start:-1] * 5_000 + b";"
    assert (normalise(data).width, normalise(data).height) == (32, 32)


@pytest.mark.parametrize(
    ("size", "kept_of_png", "kept_of_jpeg"),
    [
        ((4000, 3000), (2048, 1536), (2000, 1500)),
        ((3000, 4001), (1536, 2048), (1500, 2001)),
        ((8064, 6048), (2048, 1536), (2016, 1512)),
        ((3500, 2000), (2048, 1170), (2048, 1170)),
        ((2048, 100), (2048, 100), (2048, 100)),
        ((20, 16), (20, 16), (20, 16)),
        ((6000, 900), (2048, 307), (2048, 307)),
    ],
)
def test_the_longer_side_is_bounded(
    size: tuple[int, int], kept_of_png: tuple[int, int], kept_of_jpeg: tuple[int, int]
) -> None:
    """Large pictures are reduced to 2,048 pixels on the longer side, a JPEG to its half or quarter where that is
    nearly as large; small ones are left as they are.
    """
    for format_name, kept in (("JPEG", kept_of_jpeg), ("PNG", kept_of_png)):
        picture = normalise(encoded(Image.new("RGB", size, RED), format_name))
        assert (picture.width, picture.height) == kept
        assert opened(picture.data).size == kept


@pytest.mark.parametrize("mode", ["P", "RGBA", "I;16", "CMYK", "1", "L"])
def test_reduction_in_bands_is_seamless(mode: str) -> None:
    """A large picture of any mode is reduced without seams: a smooth ramp stays one, corner to corner."""
    ramp = Image.linear_gradient("L").resize((5003, 4999))
    image = ramp.convert("I").point(lambda value: value * 257).convert("I;16") if mode == "I;16" else ramp.convert(mode)
    kept = opened(normalise(encoded(image, "TIFF", compression="tiff_lzw")).data).convert("L")
    assert kept.size == (2048, 2046)
    column = [kept.getpixel((1000, y)) for y in range(4, kept.height, 64)]
    expected = [y * 255 / kept.height for y in range(4, kept.height, 64)]
    if mode == "1":  # Dithered, so only the mean of an area is smooth.
        blurred = kept.reduce(32)
        column = [blurred.getpixel((30, y)) for y in range(blurred.height - 1)]
        expected = [(y + 0.5) * 255 / (kept.height / 32) for y in range(blurred.height - 1)]
    assert all(abs(a - b) < 12 for a, b in zip(column, expected, strict=True)), list(zip(column, expected, strict=True))


def test_the_kept_picture_is_kept_again() -> None:
    """What was kept once passes again with the same sides, so a retry can start from the stored file."""
    first = normalise(encoded(corners(3000, 2000), "PNG"))
    second = normalise(first.data)
    assert (second.width, second.height) == (first.width, first.height)
