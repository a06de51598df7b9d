"""Whether the settings are fit for visitors: secrets, addresses, legal texts, slips. Called by the config check.

Nothing is called here; `service_check` asks what the settings name. What production cannot do without is a failure
there and a warning in development; the start itself refuses the worst (`Settings.production_is_explicit`).
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ghibli_flask.setting_sources import variables_of
from ghibli_flask.settings import (
    PLACEHOLDER_CONTACT,
    PLACEHOLDER_JURISDICTION,
    SHORTEST_SECRET,
    Settings,
    is_weak,
)
from scripts.findings import Finding

WITHOUT_EFFECT = ("API_URL", "KIE_AI_USER_ID", "NODE_ENV", "NEXT_PUBLIC_API_URL")
FAMILIES = re.compile(r"HUGGING_FACE_TOKEN(_\d+)?")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
GOOGLE_CALLBACK = "/api/auth/callback/google"
NON_COMMERCIAL_SPACE = "jamesliu1217-easycontrol-ghibli.hf.space"
PLACEHOLDER = re.compile(r"(?i)change[-_ ]?me|\byour[-_ ]|^<.*>$|^x{3,}$|(?<![\w-])example\.(org|com|net)\b|@[A-Z_]+@")
GENERATE = "Make one: openssl rand -base64 48"
HOW_CLOSE = 0.82
"""How alike an unknown name and one of ours are for it to be a slip; 0 to 1, by difflib."""


def check_settings(settings: Settings, variables: Mapping[str, str], env_file: Path) -> Iterator[Finding]:
    """Look at the settings, at the variables of the environment and of `.env`, and at that file itself."""
    look = _Look(settings)
    for one in (
        look.environment, look.address, look.proxies_in_front, look.signing, look.secrets_of_callers, look.legal,
        look.database, look.people, look.mail, look.google, look.stores, look.engines, look.limits, look.logs,
    ):  # fmt: skip
        yield from one()
    yield from _placeholders(settings)
    yield from check_names(variables, env_file)
    yield _summary(settings)


def check_names(variables: Mapping[str, str], env_file: Path) -> Iterator[Finding]:
    """Look at the names of variables, of `.env` above all: older ones without effect, and slips."""
    known = [name for item in Settings.model_fields.items() for name in variables_of(*item)]
    for name in variables:
        if name in WITHOUT_EFFECT:
            fix = "Take it away; nothing here needs it."
            yield Finding("setting", name, False, "is accepted and has no effect", fix=fix, mild=True)
        elif name not in known and not FAMILIES.fullmatch(name):
            close = difflib.get_close_matches(name, known, n=1, cutoff=HOW_CLOSE)
            if close:
                fix = f"Write {close[0]} if that is meant."
                yield Finding("setting", name, False, f"is no setting, but nearly {close[0]}", fix=fix, mild=True)
    if env_file.exists() and env_file.stat().st_mode & stat.S_IROTH:
        fix = f"chmod o-rwx {env_file}"
        yield Finding("setting", env_file.name, False, "can be read by everybody on this machine", fix=fix, mild=True)


class _Look:
    """One look at the settings, part by part; each gives what it has found."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def environment(self) -> Iterator[Finding]:
        if self._settings.is_production:
            yield _well("APP_ENV", "production: the strict checks are on")
        else:
            yield _warn("APP_ENV", "development: weak secrets pass, cookies travel without TLS", "Set production.")

    def address(self) -> Iterator[Finding]:
        url = self._settings.app_url
        if not url:
            yield self._needed("APP_URL", f"is not set; links and redirects lead to {self._settings.public_url}")
            return
        parts = urlsplit(url)
        if parts.scheme != "https":
            text = "is no https address: cookies are Secure in production, so nobody stays signed in"
            yield self._needed("APP_URL", text, "Put the site behind TLS and write https://.")
        elif parts.hostname in LOOPBACK:
            yield self._needed("APP_URL", "names this machine, which visitors cannot reach")
        elif parts.path or parts.query:
            yield self._needed("APP_URL", "has a path; the site answers at the root of its host alone")
        else:
            yield _well("APP_URL", f"{url}; cookies are {self._cookies()}")
        plain = [origin for origin in self._settings.cors_origins if origin.startswith("http://")]
        if plain:
            yield _warn("CORS_ORIGINS", "lets pages without TLS in", "Write https:// origins alone.")

    def _cookies(self) -> str:
        return "Secure, HttpOnly and __Host-" if self._settings.is_production else "HttpOnly, Secure in production"

    def proxies_in_front(self) -> Iterator[Finding]:
        count, host = self._settings.trusted_proxies, self._settings.host
        if count == 0 and self._settings.is_production:
            text = "is 0: behind nginx every visitor has the same address, and shares one limit"
            yield self._needed("TRUSTED_PROXIES", text, "Set the number of proxies in front, 1 for nginx alone.")
        elif count and host not in LOOPBACK:
            text = f"believes {count} in front, and {host} listens to others too, who could forge an address"
            yield _warn("TRUSTED_PROXIES", text, "Set HOST=127.0.0.1, or shut the port in the firewall.")
        else:
            yield _well("TRUSTED_PROXIES", f"{count} in front")

    def signing(self) -> Iterator[Finding]:
        keys = self._settings.secret_key
        if not keys:
            yield self._needed("SECRET_KEY", "is not set; one was made in the instance folder", GENERATE)
        elif any(is_weak(key) for key in keys):
            yield self._needed("SECRET_KEY", f"is shorter than {SHORTEST_SECRET} characters or easy to guess", GENERATE)
        else:
            yield _well("SECRET_KEY", "one key" if len(keys) == 1 else f"{len(keys)} keys, the first one signs")

    def secrets_of_callers(self) -> Iterator[Finding]:
        opens = {
            "ADMIN_API_KEY": "the details of /api/health and /api/test-env",
            "ADMIN_SECRET": "/api/token-status",
            "API_TOKEN": "POST /api/user-credits",
            "TASK_PROCESS_SECRET_KEY": "/process and /progress",
        }
        settings = self._settings
        values = {name: getattr(settings, name.lower()) for name in opens}
        for name, what in opens.items():
            value = values[name]
            if name == "TASK_PROCESS_SECRET_KEY" and value is None and settings.process_secret:
                yield _warn(name, f"is not set, and everybody knows {settings.process_secret}", GENERATE)
            elif value is None:
                yield _well(name, f"is not set: nobody opens {what}")
            elif is_weak(value):
                text = f"is shorter than {SHORTEST_SECRET} characters or easy to guess"
                yield self._needed(name, text, GENERATE)
            else:
                yield _well(name, f"opens {what}")
        given = [value for value in (*values.values(), *settings.secret_key) if value]
        if len(set(given)) < len(given):
            yield _warn("secrets", "two of them are the same", "Make one for each purpose.")

    def legal(self) -> Iterator[Finding]:
        settings = self._settings
        texts = {
            "LEGAL_CONTACT_EMAIL": (settings.legal_contact_email, PLACEHOLDER_CONTACT),
            "LEGAL_JURISDICTION": (settings.legal_jurisdiction, PLACEHOLDER_JURISDICTION),
        }
        for name, (value, placeholder) in texts.items():
            if value == placeholder:
                yield self._needed(name, "is the placeholder, and visitors read it", "See docs/legal.md.")
            else:
                yield _well(name, value)
        when, today = settings.legal_effective_date, datetime.now(UTC).date()
        if when > today:
            yield _warn("LEGAL_EFFECTIVE_DATE", f"{when} is still to come", "Set the day the texts are in force.")
        else:
            yield _well("LEGAL_EFFECTIVE_DATE", _date_words(when, "legal_effective_date" in settings.model_fields_set))
        yield _well("SITE_NAME", settings.site_name)

    def database(self) -> Iterator[Finding]:
        settings = self._settings
        if settings.database_url and settings.mysql_host:
            yield _warn("MYSQL_HOST", "is passed over, because DATABASE_URL is set", "Keep one of the two.")
        if settings.redis_url and settings.redis_host:
            yield _warn("REDIS_HOST", "is passed over, because REDIS_URL is set", "Keep one of the two.")
        if settings.is_production and settings.database_address.startswith("sqlite"):
            yield _warn("DATABASE_URL", "is SQLite, which one machine can use", "See docs/deploy.md for MariaDB.")

    def people(self) -> Iterator[Finding]:
        settings = self._settings
        if settings.admin_emails:
            yield _well("ADMIN_EMAILS", f"{len(settings.admin_emails)}")
        else:
            yield _warn("ADMIN_EMAILS", "is not set: nobody may open /admin/", "Set your own address.")
        if not (settings.alert_addresses or settings.alert_webhook_url):
            yield _warn("ALERT_EMAIL", "is not set: alerts go to errors.log alone", "Set it, or ALERT_WEBHOOK_URL.")

    def mail(self) -> Iterator[Finding]:
        settings = self._settings
        if not settings.mail_url:
            text = "is not set: nobody can confirm an address or choose a new password"
            yield _warn("MAIL_URL", text, "Set what your mail provider says; docs/settings.md shows its form.")
            return
        parts = urlsplit(settings.mail_url)
        if (parts.scheme, parts.port) in {("smtp", 465), ("smtps", 587), ("smtps", 25)}:
            text = f"{parts.scheme} and port {parts.port} seldom belong together"
            yield _warn("MAIL_URL", text, "smtps:// goes with 465, smtp:// with 587.")
        yield _well("MAIL_FROM", settings.mail_sender)

    def google(self) -> Iterator[Finding]:
        settings = self._settings
        if bool(settings.google_client_id) != bool(settings.google_client_secret):
            missing = "GOOGLE_CLIENT_SECRET" if settings.google_client_id else "GOOGLE_CLIENT_ID"
            yield self._needed(missing, "is not set, so there is no button for Google", "See docs/google-sign-in.md.")
        elif settings.google_is_configured:
            address = settings.public_url + GOOGLE_CALLBACK
            if urlsplit(address).scheme != "https" and urlsplit(address).hostname not in LOOPBACK:
                yield self._needed("GOOGLE_CLIENT_ID", f"Google takes no redirect address like {address}", "Use https.")
            else:
                fix = "Compare it with the list of the web client in Google's console."
                yield Finding("setting", "GOOGLE_CLIENT_ID", True, f"the redirect address is {address}", fix=fix)

    def stores(self) -> Iterator[Finding]:
        settings = self._settings
        wanted = ("access_key_id", "secret_access_key", "bucket")
        given = [name for name in settings.model_fields_set if name.startswith("cloudflare_r2_")]
        missing = [name for name in wanted if not getattr(settings, f"cloudflare_r2_{name}")]
        missing += [] if settings.r2_address else ["account_id"]
        if given and missing:
            names = ", ".join(f"CLOUDFLARE_R2_{name.upper()}" for name in missing)
            yield self._needed(
                "CLOUDFLARE_R2_BUCKET", f"R2 is not used, because {names} is missing", "Set all of them."
            )
        yield _well("STORES", ", ".join(settings.stores))

    def engines(self) -> Iterator[Finding]:
        settings = self._settings
        if settings.engines:
            yield _well("ENGINES", ", ".join(settings.engines))
        else:
            yield self._needed("ENGINES", "none is configured", "Set GRADIO_URL or the key of another engine.")
        if urlsplit(settings.gradio_url or "").hostname == NON_COMMERCIAL_SPACE:
            text = "FLUX.1-dev paints there, whose licence is non-commercial"
            yield Finding("setting", "GRADIO_URL", True, text, fix="See docs/legal.md before you earn money with it.")
        if len(settings.hugging_face_tokens) > 1:
            text = f"{len(settings.hugging_face_tokens)}; tokens of several accounts may be against the Hub's terms"
            yield Finding("setting", "HUGGING_FACE_TOKENS", True, text, fix="See docs/legal.md.")
        if settings.task_timeout_s >= settings.stuck_after_s:
            text = f"{settings.task_timeout_s} s is no less than STUCK_AFTER_S, so orders are given back while painted"
            yield self._needed("TASK_TIMEOUT_S", text, "Set less than STUCK_AFTER_S.")

    def limits(self) -> Iterator[Finding]:
        settings = self._settings
        if settings.orders_per_minute == 0:
            yield _warn("ORDERS_PER_MINUTE", "is 0: one address may order without end", "Set a limit, such as 60.")
        if settings.guest_daily_limit_per_address < settings.guest_daily_limit:
            text = "is less than GUEST_DAILY_LIMIT, so no browser reaches that"
            yield _warn("GUEST_DAILY_LIMIT_PER_ADDRESS", text, "Set as much or more.")
        if bool(settings.http_proxy) != bool(settings.https_proxy):
            missing = "HTTPS_PROXY" if settings.http_proxy else "HTTP_PROXY"
            yield _warn(missing, "is not set, so these calls go out directly", "Set both, if both need it.")

    def logs(self) -> Iterator[Finding]:
        if self._settings.log_level == "DEBUG" and self._settings.is_production:
            yield _warn("LOG_LEVEL", "is DEBUG, which fills the disk", "Set INFO.")

    def _needed(self, name: str, text: str, fix: str = "") -> Finding:
        """Something that visitors need: a failure in production, a warning before."""
        return Finding("setting", name, False, text, fix=fix or f"Set {name}.", mild=not self._settings.is_production)


