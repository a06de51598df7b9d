"""Paints a photograph. `paint` is what the Space calls; each step has its module and its source in the literature.

All lengths are given for a picture of one megapixel and grow with the square root of its area.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .colour import grade, palette
from .dabs import BROAD, FINE, SOFT, lay_dabs
from .kuwahara import kuwahara
from .light import bloom, low_sun
from .lines import draw_lines, smooth_along
from .planes import Array, blur, grow_to, luma, shrink_to, smoothstep
from .presets import LOOKS, Look
from .skin import keep_skin_tone, skin_mask, soften
from .sky import Sky, find_sky, paint_sky
from .surface import add_surface, brush_relief
from .tensor import Flow, flow_of
from .tone import open_shadows
from .watercolour import wet_paint

LOOK_NAMES = tuple(LOOKS)
LARGEST = 1_100_000
"""Pixels that are painted at most; a larger picture is painted at this size and enlarged, which looks crisper."""
SMALLEST_SIDE = 16
"""Pixels below which there is nothing to paint."""


def paint(
    rgb: Array, look: str, seed: int, progress: Callable[[float, str], None] = lambda share, stage: None
) -> Array:
    """A painting of the photograph `rgb`, both uint8 of the same H x W x 3 shape in sRGB.

    `look` is one of LOOK_NAMES. The same `seed` (any integer) gives the same strokes on the same machine.
    `progress` is told the share done, 0 to 1, and the stage that begins. Not safe for calls from several threads
    at once. Raises ValueError for another shape or type, a side below 16 pixels, or an unknown look.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError("A photograph is an array of uint8 with three colours.")
    if min(rgb.shape[:2]) < SMALLEST_SIDE:
        raise ValueError(f"A photograph needs at least {SMALLEST_SIDE} pixels on each side.")
    if look not in LOOKS:
        raise ValueError(f"The look must be one of {', '.join(LOOK_NAMES)}.")
    height, width = rgb.shape[:2]
    zoom = min(1.0, (LARGEST / (height * width)) ** 0.5)
    photo = rgb.astype(np.float32) / 255
    if zoom < 1:
        photo = shrink_to(photo, (max(SMALLEST_SIDE, height * zoom), max(SMALLEST_SIDE, width * zoom)))
    painting = _paint(photo, look, seed % 2**32, progress)
    if zoom < 1:
        painting = grow_to(painting, rgb.shape, cv2.INTER_LANCZOS4)
        painting += 0.6 * (painting - cv2.GaussianBlur(painting, (0, 0), 1.4))
    progress(1.0, "Painted")
    return (np.clip(painting, 0, 1) * 255 + 0.5).astype(np.uint8)


def _paint(photo: Array, look_name: str, seed: int, progress: Callable[[float, str], None]) -> Array:
    """The steps, on float32 of at most about one megapixel."""
    look = LOOKS[look_name]
    height, width = photo.shape[:2]
    scale = float(np.sqrt(height * width / 1e6))

    progress(0.02, "Looking at the light")
    toned = open_shadows(photo)
    small_skin = skin_mask(toned)
    skin = grow_to(small_skin, photo.shape)
    toned = keep_skin_tone(toned, photo, skin)
    skin_share = float((small_skin > 0.5).mean())
    sky = find_sky(toned, skin_share)

    progress(0.12, "Sketching the shapes")
    fine_flow = flow_of(toned, 2.0 * scale)
    half = shrink_to(toned, (height / 2, width / 2))
    coarse_flow = flow_of(half, 2.2 * scale)

    progress(0.20, "Laying in the colours")
    fine = kuwahara(toned, fine_flow, max(2, round(3.4 * scale)))
    coarse = kuwahara(half, coarse_flow, max(2, round(look.coarse_radius * scale)))
    coarse = grow_to(coarse, photo.shape, cv2.INTER_CUBIC)
    detail = _detail(fine_flow, skin, sky, scale)
    canvas = coarse + detail[..., None] * (fine - coarse)
    canvas = smooth_along(canvas, fine_flow, max(2, round(5 * scale)))
    canvas = soften(canvas, skin, scale)

    progress(0.45, "Painting leaf by leaf")
    if not look.wet:
        canvas = _with_dabs(canvas, toned, fine_flow, detail, skin, sky, scale, seed)

    progress(0.62, "Choosing the palette")
    canvas = _graded(canvas, fine_flow, skin, small_skin, skin_share, sky, look_name, toned)

    if sky.exists:
        progress(0.72, "Painting the sky")
        canvas = paint_sky(canvas, toned, sky, look, seed)

    progress(0.80, "Drawing the lines")
    line = draw_lines(fine, fine_flow, scale) * (1 - sky.mask) * (1 - 0.82 * skin) * look.line
    canvas = _inked(canvas, line, look)

    progress(0.90, "Letting the light in")
    if look.sun and sky.exists:
        canvas = low_sun(canvas, toned, sky)
    canvas = bloom(canvas, look, skin)

    progress(0.95, "Finishing on paper")
    if look.wet:
        canvas = wet_paint(canvas, fine_flow, scale, seed)
    return add_surface(canvas, brush_relief(coarse_flow, scale, seed), look.paper)


