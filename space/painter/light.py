"""Glowing light: bloom around bright things, and the low sun of the golden look."""

from __future__ import annotations

import numpy as np

from .planes import Array, blur, grow_to, luma, shrink_to, smoothstep
from .presets import Look
from .sky import Sky


def bloom(rgb: Array, look: Look, skin: Array) -> Array:
    """Bright parts shine over their surroundings, screened on from two wide blurs.

    Hardly over skin (a full-size plane): a bright window behind somebody must not wash out the face.
    """
    height, width = rgb.shape[:2]
    small = shrink_to(rgb, (height / 4, width / 4))
    bright = small * smoothstep(look.bloom_from, 1.0, luma(small))[..., None]
    long_side = max(small.shape)
    glow = 0.55 * blur(bright, 0.012 * long_side) + 0.45 * blur(bright, 0.045 * long_side)
    # A hazy, mostly bright picture would only be washed out.
    amount = look.bloom * (1 - 0.65 * float(smoothstep(0.12, 0.50, bright.mean(dtype=np.float64))))
    glow = grow_to(glow * np.float32(amount) * np.array(look.bloom_tint, np.float32), rgb.shape)
    return screen(rgb, glow * (1 - 0.75 * skin)[..., None])


def low_sun(rgb: Array, photo: Array, sky: Sky) -> Array:
    """A warm radial glow in the brightest part of the sky near the horizon."""
    height, width = rgb.shape[:2]
    small = (max(1, height // 8), max(1, width // 8))
    mask, light = shrink_to(sky.mask, small), luma(shrink_to(photo, small))
    rows = np.nonzero(mask.max(axis=1) > 0.5)[0]
    if not len(rows):
        return rgb
    horizon = rows.max()
    near = np.arange(small[0])[:, None] > 0.6 * horizon
    column = int(np.argmax(blur((light * mask * near).sum(axis=0, keepdims=True), 0.04 * small[1])))
    y, x = np.mgrid[: small[0], : small[1]].astype(np.float32)
    distance = np.hypot(x - column, 1.25 * (y - 0.92 * horizon)) / max(small)
    glow = 0.55 * np.exp(-((distance / 0.07) ** 2)) + 0.38 * np.exp(-distance / 0.20)
    glow = grow_to((glow * (0.35 + 0.65 * mask)).astype(np.float32), rgb.shape)
    return screen(rgb, glow[..., None] * np.array((1.0, 0.80, 0.48), np.float32))


def screen(rgb: Array, light: Array) -> Array:
    """Two lights on one wall: 1 - (1 - a)(1 - b)."""
    return 1 - (1 - rgb) * (1 - np.clip(light, 0, 1))
