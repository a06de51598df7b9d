"""What an editing model is told about a photograph; the `kie` and `openai` engines put it before the prompt."""

from __future__ import annotations

from jobs.engines.base import PaintRequest

_REDRAW = (
    "Redraw this photograph as a painting. Keep the composition, the people and everything in it where it is. "
    "Paint it in this style: "
)


def instruction(request: PaintRequest) -> str:
    """The prompt as a general model needs it.

    A prompt is a list of trigger words for a model that was trained on them. A model that was not paints a new
    picture from such a list unless it is told to keep the one that came along.
    """
    return request.prompt if request.image is None else _REDRAW + request.prompt
