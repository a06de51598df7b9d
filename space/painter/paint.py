"""Paints a photograph. `paint` is what the Space calls; each step has its module and its source in the literature.

All lengths are given for a picture of one megapixel and grow with the square root of its area.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .colour import grade, palette
from .dabs import BROAD, FINE, SOFT, Brush, lay_dabs
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


@dataclass(frozen=True)
class Scene:
    """What the painter sees before the first stroke; planes of the picture's size unless said otherwise."""

    scale: float
    """Square root of the area in megapixels: all lengths are multiplied by it."""
    toned: Array
    """The photograph with opened shadows, the picture that is painted."""
    half: Array
    """The same at half the size."""
    skin: Array
    small_skin: Array
    """`skin` at a quarter of the size."""
    sky: Sky
    flow: Flow
    coarse_flow: Flow
    """The flow of `half`."""

    @property
    def skin_share(self) -> float:
        return float((self.small_skin > 0.5).mean())


def _look_at(photo: Array) -> Scene:
    """Light, people, sky and the direction of every shape."""
    height, width = photo.shape[:2]
    scale = float(np.sqrt(height * width / 1e6))
    toned = open_shadows(photo)
    small_skin = skin_mask(toned)
    skin = grow_to(small_skin, photo.shape)
    toned = keep_skin_tone(toned, photo, skin)
    half = shrink_to(toned, (height / 2, width / 2))
    return Scene(
        scale=scale,
        toned=toned,
        half=half,
        skin=skin,
        small_skin=small_skin,
        sky=find_sky(toned, small_skin),
        flow=flow_of(toned, 2.0 * scale),
        coarse_flow=flow_of(half, 2.2 * scale),
    )


def _paint(photo: Array, look_name: str, seed: int, progress: Callable[[float, str], None]) -> Array:
    """The steps, on float32 of at most about one megapixel."""
    look = LOOKS[look_name]
    progress(0.02, "Looking at light and shapes")
    scene = _look_at(photo)

    progress(0.20, "Laying in the colours")
    fine = kuwahara(scene.toned, scene.flow, max(2, round(3.4 * scene.scale)))
    coarse = kuwahara(scene.half, scene.coarse_flow, max(2, round(look.coarse_radius * scene.scale)))
    coarse = grow_to(coarse, photo.shape, cv2.INTER_CUBIC)
    detail = _detail(scene)
    canvas = coarse + detail[..., None] * (fine - coarse)
    canvas = smooth_along(canvas, scene.flow, max(2, round(5 * scene.scale)))
    canvas = soften(canvas, scene.skin, scene.scale)

    progress(0.55, "Setting the brush strokes")
    canvas = _with_dabs(canvas, scene, detail, look, seed)

    progress(0.68, "Choosing the palette")
    canvas = _graded(canvas, scene, look_name)

    if scene.sky.exists:
        progress(0.75, "Painting the sky")
        canvas = paint_sky(canvas, scene.toned, scene.sky, look, seed)

    progress(0.82, "Drawing the lines")
    line = draw_lines(fine, scene.flow, scene.scale) * (1 - scene.sky.mask) * (1 - 0.82 * scene.skin)
    canvas = _inked(canvas, line, look)

    progress(0.93, "Letting the light in")
    if look.sun and scene.sky.exists:
        canvas = low_sun(canvas, scene.toned, scene.sky)
    canvas = bloom(canvas, look, scene.skin)

    progress(0.95, "Finishing on paper")
    if look.wet:
        canvas = wet_paint(canvas, scene.flow, scene.scale, seed)
    return add_surface(canvas, brush_relief(scene.coarse_flow, scene.scale, seed), look.paper)


def _detail(scene: Scene) -> Array:
    """Where the fine layer shows: clear edges and skin; elsewhere the broad one does."""
    detail = smoothstep(0.012, 0.045, blur(scene.flow.energy, 2 * scene.scale))
    detail = detail * smoothstep(0.20, 0.60, blur(scene.flow.anisotropy, 2 * scene.scale))
    return np.maximum(detail, 0.85 * scene.skin) * (1 - 0.7 * scene.sky.mask)


def _with_dabs(reference: Array, scene: Scene, detail: Array, look: Look, seed: int) -> Array:
    """Broad dabs in quiet areas, small ones where the photograph is full of texture, soft ones on skin.

    Watercolour has no opaque dabs; only its faces are modelled with soft ones.
    """
    canvas = reference.copy()

    def lay(density: Array, brush: Brush, layer: int) -> None:
        lay_dabs(canvas, reference, scene.flow, density, brush, scene.scale, seed + layer)

    if not look.wet:
        calm = (1 - scene.skin) * (1 - 0.35 * scene.sky.mask)
        texture = blur(np.abs(luma(scene.toned) - luma(reference)), 12 * scene.scale)
        lay(0.55 * calm * (1 - 0.75 * detail), BROAD, 0)
        lay(0.88 * calm * smoothstep(0.008, 0.035, texture), FINE, 1)
    lay(0.80 * scene.skin, SOFT, 2)
    return canvas


def _graded(canvas: Array, scene: Scene, look_name: str) -> Array:
    """The canvas in the colours of the look."""
    look = LOOKS[look_name]
    steps = look.quantise * (1 - scene.skin) * (1 - 0.8 * scene.sky.mask)
    steps = steps * smoothstep(0.006, 0.03, scene.flow.energy)
    # Hair belongs to the person too: the neighbourhood of skin takes the mild palette.
    reach = max(1, int(0.05 * max(scene.small_skin.shape)))
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    people = grow_to(np.clip(blur(cv2.dilate(scene.small_skin, near), 0.6 * reach), 0, 1), canvas.shape)
    lamps_from = _lamps_from(scene) if look.dark else 1.0
    plain, mild = palette(look_name, False, lamps_from), palette(look_name, True, lamps_from)
    return grade(canvas, steps.astype(np.float32), people, plain, mild)


def _lamps_from(scene: Scene) -> float:
    """The OKLab lightness above which warm colours are lamps at night; 1 where nothing should be lit.

    Under a blue sky bright warm walls are lit. In a photograph that was taken at night even dim lights are real.
    With people near and no sky, nothing is lit, or faces would glow.
    """
    if float(np.median(scene.toned)) < 0.22:
        return 0.42
    outdoors = scene.sky.blue_share > 0.12 and scene.skin_share < 0.45
    return 0.66 if outdoors or scene.skin_share < 0.04 else 1.0


def _inked(canvas: Array, line: Array, look: Look) -> Array:
    """Lines in a darker tone of what lies under them, never black."""
    ink = 0.30 * canvas + 0.45 * np.array(look.ink, np.float32)
    return canvas + (look.line * line)[..., None] * (ink - canvas)
