"""The painter's palette: colours are graded in OKLab through a look-up table, built once for each look.

OKLab: Ottosson 2020 "A perceptual color space for image processing". Soft tone steps: Winnemoeller, Olsen, Gooch
2006 "Real-Time Video Abstraction".
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit, prange

from .planes import Array, smoothstep
from .presets import LOOKS, Look

SIZE = 33
"""Entries along each side of the look-up table."""
TONE_STEPS = np.float32(9)
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_FROM_LAB, _FROM_LMS = np.linalg.inv(_TO_LAB), np.linalg.inv(_TO_LMS)


def to_oklab(rgb: Array) -> Array:
    """OKLab (lightness, a, b) of sRGB values from 0 to 1; the last axis has three entries."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((np.maximum(rgb, 0) + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T


def from_oklab(lab: Array) -> Array:
    """sRGB values of OKLab colours; outside 0 to 1 where the screen has no such colour."""
    linear = ((lab @ _FROM_LAB.T) ** 3) @ _FROM_LMS.T
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def oklab_of(hue: float, lightness: float, chroma: float) -> Array:
    """OKLab of an OKLCh triple with the hue in degrees."""
    return np.array([lightness, chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))])


def fit_to_screen(lab: Array) -> Array:
    """sRGB values with chroma reduced, at constant lightness and hue, until the screen can show them."""
    low, high = np.zeros(lab.shape[:-1]), np.ones(lab.shape[:-1])
    lab = np.concatenate([np.clip(lab[..., :1], 0, 1), lab[..., 1:]], axis=-1)

    def scaled(share: Array) -> Array:
        return from_oklab(np.concatenate([lab[..., :1], lab[..., 1:] * share[..., None]], axis=-1))

    for _ in range(9):
        middle = (low + high) / 2
        rgb = scaled(middle)
        fits = ((rgb > -1e-4) & (rgb < 1 + 1e-4)).all(axis=-1)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    whole = scaled(np.ones_like(low))
    fits = ((whole > -1e-4) & (whole < 1 + 1e-4)).all(axis=-1)
    return np.clip(np.where(fits[..., None], whole, scaled(low)), 0, 1)


@lru_cache(maxsize=32)
def palette(look_name: str, near_people: bool, lamps_from: float) -> Array:
    """The look-up table, SIZE^3 x 3 float32, indexed by red, green, blue.

    `near_people` mutes the greens and warm tones, so that hair does not turn green, and keeps dark clothes dark.
    At night, warm colours lighter than `lamps_from` (OKLab lightness; 1 for none) shine through the blue.
    """
    look = LOOKS[look_name]
    steps = np.linspace(0, 1, SIZE)
    lab = to_oklab(np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1))
    source_light = lab[..., 0]
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    skin = _bump(hue, 58, 34) * smoothstep(0.008, 0.03, chroma) * (1 - smoothstep(0.13, 0.17, chroma))
    skin *= smoothstep(0.14, 0.28, source_light)

    t = source_light**look.gamma
    light = look.black + (look.white - look.black) * (t + 0.10 * (smoothstep(0, 1, t) - t))
    # Opened shadows suit walls and trees; a person keeps the tone of their skin, be it dark or light.
    own_tone = np.maximum(0.45, 0.95 * skin) if near_people else 0.40 * skin
    # A deep red that is made lighter turns neon.
    own_tone = np.maximum(own_tone, 0.75 * _bump(hue, 22, 32) * smoothstep(0.09, 0.14, chroma))
    light = light + own_tone * (source_light - light)
    saturation = 1 + (look.saturation - 1) * (0.5 if near_people else 1.0)
    graded = chroma * (1 + (saturation - 1) * (1 - 0.75 * skin) * smoothstep(0, 0.06, chroma))

    hue, graded, light = _greens(hue, graded, light, chroma, 0.0 if near_people else look.greens)
    blue = _bump(hue, 256, 42)
    hue = hue + blue * 0.45 * (243 - hue)
    graded = graded * (1 + 0.12 * blue)
    light = light + 0.03 * blue * smoothstep(0.02, 0.08, chroma)
    graded = graded * (1 - 0.22 * _bump(hue, 190, 34))
    graded = graded * (1 + 0.07 * _bump(hue, 30, 28) * smoothstep(0.08, 0.12, chroma))
    graded = graded * (1 - 0.12 * _bump(hue, 62, 26) * smoothstep(0.08, 0.14, chroma))
    if near_people:
        hue = hue - 10 * _bump(hue, 88, 20)
    graded = np.where(graded > 0.16, 0.16 + 0.12 * np.tanh((graded - 0.16) / 0.12), graded)

    a, b = graded * np.cos(np.radians(hue)), graded * np.sin(np.radians(hue))
    a, b = _split_tone(look, light, a, b, (1 - 0.6 * skin) * (0.6 if near_people else 1.0))
    if look.dark:
        lamp = _bump(hue, 70, 55) * smoothstep(lamps_from, lamps_from + 0.18, source_light)
        lamp *= smoothstep(0.07, 0.12, chroma)
        lips = _bump(hue, 25, 40) * smoothstep(0.02, 0.05, chroma)
        light, a, b = _nightfall(light, a, b, lamp, 0.6 * np.maximum(skin, lips) if near_people else 0.0)
    return np.ascontiguousarray(fit_to_screen(np.stack([light, a, b], axis=-1)), np.float32)


