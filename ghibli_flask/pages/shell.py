"""What makes the site installable: the manifest, the service worker, and the page that it shows without a connection.

docs/installed.md tells how they work together. `SERVICE_WORKER=false` sends the worker that takes itself away.
"""

from __future__ import annotations

import hashlib
import json

from flask import Blueprint, Response, render_template, url_for
from flask_babel import gettext

from ghibli_flask.extensions import runtime
from ghibli_flask.i18n import current

shell = Blueprint("shell", __name__)

PAPER, SKY = "#fbf9f3", "#cfe3f1"
"""The ground of a page and the sky above it, as static/css/site.css paints them by day."""

PICTURE_TYPES = ["image/*", ".heic", ".heif", ".avif"]
"""What a phone's share sheet offers this site for."""

SHELL_FILES = ("css/site.css", "fonts/fraunces-soft-latin.woff2", "img/grain.png", "img/favicon.svg", "js/offline.js")
"""The static files that the offline page is made of."""


@shell.after_request
def ask_again(response: Response) -> Response:
    """A browser asks for each of these again, so that a release, or its going back, arrives at once."""
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@shell.get("/manifest.webmanifest")
def manifest() -> Response:
    """What a phone needs to keep the site among its applications, in the visitor's language."""
    name = runtime().settings.site_name
    described = {
        "id": "/",
        "name": name,
        "short_name": name,
        "description": gettext("Bring a photograph and get it back as a hand-painted picture."),
        "lang": current().replace("_", "-"),
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": PAPER,
        "theme_color": SKY,
        "categories": ["photo", "entertainment"],
        "icons": [_icon(size, purpose) for size in (192, 512) for purpose in ("any", "maskable")],
        "shortcuts": [
            {"name": gettext("My pictures"), "url": "/pictures"},
            {"name": gettext("Gallery"), "url": "/gallery"},
        ],
        "share_target": {
            "action": url_for("visitor.receive_photo"),
            "method": "POST",
            "enctype": "multipart/form-data",
            "params": {"files": [{"name": "image", "accept": PICTURE_TYPES}]},
        },
    }
    response = Response(json.dumps(described, ensure_ascii=False), mimetype="application/manifest+json")
    response.headers["Content-Language"] = current().replace("_", "-")
    response.vary.update(("Accept-Language", "Cookie"))
    return response


@shell.get("/service-worker.js")
def service_worker() -> Response:
    """The worker of this release: its text changes with the offline page and the static files, and so it is renewed."""
    if not runtime().settings.service_worker:
        return _script("service-worker-off.js")
    files = [url_for("static", filename=name) for name in SHELL_FILES]
    version = hashlib.sha256("\n".join([_offline_page(), *files]).encode()).hexdigest()[:12]
    return _script(
        "service-worker.js",
        version=version,
        page=url_for("shell.offline"),
        files=files,
        share_target=url_for("visitor.receive_photo"),
        home=url_for("visitor.home", shared=1),
    )


@shell.get("/offline")
def offline() -> str:
    """The page for a visitor without a connection. It knows nobody, because it stays in the browser."""
    return _offline_page()


def _offline_page() -> str:
    return render_template("offline.html")


def _script(template: str, **values: object) -> Response:
    return Response(render_template(template, **values), mimetype="text/javascript")


def _icon(size: int, purpose: str) -> dict[str, str]:
    """One of the icons that `make icons` draws; a maskable one may be cut to any shape."""
    name = f"icon-{size}.png" if purpose == "any" else f"icon-{purpose}-{size}.png"
    source = url_for("static", filename=f"img/{name}")
    return {"src": source, "sizes": f"{size}x{size}", "type": "image/png", "purpose": purpose}
