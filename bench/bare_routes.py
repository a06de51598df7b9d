"""What a poll is held against, for gunicorn: one Redis GET by a bare Flask route, and by a bare WSGI function.

`bench.bare_routes:flask_app` and `bench.bare_routes:plain_app`, started by `bench.cases.polls`; REDIS_URL and
ANSWER_KEY say where the body is.
"""

import os
from collections.abc import Callable, Iterable

import redis
from flask import Flask, Response

KEY = os.environ["ANSWER_KEY"]
store = redis.Redis.from_url(os.environ["REDIS_URL"])
flask_app = Flask(__name__)


@flask_app.get("/")
def one_get() -> Response:
    """The stored answer."""
    return Response(store.get(KEY), mimetype="application/json")


def plain_app(_environ: dict[str, object], start_response: Callable[..., object]) -> Iterable[bytes]:
    """The same without Flask."""
    body = store.get(KEY)
    assert isinstance(body, bytes)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
