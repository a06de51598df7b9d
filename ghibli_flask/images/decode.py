"""From bytes that somebody sent to upright sRGB pixels. Called by `normalise`, `shapes` and `thumbnails`.

The decoders are named here and opened directly, never through `PIL.Image.open`: no other plugin of Pillow
(EPS, PSD, ICNS, …) can be reached, nothing is registered for the whole process, and the bound on pixels is ours.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image, ImageCms
from PIL.AvifImagePlugin import AvifImageFile
from PIL.ExifTags import Base
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pillow_heif import HeifImageFile

from ghibli_flask.errors import AppError, Busy, NotAPicture, TooLarge, _
from ghibli_flask.images import guards, iso_media

Size = tuple[int, int]
Box = tuple[float, float, float, float]

_EMPTY = _("That file is empty. Nothing was charged. Please choose the photo again.")

# A multi-picture file (MPO, from many phones) is a JPEG with more behind it: the first picture is read as any JPEG.
_DECODERS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
    "gif": GifImageFile,
    "tiff": TiffImageFile,
    "heif": HeifImageFile,
    "avif": AvifImageFile,
}
_GUARDS: dict[str, Callable[[bytes, int], bytes]] = {
    "png": guards.guard_png,
    "webp": guards.guard_webp,
    "tiff": guards.guard_tiff,
    "heif": iso_media.guard_heif,
    "avif": iso_media.guard_avif,
}
_SIGNATURES = {
    b"\xff\xd8\xff": "jpeg",
    guards.PNG_SIGNATURE: "png",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})

# What decoders say, in words of their own, when the bytes end too early.
_STOPPING = ("truncat", "end of file", "end-of-file", "unexpected end", "incomplete", "requires a buffer")

# Modes that are turned into 8 bits per channel without guessing. Floats and L*a*b* are not among them.
_MODES_KEPT = frozenset({"L", "RGB", "CMYK"})
_MODES_16_BIT = frozenset({"I", "I;16", "I;16B", "I;16L"})
_MODES_CONVERTED = frozenset({"1", "P", "PA", "LA", "La", "RGBA", "RGBa", "RGBX", "YCbCr"})

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_BAND_PIXELS = 1_048_576
# Whole factors are averaged band by band; what is left, at least this much, is resized with a finer filter.
_LEFT_TO_LANCZOS = 1.5
_WHITE = (255, 255, 255)

# Decoding holds one core and up to a few hundred MB; more at once would only be slower and could run out of memory.
_cores = threading.BoundedSemaphore(os.cpu_count() or 1)


@contextmanager
def core(patience: float) -> Iterator[None]:
    """Hold one of the process's cores for decoding; raise Busy when none is free within `patience` seconds."""
    if not _cores.acquire(timeout=patience):
        raise Busy(retry_after=5)
    try:
        yield
    finally:
        _cores.release()


def open_picture(data: bytes, *, max_pixels: int) -> ImageFile:
    """Prove from the header that bytes are a picture of at most `max_pixels`; nothing is decoded yet.

    Raises NotAPicture or TooLarge.
    """
    if not data:
        raise NotAPicture(_EMPTY)
    kind = _kind(data)
    if kind is None:
        raise NotAPicture
    with _proving():
        if guard := _GUARDS.get(kind):
            data = guard(data, max_pixels)
        image = _DECODERS[kind](BytesIO(data))
        guards.check_pixels(*image.size, max_pixels)
        if isinstance(image, JpegImageFile):
            assert image.fp is not None  # An open file has one until its pixels are loaded.
            guards.guard_jpeg_scans(data, image.fp.tell())
    return image


