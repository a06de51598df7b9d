"""Where settings come from beside single variables: the Hub's tokens in their three forms. Called by `settings`."""

from __future__ import annotations

import re
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

_NUMBERED = re.compile(r"hugging_face_token_(\d+)")


def variables_of(name: str, field: FieldInfo) -> list[str]:
    """The variables that a setting is read from: its documented name, then the older ones."""
    alias = field.validation_alias
    return [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [name.upper()]


class HubTokens(PydanticBaseSettingsSource):
    """HUGGING_FACE_TOKENS (a comma list), HUGGING_FACE_TOKEN_1, _2 … and HUGGING_FACE_TOKEN, added up, each once.

    A variable of the environment replaces the line of `.env` that has the same name, as for every other setting.
    """

    def __init__(self, settings_class: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        """Read from these sources, the one that wins first."""
        super().__init__(settings_class)
        self._variables: dict[str, str] = {}
        for source in reversed(sources):
            if isinstance(source, EnvSettingsSource):
                present = {name: value for name, value in source.env_vars.items() if value}
                self._variables.update({name.lower(): value for name, value in present.items()})

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One field's value, as the base class asks for it."""
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """The one field that this source knows, when there is any token."""
        numbered = sorted(
            (int(match[1]), value) for name, value in self._variables.items() if (match := _NUMBERED.fullmatch(name))
        )
        listed = self._variables.get("hugging_face_tokens", "").split(",")
        single = self._variables.get("hugging_face_token", "")
        tokens = [token.strip() for token in (*listed, *(value for _number, value in numbered), single)]
        unique = tuple(dict.fromkeys(token for token in tokens if token))
        return {"hugging_face_tokens": unique} if unique else {}
