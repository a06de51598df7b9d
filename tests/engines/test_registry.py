"""The web side's table of engines against the engines themselves, which it must not import."""

import pytest

from ghibli_flask.engine_catalogue import ENGINES
from ghibli_flask.settings import Settings
from jobs.engines.kie_models import MODELS
from jobs.engines.registry import BUILDERS, EngineOptions, build_engines
from tests.docs.project import DOCS, code_words, table_rows


def test_the_catalogue_and_the_registry_name_the_same_engines() -> None:
    """An engine that can be ordered can be built, and the other way round."""
    assert ENGINES.keys() == BUILDERS.keys()


@pytest.mark.parametrize("name", BUILDERS)
def test_the_catalogue_tells_the_truth(name: str) -> None:
    """Each engine bears the name and has the modes that the web side counts on; building one connects to nothing."""
    [engine] = build_engines([name], EngineOptions("http://127.0.0.1:1", processor_url="http://127.0.0.1:1"))
    assert (engine.name, engine.modes) == (name, ENGINES[name].modes)
    engine.close()


def test_sides_can_be_sent() -> None:
    """The sides that an engine accepts are multiples of 16, as pictures are made for it."""
    for facts in ENGINES.values():
        assert facts.smallest_side % 16 == facts.largest_side % 16 == 0
        assert facts.smallest_side < facts.largest_side


def test_the_page_on_engines_tells_the_truth() -> None:
    """docs/engines.md has a row for each engine, with its sides, and names each model of KIE, and no others."""
    page = (DOCS / "engines.md").read_text()
    rows = {code_words(row[0])[0]: row[-1] for row in table_rows(page, "engine")}
    assert rows == {name: f"{facts.smallest_side} to {facts.largest_side:,}" for name, facts in ENGINES.items()}
    assert {name for row in table_rows(page, "`KIE_MODEL`") for name in code_words(row[0])} == set(MODELS)


def test_the_models_that_settings_name_first_are_known() -> None:
    """The default of KIE_MODEL is in the table, in the settings and in the registry alike."""
    defaults = Settings.model_fields["kie_model"].default, EngineOptions.kie_model
    assert defaults == ("google/nano-banana-edit",) * 2
    assert defaults[0] in MODELS
    assert Settings.model_fields["openai_model"].default == EngineOptions.openai_model
