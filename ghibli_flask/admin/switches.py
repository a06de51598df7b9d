"""The administrators' page of switches: maintenance, engines, the day's limit, new accounts, the gallery's approval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask.admin.door import administrators_only
from ghibli_flask.errors import NotFound, _
from ghibli_flask.extensions import runtime
from ghibli_flask.i18n import sentence
from ghibli_flask.services import flags
from ghibli_flask.services.flags import Switch
from ghibli_flask.visitors import require_admin

switch_pages = Blueprint("switch_pages", __name__, url_prefix="/admin")
switch_pages.before_request(administrators_only)


@dataclass(frozen=True)
class Words:
    """What the page says of a switch. `changes` is the value that differs from how it usually is, for on and off."""

    title: str
    usual: str
    changed: str
    turn: str
    turn_back: str
    kind: Literal["text", "number", "turn"] = "turn"
    changes: str = ""


WORDS: dict[str, Words] = {
    flags.MAINTENANCE: Words(
        _("Maintenance"),
        _("Orders are taken."),
        _("No orders are taken, and visitors read these words above the easel. What is being painted goes on."),
        _("Take no orders"),
        _("Take orders again"),
        kind="text",
    ),
    flags.GLOBAL_DAILY_LIMIT: Words(
        _("Orders a day"),
        _("What GLOBAL_DAILY_LIMIT says counts."),
        _("The whole site takes so many orders a day (UTC), and then says that today's pictures are taken."),
        _("Set the limit"),
        _("Back to the setting"),
        kind="number",
    ),
    flags.SIGN_UPS: Words(
        _("New accounts"),
        _("Everybody can open one."),
        _("None are taken, neither with a password nor with Google. Whoever has one signs in."),
        _("Take none"),
        _("Take them again"),
        changes=flags.OFF,
    ),
    flags.GALLERY_APPROVAL: Words(
        _("Approval of the gallery"),
        _("What is meant for the gallery hangs at once."),
        _("What is meant for the gallery waits until somebody has looked at it."),
        _("Look first"),
        _("Let it hang at once"),
        changes=flags.ON,
    ),
}
ENGINE_WORDS = Words(
    _("Engine %(name)s"),
    _("It paints when its turn comes."),
    _("It is passed by."),
    _("Switch it off"),
    _("Switch it on"),
    changes=flags.OFF,
)


@switch_pages.get("/ui/flags")
def switches() -> str:
    """Every switch with what it does now; of the engines those that are configured or were switched."""
    configured = runtime().settings.engines
    shown = [
        {"switch": one, "words": _told(one)}
        for one in flags.all_switches()
        if one.name not in flags.ENGINE_FLAGS or flags.ENGINE_FLAGS[one.name] in configured or one.value
    ]
    return render_template(
        "admin/switches.html", switches=shown, limit=runtime().settings.global_daily_limit, longest=flags.LONGEST_VALUE
    )


@switch_pages.post("/ui/flags/<name>")
def turn(name: str) -> AnyResponse:
    """Set a switch, or clear it with an empty value; raises NotFound and InvalidFields."""
    if name not in flags.NAMES:
        raise NotFound
    value = request.form.get("value", "")
    flags.switch(name, value, by=require_admin().email)
    flash(
        gettext("The switch is set: it counts from the next request on.")
        if value.strip()
        else gettext("The switch is cleared.")
    )
    return redirect(url_for("switch_pages.switches"), code=303)


def _told(switch: Switch) -> dict[str, str]:
    words = WORDS.get(switch.name, ENGINE_WORDS)
    params = {"name": flags.ENGINE_FLAGS.get(switch.name, "")}
    shown = ("usual", "changed", "turn", "turn_back")
    return {
        "title": sentence(words.title, params if words is ENGINE_WORDS else {}),
        "kind": words.kind,
        "changes": words.changes,
        **{name: gettext(getattr(words, name)) for name in shown},
    }
