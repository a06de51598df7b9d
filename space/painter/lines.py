"""Strokes along the flow: smoothing along it, and the thin coloured lines drawn on top.

Line integral convolution: Cabral, Leedom 1993. Flow-guided smoothing: Kyprianidis, Doellner 2008. Lines: Kang, Lee,
Chui 2007 "Coherent Line Drawing", sharpened as in Winnemoeller, Kyprianidis, Olsen 2012 "XDoG".
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit, prange

from .planes import Array, blur, grow_to, luma, shrink_to, smoothstep
from .tensor import Flow

RANGE = np.float32(1 / (6.25 * 0.07**2))
"""Inverse square of the colour distance at which Tukey's weight reaches zero."""
SHARPNESS = np.float32(18.0)
"""p of XDoG: how much of the difference of Gaussians is added."""
LINE_FROM = 0.035
"""Responses below this are texture, not lines."""


def smooth_along(rgb: Array, flow: Flow, steps: int) -> Array:
    """The picture averaged along its tangents, `steps` pixels each way, not across colour borders."""
    weights = np.exp(-0.5 * (np.arange(steps + 1) / max(0.5, steps / 2)) ** 2).astype(np.float32)
    return _smooth_along(rgb, flow.tx, flow.ty, weights)


def average_along(plane: Array, flow: Flow, steps: int) -> Array:
    """A plane averaged along the tangents, `steps` pixels each way, whatever its values."""
    weights = np.exp(-0.5 * (np.arange(steps + 1) / max(0.5, steps / 2)) ** 2).astype(np.float32)
    return _average_along(plane, flow.tx, flow.ty, weights)


def draw_lines(rgb: Array, flow: Flow, scale: float) -> Array:
    """How much ink lies on each pixel, 0 to 1. `rgb` is the fine painted layer."""
    light = luma(rgb)
    steps = max(2, round(5 * scale))
    taps, weights = _profile(0.9 * scale, 1.44 * scale)
    across = _across(light, flow.tx, flow.ty, taps, weights)
    response = _average_along(
        across, flow.tx, flow.ty, np.exp(-0.5 * (np.arange(steps + 1) * 2 / steps) ** 2).astype(np.float32)
    )
    ink = np.tanh(5 * np.maximum(0, response - LINE_FROM)) * smoothstep(0.25, 0.60, flow.anisotropy)
    _drop_specks(ink, 14 * scale)
    small = shrink_to(ink, (ink.shape[0] / 4, ink.shape[1] / 4))
    crowded = smoothstep(0.16, 0.36, blur(small, 3 * scale))
    return ink * (1 - 0.85 * grow_to(crowded, ink.shape))


def _profile(narrow: float, wide: float) -> tuple[Array, Array]:
    """Offsets in pixels across the tangent, and the weights of p (G_wide - G_narrow) there."""
    taps = np.arange(-np.ceil(2.5 * wide), np.ceil(2.5 * wide) + 1)
    inner, outer = (np.exp(-0.5 * (taps / max(sigma, 0.3)) ** 2) for sigma in (narrow, wide))
    weights = SHARPNESS * (outer / outer.sum() - inner / inner.sum())
    return taps.astype(np.float32), weights.astype(np.float32)