def _placeholders(settings: Settings) -> Iterator[Finding]:
    """Values that stand in an example and have been left there."""
    left_alone = {"legal_contact_email", "instance_dir", "log_dir"}
    for name, field in type(settings).model_fields.items():
        value: Any = getattr(settings, name)
        values = value if isinstance(value, tuple) else (value,)
        if name not in settings.model_fields_set or name in left_alone:
            continue
        if any(isinstance(one, str) and PLACEHOLDER.search(one) for one in values):
            text, fix = "still holds what an example has", "Put your own value there."
            mild = not settings.is_production
            yield Finding("setting", variables_of(name, field)[0], False, text, fix=fix, mild=mild)


def _summary(settings: Settings) -> Finding:
    every = type(settings).model_fields
    names = sorted(variables_of(name, every[name])[0] for name in settings.model_fields_set if name in every)
    told = f"{len(names)} of {len(every)} are set, the others have their defaults"
    return Finding("setting", "all", True, f"{told}: {', '.join(names)}" if names else told)


def _date_words(when: date, is_set: bool) -> str:
    return f"{when}" if is_set else f"{when}, the day of the release"


def _well(name: str, text: str) -> Finding:
    return Finding("setting", name, True, text)


def _warn(name: str, text: str, fix: str) -> Finding:
    return Finding("setting", name, False, text, fix=fix, mild=True)
