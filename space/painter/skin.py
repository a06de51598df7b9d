"""Finds what may be skin and softens it; there the painter keeps detail, draws no dabs and mutes its colours."""

from __future__ import annotations

import cv2
import numpy as np

from .planes import Array, blur, grow_to, guided_filter, luma, shrink_to, smoothstep


def skin_mask(rgb: Array) -> Array:
    """How likely each pixel is skin, 0 to 1, at a quarter of the picture's size.

    A box with soft walls in YCrCb (Chai, Ngan 1999): the chroma of skin hardly depends on its tone, so light and
    dark skin fall into the same box; only the luma wall is low enough for dark skin in shade. Wood, brick
    and sandstone often fall into it too; that costs them brush strokes and does no other harm.
    """
    small = shrink_to(rgb, (rgb.shape[0] / 4, rgb.shape[1] / 4))
    y, cr, cb = cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb))
    likely = smoothstep(0.525, 0.555, cr) * (1 - smoothstep(0.66, 0.70, cr))
    likely *= smoothstep(0.33, 0.38, cb) * (1 - smoothstep(0.485, 0.505, cb))
    likely *= smoothstep(0.08, 0.20, y)
    likely = cv2.dilate(cv2.erode(likely, np.ones((3, 3))), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    return np.clip(blur(likely, 3.0), 0, 1)


def keep_skin_tone(toned: Array, photo: Array, skin: Array) -> Array:
    """`toned` (the picture with opened shadows) where skin is hardly lighter than in the photograph.

    Without this a brown face would be painted lighter than it is. Skin so dark that it must lie in deep shadow is
    lifted with everything around it.
    """
    before = luma(photo)
    allowed = 1.04 * before + 0.005
    now = luma(toned)
    excess = np.maximum(0, now - allowed) * skin * smoothstep(0.02, 0.09, blur(before, 6.0))
    return toned * (1 - excess / np.maximum(now, 1e-3))[..., None]


def soften(rgb: Array, skin: Array, scale: float) -> Array:
    """The picture with pores and blotches smoothed where `skin` (a full-size plane) says so; eyes and mouth stay."""
    height, width = rgb.shape[:2]
    small = shrink_to(rgb, (height / 2, width / 2))
    guide = luma(small)
    smooth = np.dstack([guided_filter(guide, plane, 3.5 * scale, 0.0012) for plane in cv2.split(small)])
    smooth = grow_to(smooth.astype(np.float32), rgb.shape)
    difference = np.abs(luma(smooth) - luma(rgb))
    mix = 0.8 * skin * (1 - smoothstep(0.03, 0.08, difference))
    return rgb + mix[..., None] * (smooth - rgb)
