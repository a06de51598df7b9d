"""The four looks: every number that differs between them, in one table. Read by all steps of the painter.

Colours are OKLCh triples (hue in degrees, lightness, chroma) or OKLab (a, b) shifts, as their names say; they were
found by looking at many photographs painted with them.
"""

from __future__ import annotations

from dataclasses import dataclass

HLC = tuple[float, float, float]
RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """One way to paint."""

    black: float
    """OKLab lightness of the darkest paint (0.17 is nearly black on the screen)."""
    white: float
    gamma: float
    saturation: float
    greens: float
    """How far greens move towards an anime background's: blue-green in the shade, yellow-green in the light."""
    sky: tuple[HLC, HLC, HLC]
    """Repainted sky at the top, in the middle and at the horizon."""
    cloud_light: HLC
    cloud_shade: HLC
    sky_mix: float
    """How much of the sky is repainted, from 0 to 1."""
    shadow: tuple[float, float]
    """Added to (a, b) in the shadows."""
    highlight: tuple[float, float]
    """Added to (a, b) in the lights."""
    middle: tuple[float, float]
    """Added to (a, b) in the middle tones."""
    bloom: float
    bloom_tint: RGB
    bloom_from: float
    """Luma above which things glow."""
    line: float
    """Opacity of the drawn lines."""
    ink: RGB
    quantise: float
    """How strongly tones fall into soft steps."""
    paper: float
    """Amplitude of the paper's grain."""
    coarse_radius: int = 5
    """Radius of the broad Kuwahara filter, in pixels of the half-size picture."""
    keeps_bright_skies: bool = True
    """Leave pink and faint skies, which are real sunsets and haze, mostly alone."""
    wet: bool = False
    """Watercolour: no opaque dabs, but pigment turbulence, dark rims and an unpainted margin."""
    dark: bool = False
    """Night: everything moves to blue except what shines."""
    sun: bool = False
    """A low sun glows near the horizon."""


LOOKS = {
    "meadow": Look(
        black=0.17,
        white=0.99,
        gamma=0.92,
        saturation=1.22,
        greens=1.0,
        sky=((246, 0.62, 0.135), (232, 0.80, 0.085), (205, 0.945, 0.03)),
        cloud_light=(85, 0.985, 0.012),
        cloud_shade=(285, 0.82, 0.035),
        sky_mix=0.60,
        shadow=(-0.006, -0.034),
        highlight=(0.002, 0.014),
        middle=(0.0, 0.0),
        bloom=0.30,
        bloom_tint=(1.0, 0.96, 0.86),
        bloom_from=0.72,
        line=0.62,
        ink=(0.20, 0.14, 0.20),
        quantise=0.35,
        paper=0.010,
    ),
    "golden": Look(
        black=0.18,
        white=0.985,
        gamma=1.0,
        saturation=1.15,
        greens=0.45,
        sky=((275, 0.58, 0.085), (25, 0.80, 0.08), (78, 0.93, 0.09)),
        cloud_light=(72, 0.95, 0.065),
        cloud_shade=(335, 0.70, 0.07),
        sky_mix=0.75,
        shadow=(0.018, -0.045),
        highlight=(0.020, 0.062),
        middle=(0.010, 0.026),
        bloom=0.55,
        bloom_tint=(1.0, 0.84, 0.58),
        bloom_from=0.72,
        line=0.60,
        ink=(0.26, 0.12, 0.18),
        quantise=0.35,
        paper=0.010,
        keeps_bright_skies=False,
        sun=True,
    ),
    "night": Look(
        black=0.13,
        white=0.92,
        gamma=1.10,
        saturation=1.0,
        greens=0.35,
        sky=((270, 0.27, 0.095), (260, 0.40, 0.11), (228, 0.64, 0.075)),
        cloud_light=(245, 0.74, 0.045),
        cloud_shade=(265, 0.45, 0.085),
        sky_mix=0.86,
        shadow=(-0.004, -0.055),
        highlight=(-0.002, -0.02),
        middle=(0.0, 0.0),
        bloom=0.75,
        bloom_tint=(1.0, 0.86, 0.60),
        bloom_from=0.50,
        line=0.50,
        ink=(0.05, 0.06, 0.16),
        quantise=0.30,
        paper=0.010,
        keeps_bright_skies=False,
        dark=True,
    ),
    "watercolour": Look(
        black=0.30,
        white=0.995,
        gamma=0.80,
        saturation=1.12,
        greens=0.70,
        sky=((242, 0.74, 0.085), (228, 0.86, 0.055), (205, 0.96, 0.02)),
        cloud_light=(85, 0.985, 0.008),
        cloud_shade=(285, 0.88, 0.02),
        sky_mix=0.50,
        shadow=(-0.002, -0.028),
        highlight=(0.002, 0.010),
        middle=(0.0, 0.0),
        bloom=0.12,
        bloom_tint=(1.0, 0.97, 0.92),
        bloom_from=0.72,
        line=0.55,
        ink=(0.30, 0.24, 0.26),
        quantise=0.45,
        paper=0.035,
        coarse_radius=6,
        wet=True,
    ),
}
