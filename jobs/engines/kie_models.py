"""The models that KIE_MODEL can name, as a table: what each calls its fields. `kie` builds and reads requests by it.

From docs.kie.ai/market, docs.kie.ai/4o-image-api and docs.kie.ai/flux-kontext-api, November 2026. KIE gives every
model fields of its own and has renamed models before, so a model that is not in the table is not guessed at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.engines.base import PaintRequest
from jobs.engines.instructions import instruction


@dataclass(frozen=True)
class Family:
    """One of KIE's interfaces: where a task is created and where its record is read, below the base address.

    `wraps_input` tells whether the model's fields stand in an object of their own, called `input`.
    """

    create_path: str
    record_path: str
    wraps_input: bool


MARKET = Family("/api/v1/jobs/createTask", "/api/v1/jobs/recordInfo", wraps_input=True)
FOUR_O = Family("/api/v1/gpt4o-image/generate", "/api/v1/gpt4o-image/record-info", wraps_input=False)
FLUX_KONTEXT = Family("/api/v1/flux/kontext/generate", "/api/v1/flux/kontext/record-info", wraps_input=False)

RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
FEWER_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "9:16", "16:9")


@dataclass(frozen=True)
class Model:
    """One model, or a pair of which one edits a picture and the other paints from words.

    `editing` and `from_words` are the names sent; None when the interface itself stands for the model. `image_field`
    takes the photograph's address, in a list if `image_is_list`. `ratio_field` takes one of `ratios`; for an edit it
    takes `editing_ratio` instead ("auto" keeps the photograph's shape), and is left out when that is None and
    `keeps_shape` is set. `others` are sent as they are.
    """

    family: Family
    editing: str | None
    from_words: str | None
    image_field: str
    ratio_field: str
    ratios: tuple[str, ...]
    image_is_list: bool = True
    editing_ratio: str | None = None
    keeps_shape: bool = False
    others: Mapping[str, Any] = field(default_factory=dict)

    def body(self, request: PaintRequest, image_url: str | None) -> dict[str, Any]:
        """What to send to `family.create_path` for this order, whose photograph is at `image_url`."""
        fields: dict[str, Any] = {"prompt": instruction(request), **self.others}
        if image_url is not None:
            fields[self.image_field] = [image_url] if self.image_is_list else image_url
        ratio = self._ratio(request, is_edit=image_url is not None)
        if ratio is not None:
            fields[self.ratio_field] = ratio
        name = self.from_words if image_url is None else self.editing
        if self.family.wraps_input:
            return {"model": name, "input": fields}
        return fields if name is None else {"model": name, **fields}

    def _ratio(self, request: PaintRequest, *, is_edit: bool) -> str | None:
        if is_edit and (self.keeps_shape or self.editing_ratio):
            return self.editing_ratio
        return nearest_ratio(request.width, request.height, self.ratios)


def _nano_banana_pro(name: str) -> Model:
    return Model(
        MARKET,
        name,
        name,
        "image_input",
        "aspect_ratio",
        RATIOS,
        editing_ratio="auto",
        others={"resolution": "1K", "output_format": "jpg"},
    )


def _flux_kontext(name: str) -> Model:
    return Model(
        FLUX_KONTEXT,
        name,
        name,
        "inputImage",
        "aspectRatio",
        ("1:1", "3:4", "4:3", "9:16", "16:9", "21:9"),
        image_is_list=False,
        keeps_shape=True,
        # The model reads English only.
        others={"outputFormat": "jpeg", "enableTranslation": True},
    )


_NANO_BANANA = Model(
    MARKET,
    "google/nano-banana-edit",
    "google/nano-banana",
    "image_urls",
    "image_size",
    RATIOS,
    editing_ratio="auto",
    others={"output_format": "jpeg"},
)
_GPT_IMAGE_2 = Model(
    MARKET,
    "gpt-image-2-image-to-image",
    "gpt-image-2-text-to-image",
    "input_urls",
    "aspect_ratio",
    FEWER_RATIOS,
    editing_ratio="auto",
    others={"resolution": "1K"},
)

MODELS: Mapping[str, Model] = {
    "google/nano-banana-edit": _NANO_BANANA,
    "google/nano-banana": _NANO_BANANA,
    "nano-banana-pro": _nano_banana_pro("nano-banana-pro"),
    "nano-banana-2": _nano_banana_pro("nano-banana-2"),
    "gpt-image-2-image-to-image": _GPT_IMAGE_2,
    "gpt-image-2-text-to-image": _GPT_IMAGE_2,
    "gpt4o-image": Model(FOUR_O, None, None, "filesUrl", "size", ("1:1", "2:3", "3:2")),
    "flux-kontext-pro": _flux_kontext("flux-kontext-pro"),
    "flux-kontext-max": _flux_kontext("flux-kontext-max"),
}
"""Every value of KIE_MODEL. A pair stands under both its names: one setting serves both modes."""


def nearest_ratio(width: int, height: int, ratios: tuple[str, ...]) -> str:
    """The one of these ratios ("3:2") that a picture of these sides has to be cut least for."""

    def cut(ratio: str) -> float:
        across, down = ratio.split(":")
        offered, wished = int(across) / int(down), width / height
        return max(offered / wished, wished / offered)

    return min(ratios, key=cut)
