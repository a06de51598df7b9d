"""What the legal pages list: who receives what, which cookies there are, what scripts keep. Called by `pages.legal`.

Only what this installation really does is listed: names and hosts come from the settings, times from the services
that keep them. tests/docs/test_legal.py holds the lists against the code.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from ghibli_flask.errors import _
from ghibli_flask.services import allowances, exports, retention, sessions, tombstones
from ghibli_flask.settings import Settings
from ghibli_flask.visitors import ONE_YEAR_S

LOG_FILES_KEPT = 14
"""So many older log files are kept, one for each day, by the rotation of scripts/monitoring_setup.sh."""

# Clouds and hubs by the ends of their hosts; whoever else is meant is named by the host alone.
_HUB = ("hf.space", "huggingface.co")
_CLOUDFLARE = ("r2.cloudflarestorage.com",)

POLICIES = {
    "Cloudflare": "https://www.cloudflare.com/privacypolicy/",
    "Google": "https://policies.google.com/privacy",
    "Hugging Face": "https://huggingface.co/privacy",
    "ImgBB": "https://imgbb.com/privacy",
    "KIE AI": "https://kie.ai",
    "OpenAI": "https://openai.com/policies/",
    "Sentry": "https://sentry.io/privacy/",
}
"""What each says itself about what it receives."""


@dataclass(frozen=True)
class Recipient:
    """Somebody who receives data: under which hosts, what, what becomes of it there, and whose policy says more."""

    key: str
    name: str
    gets: str
    then: str
    hosts: tuple[str, ...] = ()
    owner: str | None = None

    @property
    def policy(self) -> str | None:
        """The address of the owner's own words on privacy."""
        return POLICIES[self.owner] if self.owner else None


@dataclass(frozen=True)
class Cookie:
    """A cookie of ours. `life` is a sentence about `days`."""

    name: str
    purpose: str
    life: str
    days: int


@dataclass(frozen=True)
class Kept:
    """What a script keeps in the browser: the key, the kind of store, what for, and how long."""

    key: str
    store: str
    purpose: str
    life: str


@dataclass(frozen=True)
class Days:
    """How many days each thing is kept."""

    picture: int
    guest_picture: int
    photograph: int
    upload: int
    counts: int
    tombstone: int
    session: int
    export: int
    logs: int


BROWSER_STORES = (
    Kept(
        "tray",
        "sessionStorage",
        _("The pictures under way on the first page: file name, a small copy and the order’s number."),
        _("Until the tab is closed."),
    ),
    Kept(
        "tell", "sessionStorage", _("That this tab may tell you when a picture is done."), _("Until the tab is closed.")
    ),
    Kept(
        "refresh",
        "sessionStorage",
        _("Whether the page of administrators keeps itself up to date. Visitors have none."),
        _("Until the tab is closed."),
    ),
    Kept(
        "shell",
        "caches",
        _("The page that is shown without a connection, with its type and colours. It knows nobody."),
        _("Until the next version of the site."),
    ),
    Kept(
        "shared",
        "caches",
        _("A photo that your phone’s share sheet handed over, so that it lies on the easel when the page opens."),
        _("Until you send it, take it off the easel or open the first page afresh."),
    ),
)


def days(settings: Settings) -> Days:
    """How long things are kept on this installation."""
    return Days(
        picture=settings.result_ttl_days,
        guest_picture=settings.guest_result_ttl_days,
        photograph=settings.source_ttl_days,
        upload=_in_days(retention.UPLOAD_KEPT),
        counts=_in_days(allowances.KEPT),
        tombstone=_in_days(tombstones.KEPT),
        session=_in_days(sessions.LASTS),
        export=_in_days(exports.LASTS),
        logs=LOG_FILES_KEPT,
    )


def cookies(settings: Settings) -> list[Cookie]:
    """Every cookie that the site sets, under the names of this installation."""
    return [
        Cookie(
            settings.guest_cookie,
            _("Knows this browser again without an account: which pictures are yours, and how many are free today."),
            _("%(days)s from the first visit."),
            ONE_YEAR_S // (24 * 3600),
        ),
        Cookie(
            settings.session_cookie,
            _(
                "Keeps forms safe from other sites, carries a sentence from one page to the next, and, once you sign "
                "in, knows who you are. On the way to Google and back it holds what proves that the answer is for you."
            )
            if settings.google_is_configured
            else _(
                "Keeps forms safe from other sites, carries a sentence from one page to the next, and, once you sign "
                "in, knows who you are."
            ),
            _("Until the browser is closed; signed in, %(days)s from the last visit."),
            _in_days(sessions.LASTS),
        ),
        Cookie(
            settings.language_cookie,
            _("Remembers the language that you chose at the foot of a page; with an account, the account does."),
            _("%(days)s from the choice."),
            ONE_YEAR_S // (24 * 3600),
        ),
    ]


def painters(settings: Settings) -> list[Recipient]:
    """The configured engines in the order in which they are asked."""
    return [PAINTERS[name](settings) for name in settings.engines]


