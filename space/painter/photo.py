"""Brings an opened photograph into the form that the painter takes; called by `app.py` and the example maker."""

from __future__ import annotations

import io

from PIL import Image, ImageCms, ImageOps


def to_srgb(photo: Image.Image) -> Image.Image:
    """The photograph upright, in sRGB, transparency laid on white. Raises OSError when it is truncated."""
    photo = ImageOps.exif_transpose(photo)
    if photo.mode.startswith("I"):
        photo = photo.convert("I").point(lambda value: value / 256).convert("L")  # 16 bits a pixel
    profile = photo.info.get("icc_profile")
    if "A" in photo.getbands() or "transparency" in photo.info:
        photo = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)
    if profile and photo.mode in ("RGB", "RGBA", "CMYK", "L"):
        try:
            return ImageCms.profileToProfile(
                photo.convert("RGB") if photo.mode == "RGBA" else photo,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError):
            pass  # A broken or unsuitable profile: the plain values are the best guess.
    return photo.convert("RGB")


def cover_crop(photo: Image.Image, width: int, height: int) -> Image.Image:
    """Exactly `width` x `height` pixels: scaled to cover them, the surplus cut off evenly. Never stretched."""
    if photo.size == (width, height):
        return photo
    return ImageOps.fit(photo, (width, height), Image.Resampling.LANCZOS)