def _drop_specks(ink: Array, extent: float) -> None:
    """Erase, in place, connected lines whose bounding box is smaller than `extent` pixels each way."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((ink > 0.10).astype(np.uint8), connectivity=8)
    keep = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]) >= extent
    keep[0] = True  # The background: its faint ink is the soft rim of kept lines.
    ink *= keep[labels]


@njit(fastmath=True, cache=True, inline="always")
def _sample(plane: Array, x: float, y: float) -> float:
    """The plane between its pixels (bilinear); the caller keeps x and y inside."""
    left, top = int(x), int(y)
    right, bottom = min(left + 1, plane.shape[1] - 1), min(top + 1, plane.shape[0] - 1)
    fx, fy = x - np.float32(left), y - np.float32(top)
    upper = plane[top, left] + fx * (plane[top, right] - plane[top, left])
    lower = plane[bottom, left] + fx * (plane[bottom, right] - plane[bottom, left])
    return upper + fy * (lower - upper)


@njit(parallel=True, fastmath=True, cache=True)
def _across(plane: Array, tx: Array, ty: Array, taps: Array, weights: Array) -> Array:
    """The weighted sum of samples along the normal of the tangent."""
    height, width = plane.shape
    out = np.empty((height, width), np.float32)
    zero, last_x, last_y = np.float32(0), np.float32(width - 1), np.float32(height - 1)
    for y in prange(height):
        for x in range(width):
            nx, ny = -ty[y, x], tx[y, x]
            total = zero
            for i in range(len(taps)):
                at_x = min(last_x, max(zero, np.float32(x) + taps[i] * nx))
                at_y = min(last_y, max(zero, np.float32(y) + taps[i] * ny))
                total += weights[i] * _sample(plane, at_x, at_y)
            out[y, x] = total
    return out


@njit(parallel=True, fastmath=True, cache=True)
def _average_along(plane: Array, tx: Array, ty: Array, weights: Array) -> Array:
    """Line integral convolution of a plane, in unit Euler steps."""
    height, width = plane.shape
    out = np.empty((height, width), np.float32)
    half, one = np.float32(0.5), np.float32(1)
    for y in prange(height):
        for x in range(width):
            total, mass = plane[y, x], one
            for sign in (one, -one):
                at_x, at_y = np.float32(x), np.float32(y)
                dx, dy = sign * tx[y, x], sign * ty[y, x]
                for i in range(1, len(weights)):
                    at_x += dx
                    at_y += dy
                    column, row = int(at_x + half), int(at_y + half)
                    if at_x < 0 or at_y < 0 or column >= width or row >= height:
                        break
                    total += weights[i] * plane[row, column]
                    mass += weights[i]
                    turn = one if tx[row, column] * dx + ty[row, column] * dy >= 0 else -one
                    dx, dy = turn * tx[row, column], turn * ty[row, column]
            out[y, x] = total / mass
    return out


@njit(parallel=True, fastmath=True, cache=True)
def _smooth_along(rgb: Array, tx: Array, ty: Array, weights: Array) -> Array:
    """As above for a picture, each way only as far as the colour stays near the starting pixel's."""
    height, width = tx.shape
    out = np.empty_like(rgb)
    half, one, zero = np.float32(0.5), np.float32(1), np.float32(0)
    for y in prange(height):
        for x in range(width):
            r0, g0, b0 = rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2]
            r, g, b, mass = r0, g0, b0, one
            for sign in (one, -one):
                at_x, at_y = np.float32(x), np.float32(y)
                dx, dy = sign * tx[y, x], sign * ty[y, x]
                for i in range(1, len(weights)):
                    at_x += dx
                    at_y += dy
                    if at_x < 0 or at_y < 0 or at_x >= width - 1 or at_y >= height - 1:
                        break
                    left, top = int(at_x), int(at_y)
                    fx, fy = at_x - np.float32(left), at_y - np.float32(top)
                    a, c = (one - fx) * (one - fy), fx * (one - fy)
                    d, e = (one - fx) * fy, fx * fy
                    p, q = rgb[top, left], rgb[top, left + 1]
                    u, v = rgb[top + 1, left], rgb[top + 1, left + 1]
                    r1 = a * p[0] + c * q[0] + d * u[0] + e * v[0]
                    g1 = a * p[1] + c * q[1] + d * u[1] + e * v[1]
                    b1 = a * p[2] + c * q[2] + d * u[2] + e * v[2]
                    distance = (r1 - r0) ** 2 + (g1 - g0) ** 2 + (b1 - b0) ** 2
                    near = one - distance * RANGE
                    if near <= zero:
                        break
                    weight = near * near * weights[i]
                    r += weight * r1
                    g += weight * g1
                    b += weight * b1
                    mass += weight
                    column, row = int(at_x + half), int(at_y + half)
                    turn = one if tx[row, column] * dx + ty[row, column] * dy >= 0 else -one
                    dx, dy = turn * tx[row, column], turn * ty[row, column]
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = r / mass, g / mass, b / mass
    return out
