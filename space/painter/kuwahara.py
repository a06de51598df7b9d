"""The anisotropic Kuwahara filter, which turns a photograph into patches of paint.

Around every pixel an ellipse along the local structure is cut into eight overlapping sectors; the pixel takes the
colour of the most even ones. Kuwahara 1976; Papari, Petkov, Campisi 2007 (eight weighted sectors); Kyprianidis,
Kang, Doellner 2009 "Image and Video Abstraction by Anisotropic Kuwahara Filtering"; the polynomial sector weights
are from Kyprianidis, Semmo, Kang, Doellner 2010 "Anisotropic Kuwahara Filtering with Polynomial Weighting Functions".
"""

from __future__ import annotations

from functools import lru_cache
from math import cos, pi, sin

import cv2
import numpy as np
from numba import njit, prange

from .planes import Array
from .tensor import Flow

SECTORS = 8
ANGLES = 32
ANISOTROPIES = 6
ZETA = 0.33
"""How far neighbouring sectors overlap at the centre."""
HALF_ANGLE = 0.8 * 3 * pi / 8
"""Where a sector's weight falls to zero at the rim, in radians from its axis."""
HARDNESS = np.float32(100.0**2)
"""H^2 in the weight 1 / (1 + (H^2 variance)^4): higher values give harder borders between patches."""
LARGEST_ARGUMENT = np.float32(1e4)
"""Beyond it the fourth power would leave float32's range; the weight is zero for all purposes."""


