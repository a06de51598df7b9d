"""The looks that a visitor can choose, each with the prompt that an engine is given.

A pure table, read by the pages, the API and the engines. A prompt's trigger words always lead: the model behind
the default Space was trained on them, and a visitor's own words are only added after them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghibli_flask.errors import FieldError, InvalidFields, _

TRIGGER_WORDS = "Ghibli Studio style, Charming hand-drawn anime-style illustration"
DEFAULT_STYLE = "ghibli"


@dataclass(frozen=True)
class Style:
    """One look: its key on the wire, what people read, and what an engine reads."""

    key: str
    name: str
    description: str
    prompt: str

    def prompt_with(self, words: str) -> str:
        """The style's own prompt, then the visitor's words if there are any."""
        return f"{self.prompt}, {words.strip()}" if words.strip() else self.prompt


STYLES: dict[str, Style] = {
    style.key: style
    for style in (
        Style("ghibli", _("Meadow light"), _("Clear summer air, deep greens, tall clouds"), TRIGGER_WORDS),
        Style(
            "golden",
            _("Golden hour"),
            _("Low warm sun, long shadows, honey on everything"),
            f"{TRIGGER_WORDS}, golden hour, low warm sunlight, long soft shadows, glowing haze",
        ),
        Style(
            "night",
            _("Summer night"),
            _("Deep blue, a few stars, lamps in the windows"),
            f"{TRIGGER_WORDS}, summer night, deep blue sky with stars, warm lamplight",
        ),
        Style(
            "watercolour",
            _("Watercolour"),
            _("Thin washes on paper, soft edges, much light"),
            f"{TRIGGER_WORDS}, loose watercolour on textured paper, soft edges, pale washes",
        ),
    )
}


def style_within(prompt: str) -> tuple[Style, str]:
    """The style whose own prompt leads this complete one, and the words after it; the default when none does."""
    for style in sorted(STYLES.values(), key=lambda style: len(style.prompt), reverse=True):
        if prompt == style.prompt:
            return style, ""
        if prompt.startswith(f"{style.prompt}, "):
            return style, prompt.removeprefix(f"{style.prompt}, ")
    return STYLES[DEFAULT_STYLE], prompt


def style_named(key: str) -> Style:
    """The style of this key; raises InvalidFields when there is none."""
    try:
        return STYLES[key]
    except KeyError:
        raise InvalidFields(
            fields=(FieldError("style", _("There is no such style. See /api/styles for those that exist.")),)
        ) from None
