"""Pages tell the operator's log about errors of their own scripts, and about nothing else."""

import json

from playwright.sync_api import Page, Route

BREAKS = """
for (let i = 0; i < 7; i += 1) setTimeout(() => { throw new TypeError(`part ${i} did not work`); }, 100);
Promise.reject(new RangeError("and a promise was broken"));
"""


def break_home(route: Route) -> None:
    """Put a broken script in place of the first page's own."""
    route.fulfill(content_type="text/javascript", body=BREAKS)


def test_a_broken_page_says_so_five_times(page: Page, page_problems: list[str]) -> None:
    """Errors and broken promises of our scripts are taken with their place, five a page, without the query."""
    page.route("**/js/home.js", break_home)
    taken: list[int] = []
    sent: list[dict[str, str]] = []
    page.on("response", lambda answer: "/api/monitor/error" in answer.url and taken.append(answer.status))
    page.on(
        "request",
        lambda asked: "/api/monitor/error" in asked.url and sent.append(json.loads(asked.post_data or "{}")),
    )
    page.goto("/?photo=of-ada")
    page.wait_for_load_state("networkidle")
    assert taken == [202] * 5
    errors = [body["error"] for body in sent]
    assert any(error.startswith("Unhandled RangeError: and a promise was broken (/static/") for error in errors)
    assert any("TypeError: part 0 did not work (/static/" in error and "/js/home.js:2:" in error for error in errors)
    assert {tuple(body) for body in sent} == {("error", "timestamp")}
    assert "of-ada" not in str(sent)
    assert len(page_problems) == 8, "The page's own errors are still seen by developers."
    page_problems.clear()


def test_errors_of_others_are_not_ours(page: Page, page_problems: list[str]) -> None:
    """What an extension or a pasted script breaks is reported to nobody."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/help")
    page.evaluate("setTimeout(() => { throw new Error('of somebody else'); })")
    page.evaluate("void Promise.reject('of somebody else')")
    page.evaluate("fetch('/health')")
    page.wait_for_load_state("networkidle")
    assert any(url.endswith("/health") for url in asked)
    assert not [url for url in asked if "monitor/error" in url]
    page_problems.clear()
