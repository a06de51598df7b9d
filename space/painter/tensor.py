"""The direction in which a painter would move the brush: the smoothed structure tensor of the picture.

Brox et al. 2006; used for stylisation by Kyprianidis, Doellner 2008 and Kyprianidis, Kang, Doellner 2009. The
filters and the dabs follow the tangents found here.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit, prange

from .planes import Array, blur


@dataclass(frozen=True)
class Flow:
    """The local structure of a picture, four planes of its size."""

    tx: Array
    """x part of the unit tangent, the direction along the edge (its sign is arbitrary)."""
    ty: Array
    """y part of the unit tangent."""
    anisotropy: Array
    """0 where every direction is alike, 1 on a clean edge."""
    energy: Array
    """Strength of the change across the tangent, in picture values per pixel."""


def flow_of(rgb: Array, sigma: float) -> Flow:
    """The structure of the picture, averaged over a Gaussian of `sigma` pixels."""
    soft = cv2.GaussianBlur(rgb, (0, 0), 0.8)
    dx = cv2.Scharr(soft, cv2.CV_32F, 1, 0, scale=1 / 32)
    dy = cv2.Scharr(soft, cv2.CV_32F, 0, 1, scale=1 / 32)
    return Flow(*_directions(blur(_products(dx, dy), sigma)))


@njit(parallel=True, fastmath=True, cache=True)
def _products(dx: Array, dy: Array) -> Array:
    """The tensor's entries E, F, G: the products of the derivatives summed over the colours."""
    height, width = dx.shape[:2]
    out = np.empty((height, width, 3), np.float32)
    for y in prange(height):
        for x in range(width):
            e = f = g = np.float32(0)
            for c in range(3):
                e += dx[y, x, c] * dx[y, x, c]
                f += dx[y, x, c] * dy[y, x, c]
                g += dy[y, x, c] * dy[y, x, c]
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = e, f, g
    return out


@njit(parallel=True, fastmath=True, cache=True)
def _directions(tensor: Array) -> tuple[Array, Array, Array, Array]:
    """Tangent, anisotropy and energy from the tensor's eigenvalues and its major eigenvector."""
    height, width = tensor.shape[:2]
    tx = np.empty((height, width), np.float32)
    ty = np.empty((height, width), np.float32)
    anisotropy = np.empty((height, width), np.float32)
    energy = np.empty((height, width), np.float32)
    for y in prange(height):
        for x in range(width):
            e, f, g = tensor[y, x, 0], tensor[y, x, 1], tensor[y, x, 2]
            root = np.sqrt((e - g) * (e - g) + np.float32(4) * f * f)
            large = np.float32(0.5) * (e + g + root)
            small = max(np.float32(0), np.float32(0.5) * (e + g - root))
            theta = np.float32(0.5) * np.arctan2(np.float32(2) * f, e - g)
            tx[y, x] = -np.sin(theta)
            ty[y, x] = np.cos(theta)
            anisotropy[y, x] = (large - small) / (large + small + np.float32(1e-5))
            energy[y, x] = np.sqrt(large)
    return tx, ty, anisotropy, energy