def _bump(hue: Array, centre: float, width: float) -> Array:
    """1 at the hue `centre`, smoothly down to 0 at `width` degrees from it."""
    distance = np.abs((hue - centre + 180) % 360 - 180)
    return 1 - smoothstep(0.35 * width, width, distance)


def _greens(hue: Array, graded: Array, light: Array, chroma: Array, amount: float) -> tuple[Array, Array, Array]:
    """Leaves in the shade turn blue-green, leaves in the light yellow-green: the mark of a painted meadow."""
    weight = smoothstep(86, 108, hue) * (1 - smoothstep(162, 186, hue)) * amount
    # Pale yellowish greens are stone and sand; they count as leaves only when they are strong.
    least = 0.014 + 0.026 * (1 - smoothstep(92, 112, hue))
    weight = weight * smoothstep(0.0, 0.031, chroma - least)
    levels = (0.15, 0.35, 0.55, 0.72, 0.88)
    wished_hue = np.interp(light, levels, (168, 156, 141, 127, 114))
    wished_chroma = np.interp(light, levels, (0.055, 0.090, 0.132, 0.150, 0.118))
    hue = hue + 0.72 * weight * (wished_hue - hue)
    pull = np.where(wished_chroma > graded, 0.55, 0.60)
    graded = graded + pull * weight * (wished_chroma - graded)
    return hue, graded, light + 0.035 * weight * smoothstep(0.45, 0.70, light) * (1 - smoothstep(0.75, 0.90, light))


def _split_tone(look: Look, light: Array, a: Array, b: Array, amount: Array) -> tuple[Array, Array]:
    """Cool shadows, warm lights."""
    shadow = (1 - smoothstep(0.15, 0.62, light)) * amount
    bright = smoothstep(0.62, 0.95, light) * amount
    middle = (1 - shadow) * (1 - bright) * amount
    a = a + shadow * look.shadow[0] + bright * look.highlight[0] + middle * look.middle[0]
    b = b + shadow * look.shadow[1] + bright * look.highlight[1] + middle * look.middle[1]
    return a, b


def _nightfall(light: Array, a: Array, b: Array, lamp: Array, person: Array | float) -> tuple[Array, Array, Array]:
    """Everything turns blue and dark, except lit lamps; `person` is how much a face keeps of its own colour."""
    night_a = 0.50 * a - 0.016
    night_b = 0.42 * b - 0.046 * smoothstep(0.05, 0.40, light) - 0.012
    night_a, night_b = night_a + person * (0.85 * a - night_a), night_b + person * (0.85 * b - night_b)
    return (
        light * (0.84 + 0.16 * lamp),
        night_a + lamp * (a + 0.012 - night_a),
        night_b + lamp * (b + 0.030 - night_b),
    )


@njit(parallel=True, fastmath=True, cache=True)
def grade(rgb: Array, steps: Array, people: Array, plain_palette: Array, people_palette: Array) -> Array:
    """Soft tone steps, then the palette (trilinear).

    `steps` is how strongly each pixel falls into tone steps, `people` how much of the second palette it gets;
    both are planes from 0 to 1.
    """
    height, width = rgb.shape[:2]
    out = np.empty_like(rgb)
    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    shape = one / (np.float32(18) * np.float32(np.tanh(2.0)))
    last = np.float32(SIZE - 1)
    for y in prange(height):
        for x in range(width):
            r, g, b = rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2]
            if steps[y, x] > np.float32(0.004):
                light = np.float32(0.299) * r + np.float32(0.587) * g + np.float32(0.114) * b
                nearest = np.floor(light * TONE_STEPS + half) / TONE_STEPS
                # Steep in the middle of a step, flat where one step meets the next.
                stepped = nearest + np.tanh(np.float32(36) * (light - nearest)) * shape
                gain = one + steps[y, x] * ((stepped + np.float32(0.01)) / (light + np.float32(0.01)) - one)
                r, g, b = r * gain, g * gain, b * gain
            fr = min(one, max(zero, r)) * last
            fg = min(one, max(zero, g)) * last
            fb = min(one, max(zero, b)) * last
            i, j, k = min(SIZE - 2, int(fr)), min(SIZE - 2, int(fg)), min(SIZE - 2, int(fb))
            fr, fg, fb = fr - np.float32(i), fg - np.float32(j), fb - np.float32(k)
            person = people[y, x]
            for c in range(3):
                value = zero
                if person < np.float32(0.996):
                    value += (one - person) * _trilinear(plain_palette, i, j, k, fr, fg, fb, c)
                if person > np.float32(0.004):
                    value += person * _trilinear(people_palette, i, j, k, fr, fg, fb, c)
                out[y, x, c] = value
    return out


@njit(fastmath=True, cache=True, inline="always")
def _trilinear(table: Array, i: int, j: int, k: int, fr: float, fg: float, fb: float, c: int) -> float:
    """One colour of the table between its entries."""
    v00 = table[i, j, k, c] + fb * (table[i, j, k + 1, c] - table[i, j, k, c])
    v01 = table[i, j + 1, k, c] + fb * (table[i, j + 1, k + 1, c] - table[i, j + 1, k, c])
    v10 = table[i + 1, j, k, c] + fb * (table[i + 1, j, k + 1, c] - table[i + 1, j, k, c])
    v11 = table[i + 1, j + 1, k, c] + fb * (table[i + 1, j + 1, k + 1, c] - table[i + 1, j + 1, k, c])
    near, far = v00 + fg * (v01 - v00), v10 + fg * (v11 - v10)
    return near + fr * (far - near)
