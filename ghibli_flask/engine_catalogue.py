"""What the web side needs to know of the engines: their modes, the sizes they paint, whether one is configured.

A pure table. The engines themselves live in `jobs.engines`, which the web side never imports; a test holds this
table against their registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What an order starts from."""

    IMAGE_TO_IMAGE = "image-to-image"
    TEXT_TO_IMAGE = "text-to-image"


@dataclass(frozen=True)
class EngineFacts:
    """One engine: the modes it can work in and the sides (pixels) that it accepts."""

    name: str
    modes: frozenset[Mode]
    smallest_side: int
    largest_side: int


ENGINES: dict[str, EngineFacts] = {
    facts.name: facts
    for facts in (
        EngineFacts("gradio", frozenset({Mode.IMAGE_TO_IMAGE}), 256, 1024),
        EngineFacts("kie", frozenset(Mode), 256, 1024),
        # OpenAI paints nothing longer than 3:1, and these bounds keep every shape below it.
        EngineFacts("openai", frozenset(Mode), 352, 1024),
        EngineFacts("processor", frozenset({Mode.IMAGE_TO_IMAGE}), 256, 1024),
    )
}


def available_modes(engines: Iterable[str]) -> frozenset[Mode]:
    """Every mode that at least one of these configured engines can work in."""
    return frozenset(mode for name in engines for mode in ENGINES[name].modes)