def keepers(settings: Settings) -> list[Recipient]:
    """The configured stores in the order in which they are tried."""
    return [KEEPERS[name](settings) for name in settings.stores]


def helpers(settings: Settings) -> list[Recipient]:
    """Who else receives something: sign-in, mail, reports of errors."""
    found = []
    if settings.google_is_configured:
        found.append(_google())
    if settings.mail_url:
        found.append(_mail_server(_host(settings.mail_url)))
    if settings.sentry_dsn:
        found.append(_sentry(_host(settings.sentry_dsn)))
    return found


def _gradio(settings: Settings) -> Recipient:
    host = _host(settings.gradio_url)
    photo_and_words = _("The photograph, made smaller and without its hidden data, and your words.")
    if _is_loopback(host):
        return Recipient(
            "gradio", _("Our own painter"), photo_and_words, _("It runs on our own machine; nothing leaves it.")
        )
    if _ends(host, _HUB):
        return Recipient(
            "gradio",
            _("A Space at Hugging Face"),
            photo_and_words,
            _("Hugging Face runs the machine and somebody else the program. Both have terms of their own."),
            (host,),
            "Hugging Face",
        )
    then = _("A painting program that we have chosen. It is sent nothing that names you.")
    return Recipient("gradio", _("A Gradio application"), photo_and_words, then, (host,))


def _kie(settings: Settings) -> Recipient:
    return Recipient(
        "kie",
        "KIE AI",
        _("The photograph, made smaller and without its hidden data, and your words."),
        _("It says that it deletes photographs after one to three days and pictures after at most two weeks."),
        (_host(settings.kie_base_url), _host(settings.kie_upload_url)),
        "KIE AI",
    )


def _openai(settings: Settings) -> Recipient:
    return Recipient(
        "openai",
        "OpenAI",
        _("The photograph, made smaller and without its hidden data, and your words."),
        _("Its own terms say how long it keeps them."),
        (_host(settings.openai_base_url),),
        "OpenAI",
    )


def _processor(settings: Settings) -> Recipient:
    return Recipient(
        "processor",
        _("A painting program outside"),
        _("The photograph, made smaller and without its hidden data, and your words."),
        _("A painting program that we have chosen. It is sent nothing that names you."),
        (_host(settings.processor_url),),
    )


def _local(_settings: Settings) -> Recipient:
    return Recipient(
        "local",
        _("Our own disk"),
        _("Photographs, pictures and what you share."),
        _("What you delete is gone from it within minutes."),
    )


def _r2(settings: Settings) -> Recipient:
    host = _host(settings.r2_address)
    is_cloudflare = _ends(host, _CLOUDFLARE)
    public = _host(settings.cloudflare_r2_public_url)
    return Recipient(
        "r2",
        "Cloudflare R2" if is_cloudflare else _("A storage service"),
        _(
            "Photographs, pictures and what you share. Your browser fetches pictures there by addresses that expire "
            "within minutes, and so the service sees your network address."
        ),
        _("What you delete is gone from it within minutes. What hangs in the gallery has a public address there.")
        if public
        else _("What you delete is gone from it within minutes."),
        (host, public) if public else (host,),
        "Cloudflare" if is_cloudflare else None,
    )


def _imgbb(settings: Settings) -> Recipient:
    return Recipient(
        "imgbb",
        "ImgBB",
        _("Painted pictures, never photographs."),
        _(
            "A picture there has a public address, which we tell to nobody. ImgBB cannot delete when we ask: a picture "
            "that you delete is gone here at once, and there on the day on which it would have gone anyway."
        ),
        (_host(settings.imgbb_url),),
        "ImgBB",
    )


def _google() -> Recipient:
    return Recipient(
        "google",
        "Google",
        _("That you sign in here, when you sign in with Google."),
        _("It tells us the number of your Google account, your address and your name, and we keep those."),
        (),
        "Google",
    )


def _mail_server(host: str) -> Recipient:
    return Recipient(
        "mail",
        _("A mail server"),
        _("Your address and the mails of your account: confirming it, a new password, a picture you wished for."),
        _("It delivers them."),
        (host,),
    )


def _sentry(host: str) -> Recipient:
    return Recipient(
        "sentry",
        "Sentry",
        _("Reports of errors: what went wrong in the program, and where."),
        _("No photographs, no words of yours, no cookies and no network addresses are sent along."),
        (host,),
        "Sentry",
    )


PAINTERS: dict[str, Callable[[Settings], Recipient]] = {
    "gradio": _gradio,
    "kie": _kie,
    "openai": _openai,
    "processor": _processor,
}
KEEPERS: dict[str, Callable[[Settings], Recipient]] = {"local": _local, "r2": _r2, "imgbb": _imgbb}


def _in_days(span: timedelta) -> int:
    return span // timedelta(days=1)


def _host(address: str | None) -> str:
    return urlsplit(address or "").hostname or ""


def _ends(host: str, domains: tuple[str, ...]) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
