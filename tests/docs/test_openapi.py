"""The OpenAPI document tells the truth about what the rules of the site add to every call."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from ghibli_flask import openapi
from ghibli_flask.schemas import WireModel
from tests.docs.test_interface import document, operations

__all__ = ["document"]


def shapes_in_use(document: Any) -> Iterator[str]:
    """The names of the shapes that bodies and answers are of."""
    for _, operation in operations(document):
        for part in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in part.get("content", {}).values():
                if "$ref" in content.get("schema", {}):
                    yield content["schema"]["$ref"].rsplit("/", 1)[1]


def test_every_shape_has_an_example(document: Any) -> None:
    """Each body and each answer has an example, and no example is of a shape that is no more."""
    assert set(shapes_in_use(document)) - set(openapi.EXAMPLES) == set()
    assert set(openapi.EXAMPLES) - set(document["components"]["schemas"]) == set()


@pytest.mark.parametrize("name", openapi.EXAMPLES)
def test_example_is_of_its_shape(document: Any, name: str) -> None:
    """An example has exactly the fields of its shape, with values that the shape allows."""
    shape = document["components"]["schemas"][name]
    Draft202012Validator({**shape, "components": document["components"]}).validate(openapi.EXAMPLES[name])
    if "properties" in shape:
        assert openapi.EXAMPLES[name].keys() <= shape["properties"].keys()


def test_shapes_do_not_share_a_name() -> None:
    """Two declarations of one name would be one shape in the document, and one of the two calls told wrong."""
    names = [model.__name__ for model in kinds(WireModel)]
    assert sorted(set(names)) == sorted(names)


def kinds(model: type[WireModel]) -> Iterator[type[WireModel]]:
    """Every declaration that is made from this one."""
    for kind in model.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_refusals_are_problems(document: Any) -> None:
    """Every refusal is told as application/problem+json, but for the older poll and the state of health."""
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and (name.split()[1], status) not in OTHERWISE:
                assert list(answer["content"]) == ["application/problem+json"], f"{name} {status}"


OTHERWISE = {("/api/health", "503"), ("/api/transform-ghibli/check/{task_id}", "404")}


def test_every_call_says_who_may(document: Any) -> None:
    """Each call names the keys and cookies that it takes, each of them is explained, and each is taken somewhere."""
    named = {key for _, operation in operations(document) for one in operation["security"] for key in one}
    assert named == set(document["components"]["securitySchemes"])


def test_what_changes_something_by_cookie_needs_the_token(document: Any) -> None:
    """No call that changes something is told to be open to a cookie alone."""
    for name, operation in operations(document):
        if not name.startswith("GET "):
            assert all("csrf" in one for one in operation["security"] if one.keys() & {"guest", "session"}), name


def test_names_of_cookies_are_those_of_the_installation(app: Flask, client: FlaskClient) -> None:
    """The document names the cookies as this installation sets them."""
    schemes = client.get("/api/openapi.json").json["components"]["securitySchemes"]
    client.get("/api/csrf")
    assert client.get_cookie(schemes["guest"]["name"])
    assert schemes["session"]["name"] == app.config["SESSION_COOKIE_NAME"]


def test_names_for_generators(document: Any) -> None:
    """Every operation's id is a name that a programming language takes."""
    assert all(operation["operationId"].isidentifier() for _, operation in operations(document))
