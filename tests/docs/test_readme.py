"""README in both languages: the same parts, commands, names and links; and a way from it to every page of docs/."""

import re
from pathlib import Path

from tests.docs.project import DOCS, ROOT, code_words, links, name_of, prose

ENGLISH = (ROOT / "README.md").read_text()
CHINESE = (ROOT / "README.zh-CN.md").read_text()


def levels(page: str) -> list[int]:
    """The levels of a page's headings, in order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(page), re.MULTILINE)]


def in_english(link: str) -> str:
    """A link of the Chinese page as the English one has it."""
    return link.replace("troubleshooting.zh-CN.md", "troubleshooting.md")


def parts(page: str) -> list[str]:
    """A page cut at its headings."""
    return re.split(r"^#+ .*$", page, flags=re.MULTILINE)


def test_both_have_the_same_headings() -> None:
    """The Chinese page has as many headings as the English one, in the same order and of the same levels."""
    assert levels(ENGLISH) == levels(CHINESE)


def test_both_have_the_same_commands() -> None:
    """What is given to type is the same in both, letter for letter and under the same headings."""
    typed = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    assert [typed.findall(part) for part in parts(CHINESE)] == [typed.findall(part) for part in parts(ENGLISH)]


def test_both_name_and_link_the_same() -> None:
    """Under each heading both name the same settings, folders and commands, and link to the same pages."""
    for english, chinese in zip(parts(ENGLISH)[2:], parts(CHINESE)[2:], strict=True):
        assert sorted(code_words(prose(chinese))) == sorted(code_words(prose(english)))
        assert sorted(in_english(link) for link in links(chinese)) == sorted(links(english))


def test_both_draw_the_same_picture() -> None:
    """The picture of the way of an order has the same boxes and arrows in both."""
    drawn = [re.search(r"^```mermaid\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1] for page in (ENGLISH, CHINESE)]
    without_words = [re.sub(r"\(\[.*?\]\)|\[\(.*?\)\]|\[.*?\]|\".*?\"|(?<=-- )\S+(?= -->)", "", page) for page in drawn]
    assert without_words[0] == without_words[1]


def test_both_lead_to_each_other() -> None:
    """Whoever came to the wrong language finds the other one at the top."""
    assert "[中文](README.zh-CN.md)" in ENGLISH[:200]
    assert "[English](README.md)" in CHINESE[:200]


def test_every_page_is_reached_from_the_readme() -> None:
    """By links alone, from README on, one comes to every page of docs/."""
    found: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        found.add(page)
        targets = {
            (page.parent / link.partition("#")[0]).resolve() for link in links(page.read_text()) if "://" not in link
        }
        waiting += [target for target in targets if target.suffix == ".md" and target.is_file() and target not in found]
    assert {name_of(page) for page in set(DOCS.rglob("*.md")) - found} == set()
