"""Turns a painting into a watercolour: uneven pigment, dark rims, and paper left white around it.

Bousseau et al. 2006 "Interactive Watercolor Rendering with Temporal Coherence and Abstraction": a pigment density d
changes a colour C to C - (C - C^2)(d - 1).
"""

from __future__ import annotations

import numpy as np

from .planes import Array, blur, grow_to, luma, smoothstep
from .tensor import Flow

PAPER = np.array((0.985, 0.975, 0.950), np.float32)


def wet_paint(rgb: Array, flow: Flow, scale: float, seed: int) -> Array:
    """The picture in watercolours, with an irregular unpainted margin."""
    rng = np.random.default_rng(seed + 1213)
    turbulence = _clouds(rgb.shape[:2], rng, (90 * scale, 34 * scale, 12 * scale))
    edges = smoothstep(0.02, 0.14, blur(flow.energy, 1.2 * scale))
    density = 0.075 * turbulence + 0.33 * edges - 0.25 * smoothstep(0.72, 1.0, luma(rgb))
    inside, rim = _margin(rgb.shape[:2], rng, scale)
    density = (density + 0.22 * rim)[..., None]
    washed = np.clip(rgb - (rgb - rgb * rgb) * density, 0, 1)
    return PAPER + inside[..., None] * (washed - PAPER)


def _clouds(shape: tuple[int, int], rng: np.random.Generator, lengths: tuple[float, ...]) -> Array:
    """Smooth noise of several wavelengths (in pixels), mean 0, deviation 1."""
    total = np.zeros(shape, np.float32)
    for weight, length in zip((1.0, 0.7, 0.45), lengths, strict=True):
        small = (max(3, int(shape[0] / length) + 2), max(3, int(shape[1] / length) + 2))
        total += np.float32(weight) * grow_to(rng.standard_normal(small, dtype=np.float32), shape, 2)
    return (total - total.mean()) / max(1e-6, float(total.std()))


def _margin(shape: tuple[int, int], rng: np.random.Generator, scale: float) -> tuple[Array, Array]:
    """Where paint lies (0 to 1), and how much it gathered at the rim of the painted area."""
    height, width = shape
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    distance = np.minimum(
        np.minimum(rows, height - 1 - rows)[:, None], np.minimum(columns, width - 1 - columns)[None, :]
    )
    border = 0.022 * min(shape)
    wobble = _clouds(shape, rng, (60 * scale, 18 * scale, 5 * scale))
    distance = distance - border - 0.28 * border * wobble
    inside = smoothstep(-0.8, 0.8, distance)
    rim = np.exp(-((np.maximum(distance, 0) / max(1.0, 4 * scale)) ** 2)) * inside
    return inside, rim