def kuwahara(rgb: Array, flow: Flow, radius: int) -> Array:
    """The picture in patches of about `radius` pixels, stretched to twice that along edges."""
    columns, rows, weights, counts = _kernel_bank(radius)
    margin = 2 * radius + 1
    # A reflection cannot be wider than the picture itself; repeating the border always works.
    padded = cv2.copyMakeBorder(rgb, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    with_square = np.dstack([padded, np.einsum("ijk,ijk->ij", padded, padded)[..., None]])
    stride = padded.shape[1]
    taps = (rows * stride + columns).astype(np.int64)
    kernels = _kernel_indices(flow.tx, flow.ty, flow.anisotropy)
    return _filter(with_square.reshape(-1, 4), stride, margin, kernels, taps, weights, counts)


@lru_cache(maxsize=8)
def _kernel_bank(radius: int) -> tuple[Array, Array, Array, Array]:
    """Sample offsets and sector weights for every quantised direction and elongation.

    Precomputed, because evaluating the polynomial and the exponential for each sample of each pixel would cost
    several times the filter itself. Returns columns, rows (kernels x samples), weights (kernels x samples x 8) and
    the number of samples of each kernel.
    """
    reach = np.arange(-2 * radius, 2 * radius + 1)
    grid_x, grid_y = (plane.ravel() for plane in np.meshgrid(reach, reach))
    kernels = [
        _kernel(grid_x, grid_y, radius, pi * (angle + 0.5) / ANGLES, elongation / (ANISOTROPIES - 1))
        for angle in range(ANGLES)
        for elongation in range(ANISOTROPIES)
    ]
    most = max(len(x) for x, _, _ in kernels)
    columns = np.zeros((len(kernels), most), np.int32)
    rows = np.zeros((len(kernels), most), np.int32)
    weights = np.zeros((len(kernels), most, SECTORS), np.float32)
    for index, (x, y, weight) in enumerate(kernels):
        columns[index, : len(x)], rows[index, : len(x)], weights[index, : len(x)] = x, y, weight
    return columns, rows, weights, np.array([len(x) for x, _, _ in kernels], np.int32)


def _kernel(grid_x: Array, grid_y: Array, radius: int, angle: float, anisotropy: float) -> tuple[Array, Array, Array]:
    """Offsets inside one ellipse and their eight sector weights; each sector's weights add up to one."""
    along = (grid_x * cos(angle) + grid_y * sin(angle)) / (radius * (1 + anisotropy))
    across = (grid_y * cos(angle) - grid_x * sin(angle)) / (radius / (1 + anisotropy))
    inside = along**2 + across**2 <= 1
    u, v = along[inside], across[inside]
    eta = (ZETA + cos(HALF_ANGLE)) / sin(HALF_ANGLE) ** 2
    axes = 2 * pi * np.arange(SECTORS) / SECTORS
    p = u[:, None] * np.cos(axes) + v[:, None] * np.sin(axes)
    q = v[:, None] * np.cos(axes) - u[:, None] * np.sin(axes)
    weight = np.maximum(0, p + ZETA - eta * q**2) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    weight *= np.exp(-pi / 2 * (u**2 + v**2))[:, None]
    return grid_x[inside], grid_y[inside], weight / weight.sum(axis=0)


@njit(parallel=True, fastmath=True, cache=True)
def _kernel_indices(tx: Array, ty: Array, anisotropy: Array) -> Array:
    """For each pixel the number of its kernel in the bank."""
    height, width = tx.shape
    out = np.empty((height, width), np.int32)
    for y in prange(height):
        for x in range(width):
            angle = np.arctan2(ty[y, x], tx[y, x])
            if angle < 0:
                angle += np.float32(np.pi)
            direction = min(ANGLES - 1, int(angle * np.float32(ANGLES / np.pi)))
            elongation = int(anisotropy[y, x] * np.float32(ANISOTROPIES - 1) + np.float32(0.5))
            out[y, x] = direction * ANISOTROPIES + min(ANISOTROPIES - 1, max(0, elongation))
    return out


@njit(fastmath=True, cache=True, inline="always")
def _evenness(r: float, g: float, b: float, square: float) -> float:
    """The weight of a sector with this mean colour and mean squared length: near one when it is even."""
    x = min(LARGEST_ARGUMENT, HARDNESS * max(np.float32(0), square - r * r - g * g - b * b))
    x *= x
    return np.float32(1) / (np.float32(1) + x * x)


@njit(parallel=True, fastmath=True, cache=True)
def _filter(
    samples: Array, stride: int, margin: int, kernels: Array, taps: Array, weights: Array, counts: Array
) -> Array:
    """The filter's inner loop: eight weighted means of colour and squared length for each pixel.

    The 32 sums are separate scalars on purpose: LLVM packs them into vector registers, which it does not do for
    small arrays, and the filter runs half again as fast.
    """
    height, width = kernels.shape
    out = np.empty((height, width, 3), np.float32)
    zero = np.float32(0)
    for y in prange(height):
        for x in range(width):
            kernel = kernels[y, x]
            centre = (y + margin) * stride + x + margin
            r0 = r1 = r2 = r3 = r4 = r5 = r6 = r7 = zero
            g0 = g1 = g2 = g3 = g4 = g5 = g6 = g7 = zero
            b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = zero
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = zero
            for tap in range(counts[kernel]):
                at = centre + taps[kernel, tap]
                r, g, b, s = samples[at, 0], samples[at, 1], samples[at, 2], samples[at, 3]
                w0, w1 = weights[kernel, tap, 0], weights[kernel, tap, 1]
                w2, w3 = weights[kernel, tap, 2], weights[kernel, tap, 3]
                w4, w5 = weights[kernel, tap, 4], weights[kernel, tap, 5]
                w6, w7 = weights[kernel, tap, 6], weights[kernel, tap, 7]
                r0, r1, r2, r3 = r0 + w0 * r, r1 + w1 * r, r2 + w2 * r, r3 + w3 * r
                r4, r5, r6, r7 = r4 + w4 * r, r5 + w5 * r, r6 + w6 * r, r7 + w7 * r
                g0, g1, g2, g3 = g0 + w0 * g, g1 + w1 * g, g2 + w2 * g, g3 + w3 * g
                g4, g5, g6, g7 = g4 + w4 * g, g5 + w5 * g, g6 + w6 * g, g7 + w7 * g
                b0, b1, b2, b3 = b0 + w0 * b, b1 + w1 * b, b2 + w2 * b, b3 + w3 * b
                b4, b5, b6, b7 = b4 + w4 * b, b5 + w5 * b, b6 + w6 * b, b7 + w7 * b
                s0, s1, s2, s3 = s0 + w0 * s, s1 + w1 * s, s2 + w2 * s, s3 + w3 * s
                s4, s5, s6, s7 = s4 + w4 * s, s5 + w5 * s, s6 + w6 * s, s7 + w7 * s
            a0, a1 = _evenness(r0, g0, b0, s0), _evenness(r1, g1, b1, s1)
            a2, a3 = _evenness(r2, g2, b2, s2), _evenness(r3, g3, b3, s3)
            a4, a5 = _evenness(r4, g4, b4, s4), _evenness(r5, g5, b5, s5)
            a6, a7 = _evenness(r6, g6, b6, s6), _evenness(r7, g7, b7, s7)
            total = np.float32(1) / (a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7)
            red = r0 * a0 + r1 * a1 + r2 * a2 + r3 * a3 + r4 * a4 + r5 * a5 + r6 * a6 + r7 * a7
            green = g0 * a0 + g1 * a1 + g2 * a2 + g3 * a3 + g4 * a4 + g5 * a5 + g6 * a6 + g7 * a7
            blue = b0 * a0 + b1 * a1 + b2 * a2 + b3 * a3 + b4 * a4 + b5 * a5 + b6 * a6 + b7 * a7
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = red * total, green * total, blue * total
    return out
