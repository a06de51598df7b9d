"""The routes, docs/api.md, the OpenAPI document and the page that shows it are about the same interface."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ghibli_flask import errors
from tests.docs.project import DOCS, code_words, table_rows

# Every route of the application. A new one is added here, in docs/api.md and, below /api, as a declaration.
PAGES = {
    "GET /",
    "POST /paint",
    "POST /shared-photo",
    "GET /manifest.webmanifest",
    "GET /service-worker.js",
    "GET /offline",
    "GET /robots.txt",
    "GET /sitemap.xml",
    "GET /tasks/{task_id}",
    "POST /tasks/{task_id}/cancel",
    "POST /tasks/{task_id}/retry",
    "POST /tasks/{task_id}/wish",
    "POST /tasks/{task_id}/rating",
    "POST /tasks/{task_id}/delete",
    "GET /account",
    "GET /account/credits",
    "POST /account/profile",
    "POST /language",
    "POST /account/password",
    "POST /account/sessions/{public_id}/end",
    "POST /account/sessions/end-all",
    "POST /account/export",
    "GET /account/export",
    "GET /account/delete",
    "POST /account/delete",
    "GET /auth/signin",
    "POST /auth/signin",
    "GET /auth/signup",
    "POST /auth/signup",
    "POST /auth/signout",
    "GET /auth/forgot",
    "POST /auth/forgot",
    "GET /auth/confirm/{token}",
    "POST /auth/confirm/{token}",
    "GET /auth/reset/{token}",
    "POST /auth/reset/{token}",
    "GET /auth/mails",
    "GET /auth/google",
    "GET /api/auth/callback/google",
    "GET /auth/bind-google/{token}",
    "POST /auth/bind-google/{token}",
    "GET /auth/error",
    "GET /admin/",
    "GET /admin/ui/tasks",
    "GET /admin/ui/tasks/{task_id}",
    "POST /admin/ui/tasks/{task_id}/look",
    "GET /admin/ui/tasks/{task_id}/{deed}",
    "POST /admin/ui/tasks/{task_id}/{deed}",
    "GET /admin/ui/flags",
    "POST /admin/ui/flags/{name}",
    "GET /admin/ui/queues",
    "GET /admin/ui/users",
    "GET /admin/ui/users/{user_id}",
    "POST /admin/ui/users/{user_id}/block",
    "POST /admin/ui/users/{user_id}/balance",
    "GET /admin/ui/audit",
    "GET /pictures",
    "GET /pictures/download",
    "GET /pictures/delete",
    "POST /pictures/delete",
    "GET /gallery",
    "GET /share/{share_id}",
    "GET /share/{share_id}/picture",
    "GET /share/{share_id}/thumbnail",
    "GET /share/{share_id}/card",
    "GET /share/{share_id}/original",
    "POST /tasks/{task_id}/share",
    "POST /share/{share_id}/change",
    "POST /share/{share_id}/revoke",
    "POST /share/{share_id}/report",
    "GET /admin/ui/shares",
    "GET /admin/ui/shares/{share_id}/thumbnail",
    "POST /admin/ui/shares/{share_id}/hide",
    "POST /admin/ui/shares/{share_id}/restore",
    "POST /admin/ui/shares/{share_id}/approve",
    "GET /privacy-policy",
    "GET /terms-of-service",
    "GET /cookie-policy",
    "GET /help",
}
REFERENCE = {
    "GET /api/docs",
    "GET /api/openapi.json",
}
CALLS = {
    "GET /admin/tasks",
    "POST /admin/tasks/{task_id}/fail",
    "POST /admin/tasks/{task_id}/retry",
    "POST /admin/tasks/{task_id}/refund",
    "POST /api/generate-image",
    "POST /api/transform-ghibli",
    "GET /api/poll-task",
    "GET /api/transform-ghibli/check/{task_id}",
    "POST /api/transform-ghibli/check/{task_id}",
    "POST /api/tasks/{task_id}/cancel",
    "POST /api/tasks/{task_id}/retry",
    "POST /api/tasks/{task_id}/rating",
    "DELETE /api/tasks/{task_id}",
    "GET /api/image/{task_id}",
    "GET /api/image/{task_id}/thumbnail",
    "GET /api/image/{task_id}/original",
    "GET /api/user-credits",
    "POST /api/user-credits",
    "POST /process/{task_id}",
    "POST /progress/{task_id}",
    "POST /api/transform-ghibli/progress/{task_id}",
    "GET /api/token-status",
    "POST /api/share",
    "PATCH /api/share/{share_id}",
    "DELETE /api/share/{share_id}",
    "POST /api/share/{share_id}/report",
    "GET /api/tasks",
    "POST /api/upload-image",
    "GET /api/upload/{upload_id}",
    "GET /api/share/list",
    "GET /api/share/monitor",
    "GET /api/styles",
    "GET /api/csrf",
    "GET /api/health",
    "GET /api/test-env",
    "GET /metrics",
    "POST /api/monitor/error",
    "GET /health",
}

# JSON Schema 2020-12, as far as declarations may use it. An unknown word would be ignored by every reader.
SCHEMA_WORDS = {
    "$ref", "additionalProperties", "allOf", "anyOf", "const", "default", "description", "enum", "examples",
    "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maximum", "minItems",
    "minLength", "minimum", "oneOf", "pattern", "prefixItems", "properties", "required", "title", "type",
}  # fmt: skip
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
def document(client: FlaskClient) -> Any:
    """The OpenAPI document as clients get it."""
    return client.get("/api/openapi.json").json


def operations(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation under its method and path."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    """Each schema below a node, those inside of others included."""
    if isinstance(node, dict):
        for name, child in node.items():
            if name == "schema":
                yield from parts(child)
            else:
                yield from schemas(child)
    elif isinstance(node, list):
        for child in node:
            yield from schemas(child)


def parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and the schemas that it is made of."""
    yield schema
    inner = [*schema.get("properties", {}).values()]
    for word in ("anyOf", "allOf", "oneOf", "prefixItems"):
        inner += schema.get(word, [])
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            inner.append(schema[word])
    for child in inner:
        yield from parts(child)


