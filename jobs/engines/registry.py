"""Which engines exist, and how one is made of its options; called by the worker and by the command-line checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from jobs.engines.base import Engine
from jobs.engines.gradio import GradioEngine


@dataclass(frozen=True)
class EngineOptions:
    """What the engines need to know, read from the settings by whoever builds them."""

    temp_dir: Path
    """An existing folder for files that live as long as one call."""

    gradio_url: str
    gradio_api_name: str = "/single_condition_generate_image"
    gradio_token_hosts: tuple[str, ...] = ("*.hf.space", "huggingface.co")
    max_result_bytes: int = 32 * 1024 * 1024


def _gradio(options: EngineOptions) -> Engine:
    return GradioEngine(
        options.gradio_url,
        options.gradio_api_name,
        options.gradio_token_hosts,
        options.temp_dir,
        options.max_result_bytes,
    )


BUILDERS: dict[str, Callable[[EngineOptions], Engine]] = {"gradio": _gradio}


def build_engines(names: Iterable[str], options: EngineOptions) -> tuple[Engine, ...]:
    """The engines of these names, in this order. Raises KeyError for a name that there is none of."""
    return tuple(BUILDERS[name](options) for name in names)
