"""docs/metrics.md, the alert rules and the dashboard speak of the figures that there are, and the alerts work."""

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from flask import Flask
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ghibli_flask import metrics, queueing
from ghibli_flask.metrics import COUNTED, Counter
from ghibli_flask.services import figures, repair
from ghibli_flask.services.service_levels import ENOUGH_TO_JUDGE, LEVELS
from tests.support.checkout import ROOT
from tests.support.server import find_program

PAGE = (ROOT / "docs/metrics.md").read_text()
RULES_FOLDER = ROOT / "deploy/prometheus"
RULES = yaml.safe_load((RULES_FOLDER / "ghibli.rules.yml").read_text())
RULE_TESTS = yaml.safe_load((RULES_FOLDER / "ghibli.rules.test.yml").read_text())
DASHBOARD = json.loads((ROOT / "deploy/grafana/ghibli.json").read_text())

ROW = re.compile(r"^\| `(ghibli_\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)
SELECTED = re.compile(r"\b(ghibli_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*[=!]~?\s*"')


@pytest.fixture
def families(app_factory: Callable[..., Flask]) -> list[Metric]:
    """An exposition in which every figure has something to show."""
    app = app_factory(hugging_face_tokens=("hf_abcdefghijklmnop1234",))
    with app.app_context():
        for metric in COUNTED:
            values = ["word"] * len(metric.labels)
            if isinstance(metric, Counter):
                metrics.count(metric, *values)
            else:
                metrics.observe(metric, 0.3, *values)
        metrics.send_counts()
        repair.sweep()
        queueing.tell_load("one", 8, 3, [1.0], ["gradio"])
        return list(text_string_to_metric_families(figures.exposition().decode()))


def name_of(family: Metric) -> str:
    """A family's name as it stands in the exposition."""
    return f"{family.name}_total" if family.type == "counter" else str(family.name)


def labels_of(family: Metric) -> set[str]:
    """The labels of a family's samples."""
    return {label for sample in family.samples for label in sample.labels} - {"le"}


def documented() -> dict[str, tuple[str, set[str]]]:
    """The kind and the labels of each metric of the page's tables."""
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in ROW.findall(PAGE)}


def expressions() -> list[str]:
    """Every PromQL expression of the rules and of the dashboard."""
    rules = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    return rules + [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def alerts() -> set[str]:
    """The names of the alerts."""
    return {rule["alert"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}


def test_the_tables_are_the_exposition(families: list[Metric]) -> None:
    """Each metric stands in a table of the page with its kind and its labels, and nothing else does."""
    shown = {name_of(family): (family.type, labels_of(family)) for family in families}
    unlike = {name: (shown.get(name), documented().get(name)) for name in shown.keys() | documented().keys()}
    # Without a second store nothing can fall back, so this family has no sample here.
    assert documented()["ghibli_storage_fallbacks_total"] == ("counter", {"wanted", "taken"})
    unlike.pop("ghibli_storage_fallbacks_total")
    assert {name: pair for name, pair in unlike.items() if pair[0] != pair[1]} == {}


def test_names_follow_the_conventions(families: list[Metric]) -> None:
    """Our prefix, base units, `_total` for counters and for nothing else, and words for each."""
    for family in families:
        name = name_of(family)
        assert re.fullmatch(r"ghibli_[a-z_]+", name), name
        assert name.endswith("_total") == (family.type == "counter"), name
        assert family.documentation.endswith("."), name
        assert not re.search(r"_(ms|millis|minutes|percent)\b", name), name


def test_rules_and_dashboard_ask_for_what_there_is() -> None:
    """Every metric and label that an expression names is one of the page's, so of the exposition."""
    known = documented()
    for expression in expressions():
        for name, matchers in SELECTED.findall(expression):
            base = re.sub(r"_(bucket|sum|count)$", "", name) if name not in known else name
            assert base in known, expression
            assert set(MATCHER.findall(matchers)) <= known[base][1], expression


def test_every_part_is_on_the_dashboard() -> None:
    """Each level has a panel, each recorded series is used, and each metric is drawn, so none is kept for nobody."""
    asked = "\n".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", []))
    assert set(re.findall(r'level="(\w+)"', asked)) == set(LEVELS)
    unseen = {name for name in documented() if not re.search(rf"\b{name}", asked)}
    # These two are in the rules, of which the dashboard draws the outcome.
    assert unseen == {"ghibli_service_level_checks_total", "ghibli_service_level_goal_ratio"}
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "datasource" in panel} == {"${datasource}"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_the_levels_are_told_as_they_are() -> None:
    """The page's table of levels has the goals of the code, and the rules want as many events to judge."""
    told = dict(re.findall(r"^\| `(\w+)` \|.*\| (\d+) % \|$", PAGE, re.MULTILINE))
    assert told == {rule.key: f"{rule.goal * 100:.0f}" for rule in LEVELS.values()}
    assert f"fewer than {ENOUGH_TO_JUDGE} events" in PAGE
    assert f"increase24h >= {ENOUGH_TO_JUDGE}" in (RULES_FOLDER / "ghibli.rules.yml").read_text()


def test_every_alert_is_described_and_proved() -> None:
    """The page says what to do about each alert, and the rules' tests let each one fire."""
    assert set(re.findall(r"^\| `(Ghibli\w+)` \|", PAGE, re.MULTILINE)) == alerts()
    cases: list[dict[str, Any]] = [case for test in RULE_TESTS["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts()


@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "ghibli.rules.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("test", "rules", "ghibli.rules.test.yml"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_promtool_agrees(words: tuple[str, ...]) -> None:
    """Prometheus' own tool finds the rules and the example right, and each alert fires when it should."""
    promtool = find_program("promtool", package="prometheus")
    done = subprocess.run([promtool, *words], cwd=RULES_FOLDER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
