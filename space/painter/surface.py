"""What lies under and in the paint: brush relief along the flow, and the grain of the paper."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit, prange

from .lines import average_along
from .planes import Array, blur, grow_to
from .tensor import Flow

TILE = 512
RELIEF = 0.022
"""Amplitude of the brush relief."""


def brush_relief(flow: Flow, scale: float, seed: int) -> Array:
    """The ridges that bristles leave: white noise drawn out along the flow. Mean 0, deviation 1."""
    noise = np.random.default_rng(seed + 313).standard_normal(flow.tx.shape, dtype=np.float32)
    drawn = average_along(noise, flow, max(3, round(9 * scale)))
    drawn -= blur(drawn, 6 * scale)
    return drawn / max(1e-6, float(drawn.std()))


@lru_cache(maxsize=1)
def _paper_tile() -> Array:
    """A seamless tile of paper: noise in the range of wavelengths that fibres have. Mean 0, deviation 1."""
    noise = np.random.default_rng(7).standard_normal((TILE, TILE))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :])
    band = np.exp(-((frequency / 0.22) ** 2)) * (1 - np.exp(-((frequency / 0.03) ** 2)))
    tile = np.fft.irfft2(np.fft.rfft2(noise) * band, s=(TILE, TILE))
    return (tile / tile.std()).astype(np.float32)


def add_surface(rgb: Array, relief: Array, paper: float) -> Array:
    """The painting with brush relief (any size, stretched to fit) and a paper grain of amplitude `paper`."""
    return _add(rgb, grow_to(relief, rgb.shape), _paper_tile(), np.float32(RELIEF), np.float32(paper))


@njit(parallel=True, fastmath=True, cache=True)
def _add(rgb: Array, relief: Array, tile: Array, relief_amount: float, paper_amount: float) -> Array:
    """Multiply by the texture; darks take more of it, as pigment settles in the valleys."""
    height, width = relief.shape
    out = np.empty_like(rgb)
    for y in prange(height):
        for x in range(width):
            texture = relief_amount * relief[y, x] + paper_amount * tile[y % TILE, x % TILE]
            for c in range(3):
                value = rgb[y, x, c]
                out[y, x, c] = value * (np.float32(1) + texture * (np.float32(1.2) - value))
    return out