def every_schema(document: Any) -> list[dict[str, Any]]:
    """All schemas of a document, named and unnamed."""
    named = document["components"]["schemas"].values()
    return [*schemas(document["paths"]), *(part for schema in named for part in parts(schema))]


def test_routes_are_the_written_ones(app: Flask) -> None:
    """The application answers exactly the calls that are written above."""
    routes = {
        f"{method} {written(rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static"
    }
    assert routes == PAGES | REFERENCE | CALLS


def written(rule: str) -> str:
    """A rule of Flask's as OpenAPI writes it: `<task_id>` as `{task_id}`."""
    return re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule)


def test_document_describes_every_call(document: Any) -> None:
    """The OpenAPI document describes every call for programs, and no page."""
    assert {name for name, _ in operations(document)} == CALLS


def test_page_of_the_docs_lists_every_call() -> None:
    """docs/api.md lists every call in its table and every page in the line below it."""
    text = (DOCS / "api.md").read_text()
    assert {code_words(row[0])[0] for row in table_rows(text, "call")} == CALLS | REFERENCE
    assert set(code_words(re.search(r"^Pages: (.*)$", text, re.MULTILINE)[1])) == PAGES


def test_page_of_the_docs_lists_every_refusal() -> None:
    """docs/api.md lists every failure that a caller may meet, with its status and its code."""
    leaves = {(str(cls.status), cls.code) for cls in vars(errors).values() if is_app_error(cls)}
    rows = table_rows((DOCS / "api.md").read_text(), "status")
    assert {(row[0], code_words(row[1])[0]) for row in rows} == leaves


def is_app_error(value: object) -> bool:
    """Whether this is one of the classes of errors.py."""
    return isinstance(value, type) and issubclass(value, errors.AppError)


def test_document_is_of_version_3_1(document: Any) -> None:
    """The document says that it is OpenAPI 3.1, has a title and a version, and names each tag once."""
    assert document["openapi"].startswith("3.1.")
    assert document["info"].keys() >= {"title", "version"}
    names = [tag["name"] for tag in document["tags"]]
    assert len(names) == len(set(names))
    assert {tag for _, operation in operations(document) for tag in operation["tags"]} == set(names)


def test_operations_are_whole(document: Any) -> None:
    """Each operation has an id of its own, a summary, a described answer, and a declaration of each path parameter."""
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for name, operation in operations(document):
        assert operation["summary"].endswith("."), name
        assert any(status.startswith("2") for status in operation["responses"]), name
        assert all(answer["description"] for answer in operation["responses"].values()), name
        declared = {item["name"] for item in operation["parameters"] if item["in"] == "path" and item["required"]}
        assert declared == set(re.findall(r"{(\w+)}", name)), name


def test_references_resolve(document: Any) -> None:
    """Every reference leads to a schema of the document, and every schema of the document is referred to."""
    told = {schema["$ref"] for schema in every_schema(document) if "$ref" in schema}
    present = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert told - present == set()
    # spectree enters the models of queries as schemas too, and writes them out as parameters.
    assert {name for name in present - told if not name.endswith("Query")} == set()


def test_schemas_use_known_words(document: Any) -> None:
    """Every word of a schema is one of JSON Schema, so that bounds reach those who read the document."""
    unknown = {word for schema in every_schema(document) for word in schema if word not in SCHEMA_WORDS}
    assert unknown == set()


class Page(HTMLParser):
    """What a page refers to, its scripts, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect addresses, ids and scripts."""
        values = dict(attrs)
        self.addresses += [value for name in ("href", "src", "action") if (value := values.get(name))]
        self.ids += [value] if (value := values.get("id")) else []
        if tag == "script":
            self.scripts.append(values)

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        self.words += data


@pytest.fixture
def page(client: FlaskClient) -> Page:
    """The reference as a browser gets it."""
    answer = client.get("/api/docs")
    assert answer.status_code == 200
    return Page(answer.text)


def test_reference_shows_every_call(page: Page, document: Any) -> None:
    """/api/docs shows each call with its method, its path and its summary, once in the list and once in full."""
    words = " ".join(page.words.split())
    for name, operation in operations(document):
        assert words.count(name) >= 2, name
        assert operation["summary"].replace("`", "") in words, name


def test_reference_shows_what_can_be_sent(page: Page, document: Any) -> None:
    """/api/docs shows the fields of each body, though the document only refers to them."""
    for name in ("OrderForm", "OrderJSON", "RetryJSON", "TaskAnswer", "AcceptedOrder", "Problem"):
        for field in document["components"]["schemas"][name]["properties"]:
            assert re.search(rf"\b{field}\b", page.words), f"{name}.{field}"


def test_reference_needs_no_script_and_no_stranger(page: Page) -> None:
    """/api/docs runs no script of its own, asks no other host for anything, and its inner links lead somewhere."""
    assert [script for script in page.scripts if script.get("type") != "application/json"] == []
    assert [address for address in page.addresses if not address.startswith(("/", "#"))] == []
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
