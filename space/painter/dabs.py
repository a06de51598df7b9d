"""Gouache dabs: short brush strokes laid over foliage, grass, water and walls.

After Hertzmann 1998 "Painterly Rendering with Curved Brush Strokes of Multiple Sizes": a reference picture gives
each stroke its colour and its limits, large strokes come first, and no stroke crosses an edge of the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from .planes import Array, luma
from .tensor import Flow

BANDS = 16
"""The canvas is painted in this many horizontal bands side by side. The number is fixed, and every band lays its
dabs in the same order, so the painting does not depend on the number of threads."""


@dataclass(frozen=True)
class Brush:
    """One layer of dabs; lengths in pixels of a one-megapixel picture."""

    half_width: float
    step: float
    """Distance between neighbouring dabs."""
    aspect: float
    """Length of a dab over its width."""
    tolerance: float
    """A dab ends where the reference differs by more than this from its own colour."""
    jitter: float
    """How much the dabs differ in lightness and warmth."""
    opacity: float


BROAD = Brush(half_width=7.6, step=7.6, aspect=2.1, tolerance=0.14, jitter=0.024, opacity=0.82)
FINE = Brush(half_width=3.9, step=4.2, aspect=2.3, tolerance=0.16, jitter=0.040, opacity=0.86)
SOFT = Brush(half_width=3.4, step=3.8, aspect=2.6, tolerance=0.055, jitter=0.014, opacity=0.60)
"""For faces: it follows the form and stops at the smallest change of tone, so that eyes and mouth stay."""


def lay_dabs(
    canvas: Array, reference: Array, flow: Flow, density: Array, brush: Brush, scale: float, seed: int
) -> None:
    """Paint one layer of dabs onto `canvas`, in place.

    `density` (a plane) is the share of possible dabs that is laid at each place. The same seed gives the same dabs.
    """
    rng = np.random.default_rng(seed)
    height, width = canvas.shape[:2]
    step = max(2.0, brush.step * scale)
    grid_y, grid_x = np.mgrid[step / 2 : height : step, step / 2 : width : step]
    x = np.clip(grid_x.ravel() + rng.uniform(-0.55, 0.55, grid_x.size) * step, 0, width - 1)
    y = np.clip(grid_y.ravel() + rng.uniform(-0.55, 0.55, grid_y.size) * step, 0, height - 1)
    chosen = rng.random(x.size) < density[y.astype(int), x.astype(int)]
    x, y = x[chosen].astype(np.float32), y[chosen].astype(np.float32)
    if not x.size:
        return
    chance = rng.random((x.size, 6), dtype=np.float32)
    # Darks first, lights on top, as gouache is painted; some disorder keeps it lively.
    light = luma(reference)[y.astype(int), x.astype(int)]
    order = np.argsort(0.55 * light + 0.45 * chance[:, 5], kind="stable")
    x, y, chance = x[order], y[order], chance[order]
    half_width = max(1.0, brush.half_width * scale)
    shapes = _shape(
        reference,
        flow.tx,
        flow.ty,
        flow.anisotropy,
        x,
        y,
        chance,
        np.float32(half_width),
        np.float32(half_width * brush.aspect),
        np.float32(brush.tolerance**2),
        np.float32(brush.jitter),
    )
    _lay(canvas, shapes, np.float32(brush.opacity))


@njit(fastmath=True, cache=True, inline="always")
def _differs(reference: Array, x: float, y: float, r: float, g: float, b: float, limit: float) -> bool:
    """Whether the reference at (x, y) is outside the picture or further than `limit` (squared) from the colour."""
    if x < 0 or y < 0 or x >= reference.shape[1] or y >= reference.shape[0]:
        return True
    dr = reference[int(y), int(x), 0] - r
    dg = reference[int(y), int(x), 1] - g
    db = reference[int(y), int(x), 2] - b
    return dr * dr + dg * dg + db * db > limit


@njit(parallel=True, fastmath=True, cache=True)
def _shape(
    reference: Array,
    tx: Array,
    ty: Array,
    anisotropy: Array,
    xs: Array,
    ys: Array,
    chance: Array,
    half_width: float,
    half_length: float,
    limit: float,
    jitter: float,
) -> Array:
    """Grow every dab until it meets an edge.

    Returns one row for each: x and y of the middle, direction x and y, half length, half width, bend, red, green,
    blue, and a number from 0 to 1 that places its bristles. A half width of 0 means that nothing fits there.
    """
    out = np.zeros((len(xs), 11), np.float32)
    one, two, half = np.float32(1), np.float32(2), np.float32(0.5)
    for i in prange(len(xs)):
        x, y = xs[i], ys[i]
        column, row = int(x), int(y)
        r, g, b = reference[row, column, 0], reference[row, column, 1], reference[row, column, 2]
        dx, dy = tx[row, column], ty[row, column]
        if anisotropy[row, column] < np.float32(0.25):
            turn = (chance[i, 0] - half) * np.float32(1.6)
            dx, dy = dx * np.cos(turn) - dy * np.sin(turn), dx * np.sin(turn) + dy * np.cos(turn)
        if chance[i, 1] < half:
            dx, dy = -dx, -dy  # The dry end of the stroke may be on either side.
        reach = half_length * (np.float32(0.75) + half * chance[i, 2])
        ahead = one
        while ahead < reach and not _differs(reference, x + ahead * dx, y + ahead * dy, r, g, b, limit):
            ahead += one
        behind = one
        while behind < reach and not _differs(reference, x - behind * dx, y - behind * dy, r, g, b, limit):
            behind += one
        wide = one
        room = True
        while wide < half_width and room:
            for along in (-behind * half, np.float32(0), ahead * half):
                at_x, at_y = x + along * dx, y + along * dy
                room = room and not _differs(reference, at_x - wide * dy, at_y + wide * dx, r, g, b, limit)
                room = room and not _differs(reference, at_x + wide * dy, at_y - wide * dx, r, g, b, limit)
            if room:
                wide += one
        length = (ahead + behind) * half
        if length < np.float32(1.5) or wide < np.float32(1.5):
            continue
        middle = (ahead - behind) * half
        light = np.float32(0.299) * r + np.float32(0.587) * g + np.float32(0.114) * b
        # In the darks the same jitter would sparkle.
        strength = jitter * max(np.float32(0), min(one, np.float32(2.2) * (light - np.float32(0.03))))
        brighter = strength * (two * chance[i, 3] - one)
        warmer = np.float32(0.6) * strength * (two * chance[i, 4] - one)
        out[i, 0], out[i, 1] = x + middle * dx, y + middle * dy
        out[i, 2], out[i, 3] = dx, dy
        out[i, 4], out[i, 5] = length, min(wide, length)
        out[i, 6] = (two * chance[i, 0] - one) * np.float32(0.35) * min(wide, length)
        out[i, 7], out[i, 8], out[i, 9] = r + brighter + warmer, g + brighter, b + brighter - warmer
        out[i, 10] = chance[i, 5]
    return out


@njit(fastmath=True, cache=True, inline="always")
def _bristle(lane: int, place: float) -> float:
    """How dry the bristle in this lane of the stroke is, 0 to 1: a small integer hash."""
    mixed = (lane * 374761393 + int(place * np.float32(1e6)) * 668265263) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0x7FFFFFFF
    return np.float32((mixed >> 8) & 0xFFFF) / np.float32(65535)


@njit(parallel=True, fastmath=True, cache=True)
def _lay(canvas: Array, dabs: Array, opacity: float) -> None:
    """Blend the dabs onto the canvas in their order, band by band."""
    height, width = canvas.shape[:2]
    zero, one = np.float32(0), np.float32(1)
    for band in prange(BANDS):
        first, last = band * height // BANDS, (band + 1) * height // BANDS
        for i in range(len(dabs)):
            wide, length = dabs[i, 5], dabs[i, 4]
            if wide <= zero:
                continue
            x, y, dx, dy, bend = dabs[i, 0], dabs[i, 1], dabs[i, 2], dabs[i, 3], dabs[i, 6]
            thick = wide + abs(bend) + one
            high = length * abs(dy) + thick * abs(dx) + one
            top, bottom = max(first, int(y - high)), min(last, int(y + high) + 1)
            if top >= bottom:
                continue
            broad = length * abs(dx) + thick * abs(dy) + one
            left, right = max(0, int(x - broad)), min(width, int(x + broad) + 1)
            for row in range(top, bottom):
                for column in range(left, right):
                    ox, oy = np.float32(column) - x, np.float32(row) - y
                    along = (ox * dx + oy * dy) / length
                    if along < -one or along > one:
                        continue
                    across = oy * dx - ox * dy - bend * (np.float32(0.5) - along * along)
                    # Blunt at its start, tapered at its end.
                    end = along * along
                    profile = one - end * end if along < zero else one - end
                    cover = wide * np.sqrt(profile) - abs(across) + np.float32(0.5)
                    if cover <= zero:
                        continue
                    cover = min(one, cover) * opacity
                    if along > np.float32(0.1):
                        lane = int(np.floor(across * np.float32(0.8)))
                        dry = (along - np.float32(0.1)) * np.float32(1.1) * _bristle(lane, dabs[i, 10])
                        cover *= one - min(one, dry)
                    for c in range(3):
                        canvas[row, column, c] += cover * (dabs[i, 7 + c] - canvas[row, column, c])