def quick_size(image: ImageFile, size: Size) -> Size:
    """`size` itself, or that of a JPEG's half, quarter or eighth when it is at most a tenth smaller.

    A JPEG decoded at one of these needs no resizing: for a 12 megapixel photo that is most of the work.
    """
    if isinstance(image, JpegImageFile):
        for factor in (2, 4, 8):
            width, height = (-(-side // factor) for side in image.size)
            if 0.9 * size[0] <= width <= size[0] and height <= size[1]:
                return width, height
    return size


def decode(image: ImageFile, size: Size) -> Image.Image:
    """Decode an opened picture to upright RGB in sRGB, resized to `size` (width and height before turning).

    The opened picture is closed. Raises NotAPicture.
    """
    with _proving(), image:
        # JPEG can be decoded at a half, a quarter or an eighth: 48 megapixels cost 77 MB instead of 233 MB.
        drafted = image.draft(None, size) if isinstance(image, JpegImageFile) else None
        image.load()
        _check_depth(image)
        box: Box = drafted[1] if drafted else (0, 0, *image.size)
        # Asked for after loading, because a PNG may carry it behind its pixels and a TIFF has been turned by then.
        turn = _turn(image)
        profile = image.info.get("icc_profile")
        pixels, box = _plain(image, box, size)
        if pixels.size != size:
            pixels = pixels.resize(size, Image.Resampling.LANCZOS, box=box)
        image.close()  # The caller still holds it, and its pixels may be 200 MB.
        pixels = _to_srgb(pixels, profile)
        return pixels if turn is None else pixels.transpose(turn)


def _kind(data: bytes) -> str | None:
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, min(data[3], len(data)), 4))}
        # Both formats may lead with the container's own brand; the pictures' brand stands among the others.
        return "avif" if brands & _AVIF_BRANDS else "heif" if brands & _HEIF_BRANDS else None
    return None


@contextmanager
def _proving() -> Iterator[None]:
    """Turn whatever a decoder raises on hostile bytes into NotAPicture or TooLarge."""
    try:
        yield
    except AppError:
        raise
    except (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge from error
    except Exception as error:  # Decoders raise nearly every type of exception, SyntaxError among them.
        told = str(error).lower()
        if isinstance(error, EOFError) or any(words in told for words in _STOPPING):
            raise NotAPicture(guards.STOPS_EARLY) from error
        raise NotAPicture from error


def _turn(image: ImageFile) -> Image.Transpose | None:
    """Read from EXIF how to turn a loaded picture; damaged EXIF costs the turn and not the picture."""
    try:
        return _TURNS.get(image.getexif().get(Base.Orientation, 1))
    except Exception:  # As many types as in `_proving`.
        return None


def _check_depth(image: Image.Image) -> None:
    if image.mode not in _MODES_KEPT | _MODES_16_BIT | _MODES_CONVERTED:
        raise NotAPicture
    if image.mode == "I":
        # 32-bit integers have no agreed white; what stays within 16 bits is taken as 16-bit.
        low, high = image.getextrema()
        if not (isinstance(low, int) and isinstance(high, int) and 0 <= low <= high <= 65_535):
            raise NotAPicture


def _plain(image: Image.Image, box: Box, size: Size) -> tuple[Image.Image, Box]:
    """Bring a loaded picture to L, RGB or CMYK with 8 bits, flattened on white, and to three times `size` at most.

    It works through bands of rows, so that a large picture with transparency never exists twice. Returns the
    pixels and `box` in their coordinates.
    """
    factor = max(1, int(min((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]) / _LEFT_TO_LANCZOS))
    if factor == 1 and image.mode in _MODES_KEPT and not image.has_transparency_data:
        return image.copy() if image.size == size else image, box
    rows = max(1, _BAND_PIXELS // image.width // factor) * factor
    canvas: Image.Image | None = None
    for top in range(0, image.height, rows):
        band = _flat(image.crop((0, top, image.width, min(top + rows, image.height))))
        if factor > 1:
            band = band.reduce(factor)
        if canvas is None:
            canvas = Image.new(band.mode, (band.width, -(-image.height // factor)))
        canvas.paste(band, (0, top // factor))
    assert canvas is not None  # A decoded picture has at least one row.
    left, upper, right, lower = box
    return canvas, (left / factor, upper / factor, right / factor, lower / factor)


def _flat(band: Image.Image) -> Image.Image:
    if band.mode in _MODES_16_BIT:
        return band.convert("I").point(lambda value: value * (255 / 65_535) + 0.5).convert("L")
    if band.has_transparency_data:
        seen = band.convert("LA").convert("RGBA") if band.mode == "La" else band.convert("RGBA")
        paper = Image.new("RGB", band.size, _WHITE)
        paper.paste(seen, mask=seen.getchannel("A"))
        return paper
    if band.mode in _MODES_KEPT:
        return band
    return band.convert("L" if band.mode == "1" else "RGB")


def _to_srgb(pixels: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                pixels,
                ImageCms.ImageCmsProfile(BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            # A broken profile, or one for another kind of picture: the plain values are nearer than nothing.
            pass
        else:
            assert converted is not None  # Only a conversion in place returns nothing.
            return converted
    return pixels.convert("RGB")


def size_of(data: bytes, *, max_pixels: int = 50_000_000) -> Size:
    """The width and height in pixels that the header of a kept picture names; raises NotAPicture or TooLarge."""
    return open_picture(data, max_pixels=max_pixels).size