def _detail(flow: Flow, skin: Array, sky: Sky, scale: float) -> Array:
    """Where the fine layer shows: clear edges and skin; elsewhere the broad one does."""
    detail = smoothstep(0.012, 0.045, blur(flow.energy, 2 * scale))
    detail = detail * smoothstep(0.20, 0.60, blur(flow.anisotropy, 2 * scale))
    return np.maximum(detail, 0.85 * skin) * (1 - 0.7 * sky.mask)


def _with_dabs(
    canvas: Array, toned: Array, flow: Flow, detail: Array, skin: Array, sky: Sky, scale: float, seed: int
) -> Array:
    """Two layers of dabs: broad ones in quiet areas, small ones where the photograph is full of texture."""
    calm = (1 - skin) * (1 - 0.35 * sky.mask)
    texture = blur(np.abs(luma(toned) - luma(canvas)), 12 * scale)
    reference = canvas
    canvas = canvas.copy()
    lay_dabs(canvas, reference, flow, 0.55 * calm * (1 - 0.75 * detail), BROAD, scale, seed)
    lay_dabs(canvas, reference, flow, 0.88 * calm * smoothstep(0.008, 0.035, texture), FINE, scale, seed + 1)
    lay_dabs(canvas, reference, flow, 0.80 * skin, SOFT, scale, seed + 2)
    return canvas


def _graded(
    canvas: Array,
    flow: Flow,
    skin: Array,
    small_skin: Array,
    skin_share: float,
    sky: Sky,
    look_name: str,
    toned: Array,
) -> Array:
    """The canvas in the colours of the look."""
    look = LOOKS[look_name]
    steps = look.quantise * (1 - skin) * smoothstep(0.006, 0.03, flow.energy) * (1 - 0.8 * sky.mask)
    # Hair belongs to the person too: the neighbourhood of skin takes the mild palette.
    reach = max(1, int(0.05 * max(small_skin.shape)))
    people = cv2.dilate(small_skin, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    people = grow_to(np.clip(blur(people, 0.6 * reach), 0, 1), canvas.shape)
    lamps_from = _lamps_from(toned, sky, skin_share) if look.dark else 1.0
    return grade(
        canvas,
        steps.astype(np.float32),
        people,
        palette(look_name, False, lamps_from),
        palette(look_name, True, lamps_from),
    )


def _lamps_from(toned: Array, sky: Sky, skin_share: float) -> float:
    """The OKLab lightness above which warm colours are lamps at night; 1 where nothing should be lit.

    Under a blue sky bright warm walls are lit. In a photograph that was taken at night even dim lights are real.
    With people near and no sky, nothing is lit, or faces would glow.
    """
    if float(np.median(toned)) < 0.22:
        return 0.42
    outdoors = sky.blue_share > 0.12 and skin_share < 0.45
    return 0.66 if outdoors or skin_share < 0.04 else 1.0


def _inked(canvas: Array, line: Array, look: Look) -> Array:
    """Lines in a darker tone of what lies under them, never black."""
    ink = 0.30 * canvas + 0.45 * np.array(look.ink, np.float32)
    return canvas + line[..., None] * (ink - canvas)
