"""Finds the sky and paints it anew: a clear gradient, modelled clouds, stars at night.

The rules are our own: what is blue, white or softly pink, smooth and connected with the picture's upper edge is sky.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .colour import from_oklab, oklab_of, to_oklab
from .planes import Array, blur, grow_to, guided_filter, luma, shrink_to, smoothstep
from .presets import Look

SEARCH_SIDE = 320
"""Long side in pixels of the copy in which the sky is searched."""
STARS = 110


@dataclass(frozen=True)
class Sky:
    """What was found above the horizon."""

    mask: Array
    """How much each pixel is sky, 0 to 1."""
    blue_share: float
    """Share of the sky that is blue, 0 to 1."""
    pink_share: float
    """Share of the sky in sunset colours."""
    share: float
    """Share of the picture that is sky; 0 when there is none worth painting."""

    @property
    def exists(self) -> bool:
        return self.share > 0


def find_sky(rgb: Array, skin: Array) -> Sky:
    """The sky of a picture; `skin` is how likely each pixel is skin, a plane of any size.

    Without any blue it is believed only where nobody is in the picture, because walls are white too, and not
    when it is mostly yellow, because flowers are.
    """
    height, width = rgb.shape[:2]
    nothing = Sky(np.zeros((height, width), np.float32), 0.0, 0.0, 0.0)
    zoom = SEARCH_SIDE / max(height, width)
    if min(height, width) * zoom < 16:
        return nothing
    small = shrink_to(rgb, (height * min(1, zoom), width * min(1, zoom)))
    if np.ptp(small, axis=2).max() < 0.06:
        return nothing  # A black-and-white photograph stays one.
    small_skin = grow_to(skin, small.shape)
    skin_share = float((small_skin > 0.5).mean())
    blue, white, pink, yellow = _candidates(small)
    pink &= small_skin < 0.3
    found = _connected_to_the_top(blue | white | pink | yellow)
    if not found.any():
        return nothing
    found |= blue & _above_horizon(found)
    found |= _rim(small, found) | _cloud_edges(small, found)
    share = float(found.mean())
    blue_share = float((blue & found).sum() / found.sum())
    pink_share = float(((pink | yellow) & found).sum() / found.sum())
    believed = blue_share > 0.12 and share > 0.012
    yellow_share = float((yellow & found).sum() / found.sum())
    believed |= skin_share < 0.012 and share > 0.06 and yellow_share < 0.5
    if not believed:
        return nothing
    shrink = max(1, round(max(height, width) / 640))
    soft = grow_to(found.astype(np.float32), rgb.shape)
    mask = guided_filter(luma(rgb), soft, 6 * shrink, 2e-3, shrink)
    return Sky(smoothstep(0.25, 0.80, mask), blue_share, pink_share, share)


def _candidates(small: Array) -> tuple[Array, Array, Array, Array]:
    """Pixels that could be blue, white, and sunset sky (pink to orange, yellow) by their colour and smoothness."""
    lab = to_oklab(small)
    light, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    # In every colour, because a face before the sky may be just as light as the sky.
    change = np.hypot(cv2.Sobel(small, -1, 1, 0), cv2.Sobel(small, -1, 0, 1)).max(axis=2) / 8
    change = blur(change, 1.0)
    blue = (hue > 208) & (hue < 290) & (((chroma > 0.028) & (light > 0.4)) | ((chroma > 0.06) & (light > 0.2)))
    blue &= change < 0.045
    white = (chroma < 0.05) & (light > 0.70) & (change < 0.030)
    warm = (chroma > 0.02) & (chroma < 0.18) & (light > 0.5) & (change < 0.010)
    return blue, white, warm & ((hue > 290) | (hue < 85)), warm & (hue >= 85) & (hue < 110)


def _connected_to_the_top(candidates: Array) -> Array:
    """The candidates that hang together with more than 4 % of the upper edge."""
    _, labels = cv2.connectedComponents(candidates.astype(np.uint8), connectivity=4)
    touching = np.bincount(labels[0], minlength=labels.max() + 1)
    keep = touching > 0.04 * labels.shape[1]
    keep[0] = False
    return keep[labels]


def _rim(small: Array, found: Array) -> Array:
    """Sky-coloured pixels just outside: near an edge the sky is not smooth, and would keep a bright rim."""
    sky = found.astype(np.float32)
    near = cv2.dilate(sky, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))) > 0
    average = np.dstack([_average_inside(plane, sky, 6.0) for plane in cv2.split(small)])
    return near & (np.abs(small - average).max(axis=2) < 0.10)


def _cloud_edges(small: Array, found: Array) -> Array:
    """Blue or pale gaps between two pieces of sky: the hard edge of a cloud is not smooth either."""
    closed = cv2.morphologyEx(
        found.astype(np.uint8), cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    )
    red, _, blue = cv2.split(small)
    return (closed > 0) & ((blue > red + 0.04) | (small.min(axis=2) > 0.6))


def _above_horizon(found: Array) -> Array:
    """True above the lowest row that most of the sky reaches: gaps between leaves are sky as well."""
    rows = np.arange(found.shape[0])[:, None]
    return np.broadcast_to(rows < np.percentile(np.nonzero(found)[0], 85), found.shape)


def paint_sky(painting: Array, photo: Array, sky: Sky, look: Look, seed: int) -> Array:
    """The painting with its sky repainted; clouds are taken from `photo`, the picture before it was painted."""
    mix = look.sky_mix
    if look.keeps_bright_skies:
        mix *= 1 - 0.85 * min(1.0, sky.pink_share / 0.35)
    mix *= float(smoothstep(0.01, 0.05, np.float64(sky.share)))
    if mix <= 0:
        return painting
    half = (max(1, photo.shape[0] // 2), max(1, photo.shape[1] // 2))
    small, mask = shrink_to(photo, half), shrink_to(sky.mask, half)
    light = luma(small)
    cloud = _clouds(small, light, mask)
    lab = _gradient(look, mask)[:, None, :] * np.ones((1, half[1], 1))
    shade = np.clip((light - 0.45) / 0.45, 0, 1)[..., None]
    lit = oklab_of(*look.cloud_shade) * (1 - shade) + oklab_of(*look.cloud_light) * shade
    lab += cloud[..., None] * (lit - lab)
    painted = grow_to(np.clip(from_oklab(lab), 0, 1).astype(np.float32), photo.shape)
    # The fine modelling of the clouds comes back as light and shade at full size.
    full = luma(photo)
    wide = grow_to(_average_inside(light, mask, 0.02 * max(half)), full.shape)
    painted *= np.clip(1 + 0.9 * (full - wide) / (wide + 0.1), 0.55, 1.25)[..., None]
    if look.dark:
        painted = painted + _stars(sky.mask * (1 - grow_to(cloud, full.shape)), seed)[..., None]
    return painting + (mix * sky.mask)[..., None] * (np.clip(painted, 0, 1) - painting)


def _gradient(look: Look, mask: Array) -> Array:
    """One OKLab colour for each row, from the top of the picture to the horizon."""
    rows = np.nonzero(mask.max(axis=1) > 0.5)[0]
    horizon = max(1.0, float(rows.max()) if len(rows) else mask.shape[0] - 1.0)
    place = np.clip(np.arange(mask.shape[0]) / horizon, 0, 1)
    stops = np.stack([oklab_of(*stop) for stop in look.sky])
    return np.stack([np.interp(place, (0, 0.55, 1), stops[:, channel]) for channel in range(3)], axis=-1)


def _average_inside(plane: Array, mask: Array, sigma: float) -> Array:
    """Gaussian average over the masked part only, so that roofs and trees throw no halo into the sky."""
    return blur(plane * mask, sigma) / (blur(mask, sigma) + 1e-3)


def _clouds(small: Array, light: Array, mask: Array) -> Array:
    """How much each pixel is cloud: less blue than the rest of the sky, and modelled. Haze is not cloud."""
    blueness = (small[..., 2] - small[..., 0]) / np.maximum(small.max(axis=2), 1e-3)
    # JPEG keeps colour in blocks of 16 pixels; unsmoothed, they would show as steps in the clouds.
    blueness = _average_inside(blueness, mask, 0.008 * max(mask.shape))
    inside = mask > 0.5
    typical = float(np.clip(np.percentile(blueness[inside], 85), 0.12, 0.5)) if inside.any() else 0.12
    cloud = 1 - smoothstep(0.0, 1.0, (blueness - 0.1 * typical) / (0.7 * typical))
    sigma = 0.05 * max(mask.shape)
    # Against the local mean, or the even brightening of a clear sky towards the horizon would count as cloud.
    modelling = light - _average_inside(light, mask, sigma)
    deviation = np.sqrt(_average_inside(modelling * modelling, mask, sigma))
    return cloud * (0.12 + 0.88 * smoothstep(0.009, 0.026, deviation))


def _stars(room: Array, seed: int) -> Array:
    """Small soft discs of light, many faint and few bright, more of them higher up."""
    height, width = room.shape
    rng = np.random.default_rng(seed + 977)
    out = np.zeros((height, width), np.float32)
    scale = np.sqrt(height * width / 1e6)
    for x, height_share, size in rng.random((STARS, 3)):
        column, row = x * (width - 1), height_share**1.5 * (height - 1)
        if room[int(row), int(column)] < 0.7:
            continue
        radius = (0.55 + 1.5 * size**5) * max(0.6, scale)
        top, left = int(row - 3 * radius), int(column - 3 * radius)
        ys = np.arange(max(0, top), min(height, int(row + 3 * radius) + 2))
        xs = np.arange(max(0, left), min(width, int(column + 3 * radius) + 2))
        disc = np.exp(-((ys[:, None] - row) ** 2 + (xs[None, :] - column) ** 2) / (radius * radius))
        out[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] += (0.35 + 0.55 * size) * disc
    return out
