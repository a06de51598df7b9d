"""Operations on float32 picture planes that several steps of the painter share.

A plane is an H x W float32 array; a picture is H x W x 3, sRGB values from 0 to 1. Lengths are in pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

Array = np.ndarray


def smoothstep(low: float, high: float, values: Array) -> Array:
    """0 below `low`, 1 above `high`, a smooth cubic between them."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def luma(rgb: Array) -> Array:
    """Rec. 601 luma of a picture: .299 R + .587 G + .114 B."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def blur(plane: Array, sigma: float) -> Array:
    """Gaussian blur of a plane or picture; wide ones on a smaller copy, where they cost little."""
    shrink = int(sigma // 4)
    if shrink < 2 or min(plane.shape[:2]) < 8 * shrink:
        return cv2.GaussianBlur(plane, (0, 0), max(sigma, 0.1), borderType=cv2.BORDER_REFLECT_101)
    height, width = plane.shape[:2]
    small = shrink_to(plane, (height // shrink, width // shrink))
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink, borderType=cv2.BORDER_REFLECT_101)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def shrink_to(plane: Array, shape: tuple[int, int]) -> Array:
    """The plane averaged down to `shape` (height, width), each at least one pixel."""
    height, width = (max(1, int(side)) for side in shape)
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)


def grow_to(plane: Array, shape: tuple[int, ...], interpolation: int = cv2.INTER_LINEAR) -> Array:
    """The plane interpolated up to `shape` (height, width, …)."""
    return cv2.resize(plane, (shape[1], shape[0]), interpolation=interpolation)


def guided_filter(guide: Array, source: Array, radius: float, eps: float, shrink: int = 1) -> Array:
    """`source` smoothed along the edges of `guide` (both planes).

    He, Sun, Tang 2010 "Guided Image Filtering"; with `shrink` > 1 the coefficients are found on a smaller copy
    as in He, Sun 2015 "Fast Guided Filter".
    """
    shape = guide.shape
    small = (shape[0] // shrink, shape[1] // shrink)
    i = shrink_to(guide, small) if shrink > 1 else guide
    p = shrink_to(source, small) if shrink > 1 else source
    size = 2 * max(1, round(radius / shrink)) + 1

    def mean(plane: Array) -> Array:
        return cv2.boxFilter(plane, -1, (size, size), borderType=cv2.BORDER_REFLECT)

    mean_i, mean_p = mean(i), mean(p)
    slope = (mean(i * p) - mean_i * mean_p) / (mean(i * i) - mean_i * mean_i + eps)
    offset = mean_p - slope * mean_i
    slope, offset = mean(slope), mean(offset)
    if shrink > 1:
        slope, offset = grow_to(slope, shape), grow_to(offset, shape)
    return slope * guide + offset
