"""Opens the shadows before anything is painted, as a painter does who looks into them."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .planes import Array, guided_filter, luma, shrink_to


def open_shadows(rgb: Array) -> Array:
    """The picture stretched to the full range, with lifted shadows and its small contrasts kept.

    The lift is computed from a base layer that follows the large edges only (guided filter), so that detail rides
    on top unchanged: the base/detail idea of Durand, Dorsey 2002.
    """
    height, width = rgb.shape[:2]
    small = luma(shrink_to(rgb, (height / 4, width / 4)))
    low = 0.8 * min(float(np.percentile(small, 0.5)), 0.12)
    high = max(float(np.percentile(small, 99.5)), 0.70)
    median = float(np.clip((np.median(small) - low) / (high - low), 0.02, 0.98))
    gamma = float(np.clip(np.log(0.48) / np.log(median), 0.82, 1.12))
    stretched = (rgb - np.float32(low)) * np.float32(1 / (high - low))
    light = luma(stretched)
    base = guided_filter(light, light, min(height, width) / 24, 0.01, shrink=4)
    return _lift(stretched, base, np.float32(gamma))


@njit(parallel=True, fastmath=True, cache=True)
def _lift(rgb: Array, base: Array, gamma: float) -> Array:
    """Each pixel multiplied by the ratio of the lifted base to the base."""
    height, width = base.shape
    out = np.empty_like(rgb)
    one, zero = np.float32(1), np.float32(0)
    for y in prange(height):
        for x in range(width):
            level = min(one, max(zero, base[y, x]))
            t = min(one, level / np.float32(0.55))
            deep = min(one, level / np.float32(0.30))
            lifted = (
                level**gamma
                + np.float32(0.17) * level * (one - t * t * (np.float32(3) - np.float32(2) * t))
                + np.float32(0.02) * (one - deep * deep * (np.float32(3) - np.float32(2) * deep))
            )
            gain = (lifted + np.float32(0.02)) / (level + np.float32(0.02))
            for c in range(3):
                out[y, x, c] = min(one, max(zero, rgb[y, x, c] * gain))
    return out
