"""Which engines exist, and how one is made of its options; called by the worker and by the command-line checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ghibli_flask.mailbox import Mailbox
from jobs.engines.base import Engine
from jobs.engines.gradio import GradioEngine
from jobs.engines.kie import KieEngine
from jobs.engines.openai import OpenAIEngine
from jobs.engines.processor import ProcessorEngine


@dataclass(frozen=True)
class EngineOptions:
    """What the engines need to know, read from the settings by whoever builds them."""

    gradio_url: str
    gradio_api_name: str = "/single_condition_generate_image"
    gradio_token_hosts: tuple[str, ...] = ("*.hf.space", "huggingface.co")
    kie_model: str = "google/nano-banana-edit"
    kie_base_url: str = "https://api.kie.ai"
    kie_upload_url: str = "https://kieai.redpandaai.co"
    openai_model: str = "gpt-image-2"
    openai_base_url: str = "https://api.openai.com/v1"
    processor_url: str = ""
    mailbox: Mailbox | None = None
    """Where an outside processor's reports arrive."""

    max_result_bytes: int = 32 * 1024 * 1024


def _gradio(options: EngineOptions) -> Engine:
    return GradioEngine(
        options.gradio_url,
        options.gradio_api_name,
        options.gradio_token_hosts,
        options.max_result_bytes,
    )


def _kie(options: EngineOptions) -> Engine:
    return KieEngine(options.kie_model, options.kie_base_url, options.kie_upload_url, options.max_result_bytes)


def _openai(options: EngineOptions) -> Engine:
    return OpenAIEngine(options.openai_model, options.openai_base_url, options.max_result_bytes)


def _processor(options: EngineOptions) -> Engine:
    return ProcessorEngine(options.processor_url, options.mailbox, options.max_result_bytes)


BUILDERS: dict[str, Callable[[EngineOptions], Engine]] = {
    "gradio": _gradio,
    "kie": _kie,
    "openai": _openai,
    "processor": _processor,
}


def build_engines(names: Iterable[str], options: EngineOptions) -> tuple[Engine, ...]:
    """The engines of these names, in this order. Raises KeyError for a name that there is none of."""
    return tuple(BUILDERS[name](options) for name in names)
