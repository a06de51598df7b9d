"""What search engines read first: what is worth finding here, and what is nobody's but its owner's."""

from __future__ import annotations

from flask import Blueprint, Response, render_template, url_for

from ghibli_flask.extensions import runtime
from ghibli_flask.services import gallery
from ghibli_flask.services.gallery import Filters

crawlers = Blueprint("crawlers", __name__)

PUBLIC_PAGES = ("visitor.home", "share_pages.show_gallery", "legal.answers", "visitor.api_docs")
"""The pages that are the same for everybody and worth finding."""

KEPT_OUT = ("/api/", "/admin/", "/account", "/auth/", "/process/", "/progress/")
"""Nothing there is for search engines. Private pages are not listed: they say `noindex`, and that has to be read."""

ONE_HOUR = "public, max-age=3600"


@crawlers.get("/robots.txt")
def robots() -> Response:
    """Which addresses a search engine may ask for."""
    lines = [
        "User-agent: *",
        f"Allow: {url_for('visitor.api_docs')}",
        *(f"Disallow: {path}" for path in KEPT_OUT),
        "",
        f"Sitemap: {runtime().settings.public_url}{url_for('crawlers.sitemap')}",
        "",
    ]
    return _lasting(Response("\n".join(lines), mimetype="text/plain"))


@crawlers.get("/sitemap.xml")
def sitemap() -> Response:
    """The public pages, and the newest pictures of the gallery; older ones are found from there."""
    wall = gallery.wall(Filters(None, None), None)
    paths = [url_for(endpoint) for endpoint in PUBLIC_PAGES]
    paths += [url_for("share_pages.share", share_id=one.share_id) for one in wall.prints]
    addresses = [runtime().settings.public_url + path for path in paths]
    return _lasting(Response(render_template("sitemap.xml", addresses=addresses), mimetype="application/xml"))


def _lasting(response: Response) -> Response:
    response.headers["Cache-Control"] = ONE_HOUR
    return response
