"""Every language says everything: catalogues are held against the sources, compiled catalogues against them."""

import io
import json
import re
import shutil
from collections import Counter
from datetime import date
from functools import lru_cache
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po
from flask import Flask
from flask_babel import format_date, gettext

from ghibli_flask import i18n
from ghibli_flask.error_handlers import HTTP_REFUSALS, OTHER_REFUSAL
from ghibli_flask.errors import TASK_FAILURES, AppError
from ghibli_flask.schemas import FIELD_RULES
from ghibli_flask.styles import STYLES
from ghibli_flask.validation_words import SENTENCES
from jobs.letters import SUBJECTS
from tests.docs.project import DOCS, ROOT

FOLDERS = sorted(path.parent.parent.name for path in i18n.TRANSLATIONS.glob("*/LC_MESSAGES/messages.po"))
EACH = pytest.mark.parametrize("code", FOLDERS)
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}
FEWEST_WAITING_MESSAGES = 8

PATTERN_OF_DATES = re.compile(r"[dMyHm ,.:]+")
PLACEHOLDER = re.compile(r"%\((\w+)\)[sd]|%%|(?<![%\w])\{(\w+)\}")
"""A place that is filled in: %(name)s by the server, {name} by a script; %% is a percent sign."""


@lru_cache(maxsize=1)
def said() -> dict[str, str | tuple[str, str]]:
    """Every text of the sources by its singular, as `make translations` finds it."""
    with (ROOT / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file, "babel.cfg")
    found = extract_from_dir(ROOT, methods, options, keywords=KEYWORDS)
    return {text if isinstance(text, str) else text[0]: text for _file, _line, text, _comments, _context in found}


@lru_cache
def catalogue(code: str) -> Catalog:
    """The catalogue of a language as translators edit it."""
    with catalogue_path(code).open("rb") as file:
        return read_po(file, locale=code)


def catalogue_path(code: str) -> Path:
    """Where the catalogue of a language lies."""
    return i18n.TRANSLATIONS / code / "LC_MESSAGES" / "messages.po"


def messages(code: str) -> list[Message]:
    """The entries of a catalogue without its head."""
    return [message for message in catalogue(code) if message.id]


def places(text: str) -> Counter[str]:
    """What is filled in, and how often."""
    return Counter(match.group() for match in PLACEHOLDER.finditer(text))


def test_languages_are_the_folders() -> None:
    """Every folder with a catalogue is offered, English first; Chinese is one of them."""
    assert ("en", *FOLDERS) == i18n.LOCALES
    assert "zh" in FOLDERS


@EACH
def test_everything_is_translated(code: str) -> None:
    """Every text of the sources has a translation that is not fuzzy, and none stays for a text that is gone."""
    held = {message.id if isinstance(message.id, str) else message.id[0]: message for message in messages(code)}
    assert sorted(set(said()) - set(held)) == [], "run `make translations`"
    assert sorted(set(held) - set(said())) == [], "run `make translations`"
    assert not catalogue(code).obsolete
    for singular, text in said().items():
        entry = held[singular]
        assert entry.id == text, "run `make translations`"
        assert not entry.fuzzy, singular
        strings = [entry.string] if isinstance(entry.string, str) else entry.string
        assert all(part.strip() for part in strings), singular


@EACH
def test_plural_forms_are_those_of_the_language(code: str) -> None:
    """The head names the plural rule of the language, and every counted text has as many forms."""
    rule = get_plural(code)
    assert (catalogue(code).num_plurals, catalogue(code).plural_expr) == (rule.num_plurals, rule.plural_expr)
    for message in messages(code):
        if message.pluralizable:
            assert len(message.string) == rule.num_plurals, message.id


@EACH
def test_placeholders_are_equal(code: str) -> None:
    """What is filled into a text is filled into its translation; only a number may be said in a word."""
    for message in messages(code):
        if message.pluralizable:
            wanted = places(message.id[1])
            for form in message.string:
                assert places(form) | Counter(["%(num)s"]) == wanted | Counter(["%(num)s"]), message.id
        else:
            assert places(message.string) == places(message.id), message.id


@EACH
def test_compiled_catalogues_are_up_to_date(code: str) -> None:
    """The compiled form that the site reads is what the catalogue compiles to: a fresh clone speaks every language."""
    compiled = io.BytesIO()
    write_mo(compiled, catalogue(code))
    assert catalogue_path(code).with_suffix(".mo").read_bytes() == compiled.getvalue(), "run `make translations`"


def test_marked_tables_are_found() -> None:
    """Errors, failures, styles, rules of fields and subjects of mails are among the texts that are translated."""
    leaves = {AppError, *all_below(AppError)}
    told = {text for leaf in leaves for text in (leaf.title, leaf.default_detail)}
    told |= {text for pair in (*HTTP_REFUSALS.values(), OTHER_REFUSAL) for text in pair}
    told |= {text for style in STYLES.values() for text in (style.name, style.description)}
    told |= {*TASK_FAILURES.values(), *FIELD_RULES.values(), *SENTENCES.values(), *SUBJECTS.values()}
    assert sorted(told - set(said())) == []


def all_below(leaf: type[AppError]) -> set[type[AppError]]:
    """Every error under this one."""
    return {below for child in leaf.__subclasses__() for below in (child, *all_below(child))}


def test_waiting_messages_are_written_in_every_language() -> None:
    """Each language has at least eight waiting messages, all different, and there are none without a language."""
    written = json.loads((ROOT / "ghibli_flask/waiting_messages.json").read_text())
    assert set(written) == set(i18n.LOCALES)
    for code, told in written.items():
        assert len(set(told)) == len(told) >= FEWEST_WAITING_MESSAGES, code


HALF_WIDTH = re.compile(r"[一-鿿][,;:!?.](?:\s|$)|[一-鿿]\(")


def test_chinese_is_set_as_chinese() -> None:
    """Chinese has full-width punctuation, says 你 throughout, and a blank between Chinese and Latin letters."""
    for message in messages("zh"):
        if PATTERN_OF_DATES.fullmatch(str(message.id)):  # Its letters are no words.
            continue
        text = message.string if isinstance(message.string, str) else message.string[0]
        assert not HALF_WIDTH.search(text), text
        assert "您" not in text, text
        assert "！" not in text, text
        words = PLACEHOLDER.sub("", text)
        assert not re.search(r"[一-鿿][A-Za-z0-9]|[A-Za-z0-9][一-鿿]", words), text


def test_a_third_language_takes_no_code(tmp_path: Path) -> None:
    """A folder with a catalogue is a language, called what its speakers call it; the page tells how to add one."""
    shutil.copytree(i18n.TRANSLATIONS / "zh", tmp_path / "pt_BR")
    assert i18n.found_in(tmp_path) == ("en", "pt_BR")
    assert i18n.own_name("pt_BR").startswith("Português")
    assert i18n.own_name("zh") == "中文"
    page = (DOCS / "translate.md").read_text()
    for word in ("make translations NEW=", "waiting_messages.json", "ghibli_flask/translations/"):
        assert word in page


def test_dates_are_written_by_the_language(app: Flask) -> None:
    """The patterns of dates are translated, so the same day reads as each language writes it."""
    with app.test_request_context(headers={"Accept-Language": "zh-CN"}):
        assert format_date(date(2031, 3, 4), gettext("d MMMM yyyy")) == "2031年3月4日"
