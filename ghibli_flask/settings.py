"""The only reader of the environment: every setting, typed, checked once and frozen.

`load_settings()` is called by the entry points (`wsgi.py`, `worker.py`, `scripts/`); everything else is handed the
result. A wrong value raises `SettingsError` with one line for each variable concerned. docs/settings.md holds the
same table for people, and a test compares the two.
"""

from __future__ import annotations

import logging
import secrets
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from ghibli_flask.setting_sources import HubTokens

ROOT = Path(__file__).resolve().parent.parent

log = logging.getLogger(__name__)

WEAK_SECRETS = frozenset({"", "secret", "changeme", "change-me", "password", "development-key", "dev"})
SHORTEST_SECRET = 32
PLACEHOLDER_CONTACT = "operator@example.org"
PLACEHOLDER_JURISDICTION = "the country that the operator lives in"


ALL_ENGINES = ("gradio", "kie", "openai", "processor")
ALL_STORES = ("local", "r2", "imgbb")
NEEDS = {
    "kie": "KIE_AI_API_KEY",
    "openai": "OPENAI_API_KEY",
    "processor": "PROCESSOR_URL",
    "r2": "one of the CLOUDFLARE_R2_ settings",
    "imgbb": "IMGBB_API_KEY",
}


class SettingsError(Exception):
    """A setting is wrong; the text holds one line for each variable and is meant for the operator."""


def _split_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]


def _named(*names: str, default: Any, **bounds: Any) -> Any:
    """A field under its documented name and the older names that keep working."""
    return Field(default, validation_alias=AliasChoices(*names), **bounds)


def _address(value: str) -> SplitResult:
    """The parts of an address; raises ValueError in words that quote nothing of it, for it may hold a password."""
    try:
        parts = urlsplit(value)
        # Read here because it is checked only when it is read: a / or # in a password ends the host before its port.
        _ = parts.port
    except ValueError:
        raise ValueError("is no address; characters such as / # ? in a password are written as %2F %23 %3F") from None
    return parts


class Settings(BaseSettings):
    """Every setting of the product; see docs/settings.md for what each one does."""

    model_config = SettingsConfigDict(
        env_file=ROOT / ".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    app_env: Literal["development", "production"] = "development"
    app_url: str | None = _named("APP_URL", "NEXTAUTH_URL", "NEXT_PUBLIC_APP_URL", default=None)
    host: str = "127.0.0.1"
    port: int = Field(3000, ge=1, le=65535)
    trusted_proxies: int = Field(0, ge=0, le=10)
    cors_origins: CommaList = ()
    secret_key: CommaList = _named("SECRET_KEY", "NEXTAUTH_SECRET", default=(), repr=False)
    instance_dir: Path = ROOT / "instance"
    site_name: str = "Painted Window"
    service_worker: bool = True
    legal_contact_email: str = Field(PLACEHOLDER_CONTACT, pattern=r"^[^@\s]+@[^@\s]+$")
    legal_effective_date: date = date(2026, 11, 22)
    legal_jurisdiction: str = PLACEHOLDER_JURISDICTION

    database_url: str | None = Field(None, repr=False)
    mysql_host: str | None = None
    mysql_port: int = Field(3306, ge=1, le=65535)
    mysql_user: str = "root"
    mysql_password: str = Field("", repr=False)
    mysql_database: str = "ghibli"

    redis_url: str | None = Field(None, repr=False)
    redis_host: str | None = None
    redis_port: int = Field(6379, ge=1, le=65535)
    redis_password: str = Field("", repr=False)
    queue_prefix: str = Field("ghibli", pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$")

    gradio_url: str | None = None
    gradio_api_name: str = Field("/single_condition_generate_image", pattern=r"^/[\w-]+$")
    space_port: int | None = Field(None, ge=1, le=65535)
    gradio_token_hosts: CommaList = ("*.hf.space", "huggingface.co")
    hugging_face_tokens: CommaList = Field((), repr=False)
    hf_daily_seconds: int = Field(300, ge=1)
    hf_endpoint: str = "https://huggingface.co"

    engine_order: CommaList = _named("ENGINES", default=())
    kie_ai_api_key: str | None = Field(None, repr=False)
    kie_model: str = Field("google/nano-banana-edit", pattern=r"^[\w./-]{1,100}$")
    kie_base_url: str = "https://api.kie.ai"
    kie_upload_url: str = "https://kieai.redpandaai.co"
    openai_api_key: str | None = Field(None, repr=False)
    openai_model: str = Field("gpt-image-2", pattern=r"^[\w.-]{1,100}$")
    openai_base_url: str = "https://api.openai.com/v1"
    processor_url: str | None = None

    store_order: CommaList = _named("STORES", default=())
    cloudflare_r2_access_key_id: str | None = Field(None, repr=False)
    cloudflare_r2_secret_access_key: str | None = Field(None, repr=False)
    cloudflare_r2_account_id: str | None = Field(None, pattern=r"^[0-9A-Za-z]{1,64}$")
    cloudflare_r2_endpoint: str | None = None
    cloudflare_r2_bucket: str | None = None
    cloudflare_r2_public_url: str | None = None
    imgbb_api_key: str | None = Field(None, repr=False)
    imgbb_url: str = "https://api.imgbb.com/1/upload"
    accel_location: str | None = Field(None, pattern=r"^/[\w/-]+$")

    google_client_id: str | None = None
    google_client_secret: str | None = Field(None, repr=False)
    google_metadata_url: str = "https://accounts.google.com/.well-known/openid-configuration"

    api_token: str | None = Field(None, repr=False)
    task_process_secret_key: str | None = _named(
        "TASK_PROCESS_SECRET_KEY", "INTERNAL_API_KEY", "API_SECRET_KEY", default=None, repr=False
    )
    admin_secret: str | None = Field(None, repr=False)
    admin_api_key: str | None = Field(None, repr=False)
    admin_emails: CommaList = ()

    monthly_credits: int = Field(30, ge=0)

    guest_daily_limit: int = Field(3, ge=0)
    guest_daily_limit_per_address: int = Field(15, ge=0)
    orders_per_minute: int = Field(60, ge=0)
    global_daily_limit: int | None = Field(None, ge=0)
    max_upload_mb: int = Field(50, ge=1, le=500)
    # Beyond 89 million pixels Pillow warns by itself, so more cannot be promised.
    max_image_pixels: int = Field(50_000_000, ge=65_536, le=89_000_000)

    progress_update_interval: int = Field(2000, ge=100, le=60_000)
    max_retry_attempts: int = Field(3, ge=1, le=20)
    retry_delay: int = Field(1000, ge=0, le=60_000)
    task_timeout_s: int = Field(240, ge=5)
    stuck_after_s: int = Field(1200, ge=60)
    sweep_cron: str = "* * * * *"
    monitor_cron: str = "*/5 * * * *"
    worker_concurrency: int = Field(32, ge=1, le=1000)
    worker_memory_mb: int = Field(600, ge=200)
    worker_max_orders: int = Field(2000, ge=1)
    waiting_message_interval_ms: int = Field(4000, ge=1000)

    result_ttl_days: int = Field(30, ge=1)
    guest_result_ttl_days: int = Field(7, ge=1)
    source_ttl_days: int = Field(7, ge=1)

    http_proxy: str | None = Field(None, repr=False)
    https_proxy: str | None = Field(None, repr=False)
    no_proxy: str | None = None

    mail_url: str | None = Field(None, repr=False)
    mail_from: str | None = None
    alert_email: CommaList = ()
    alert_webhook_url: str | None = Field(None, repr=False)

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] | None = None
    log_dir: Path | None = None
    sentry_dsn: str | None = Field(None, repr=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over `.env`; the tokens of all three forms add up over both."""
        tokens = HubTokens(settings_cls, env_settings, dotenv_settings)
        return init_settings, tokens, env_settings, dotenv_settings

    @model_validator(mode="before")
    @classmethod
    def strip_values(cls, values: Any) -> Any:
        """Blanks and line ends around a value come from copying; they are taken off, and said."""
        if not isinstance(values, dict):
            return values
        for name, value in values.items():
            if isinstance(value, str) and value != value.strip():
                log.warning("The setting %s had blanks or line ends around its value; they were taken off.", name)
                values[name] = value.strip()
        return values

    @field_validator(
        "app_url", "gradio_url", "hf_endpoint", "kie_base_url", "kie_upload_url", "openai_base_url", "processor_url",
        "cloudflare_r2_endpoint", "cloudflare_r2_public_url", "imgbb_url", "alert_webhook_url", "http_proxy",
        "https_proxy", "sentry_dsn",
    )  # fmt: skip
    @classmethod
    def http_address(cls, value: str | None) -> str | None:
        """An address starts with http:// or https:// and is kept without its last slash."""
        if value is None:
            return None
        parts = _address(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an address such as https://example.org")
        return value.rstrip("/")

    @field_validator("mail_url")
    @classmethod
    def smtp_address(cls, value: str | None) -> str | None:
        """Mail goes out by smtp:// or smtps://user:password@host:port."""
        if value is not None and (_address(value).scheme not in {"smtp", "smtps"} or not _address(value).hostname):
            raise ValueError("must be an address such as smtp://user:password@mail.example.org:587")
        return value

    @field_validator("cors_origins")
    @classmethod
    def exact_origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        """An origin is scheme, host and port, and nothing behind it."""
        for value in values:
            parts = _address(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query:
                raise ValueError("must hold exact origins such as https://www.example.org, separated by commas")
        return values

    @field_validator("sweep_cron", "monitor_cron")
    @classmethod
    def five_cron_fields(cls, value: str) -> str:
        """A cron line has five fields; what is inside them is checked where the schedule is registered."""
        if len(value.split()) != 5:
            raise ValueError("must be a cron line of five fields such as '* * * * *'")
        return value

    @field_validator("engine_order")
    @classmethod
    def known_engines(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        """The engines that there are, each once."""
        return _known(values, ALL_ENGINES)

    @field_validator("store_order")
    @classmethod
    def known_stores(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        """The stores that there are, each once."""
        return _known(values, ALL_STORES)

    @field_validator("instance_dir", "log_dir")
    @classmethod
    def absolute_folder(cls, value: Path | None) -> Path | None:
        """A relative folder counts from the project's root, wherever the process was started."""
        return value if value is None or value.is_absolute() else ROOT / value

    @model_validator(mode="after")
    def named_things_are_configured(self) -> Settings:
        """An engine or a store that is named in an order needs its key or address."""
        has = self._configured_engines | {"gradio"}
        wrong = [
            f"ENGINES: {name} is named, but {NEEDS[name]} is not set" for name in self.engine_order if name not in has
        ]
        has = self._configured_stores
        wrong += [
            f"STORES: {name} is named, but {NEEDS[name]} is not set" for name in self.store_order if name not in has
        ]
        if self.store_order == ("imgbb",):
            wrong.append("STORES: imgbb takes results only, so photographs need local or r2 beside it")
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    @model_validator(mode="after")
    def production_is_explicit(self) -> Settings:
        """In production nothing important is guessed: secrets are long, services are named."""
        if not self.is_production:
            return self
        wrong = []
        if not self.secret_key or any(is_weak(key) for key in self.secret_key):
            wrong.append(f"SECRET_KEY: must be set to at least {SHORTEST_SECRET} random characters in production")
        secrets_of_callers = {
            "ADMIN_API_KEY": self.admin_api_key,
            "API_TOKEN": self.api_token,
            "ADMIN_SECRET": self.admin_secret,
            "TASK_PROCESS_SECRET_KEY": self.task_process_secret_key,
        }
        for name, key in secrets_of_callers.items():
            if key is not None and is_weak(key):
                wrong.append(f"{name}: must have at least {SHORTEST_SECRET} random characters in production")
        required = {"APP_URL": self.app_url, "REDIS_URL": self.redis_url or self.redis_host}
        if "gradio" in (self.engine_order or ("gradio",)):
            required["GRADIO_URL"] = self.gradio_url
        wrong.extend(f"{name}: must be set in production" for name, value in required.items() if not value)
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    @property
    def is_production(self) -> bool:
        """Whether the strict checks are on."""
        return self.app_env == "production"

    @property
    def google_is_configured(self) -> bool:
        """Whether the Google button shows: only when both settings are there."""
        return bool(self.google_client_id and self.google_client_secret)

    @property
    def mail_sender(self) -> str:
        """The sender of our mails."""
        return self.mail_from or f"{self.site_name} <no-reply@{urlsplit(self.public_url).hostname}>"

    @property
    def guest_cookie(self) -> str:
        """The name of the guest's cookie; in production the prefix lets no other host and no plain http set it."""
        return "__Host-guest" if self.is_production else "guest"

    @property
    def session_cookie(self) -> str:
        """The name of the session's cookie, by the same rule."""
        return "__Host-session" if self.is_production else "session"

    @property
    def language_cookie(self) -> str:
        """The name of the cookie that keeps a chosen language, by the same rule."""
        return "__Host-language" if self.is_production else "language"

    @property
    def public_url(self) -> str:
        """The site's address without a last slash."""
        return self.app_url or f"http://{self.host}:{self.port}"

    @property
    def database_address(self) -> str:
        """The SQLAlchemy address: DATABASE_URL, else the MYSQL_* parts, else SQLite in the instance folder."""
        if self.database_url:
            return self.database_url
        if self.mysql_host:
            user, password = quote(self.mysql_user, safe=""), quote(self.mysql_password, safe="")
            place = f"{self.mysql_host}:{self.mysql_port}/{self.mysql_database}"
            return f"mysql+pymysql://{user}:{password}@{place}?charset=utf8mb4"
        return f"sqlite:///{self.instance_dir / 'ghibli.sqlite3'}"

    @property
    def redis_address(self) -> str:
        """The Redis address; on a fresh machine `make run` sets REDIS_URL to the server that it starts."""
        if self.redis_url:
            return self.redis_url
        password = f":{quote(self.redis_password, safe='')}@" if self.redis_password else ""
        return f"redis://{password}{self.redis_host or '127.0.0.1'}:{self.redis_port}/0"

    @property
    def engines(self) -> tuple[str, ...]:
        """The configured engines in the order in which they are tried."""
        return tuple(name for name in self.engine_order or ALL_ENGINES if name in self._configured_engines)

    @property
    def _configured_engines(self) -> frozenset[str]:
        keys = {
            "gradio": self.gradio_url,
            "kie": self.kie_ai_api_key,
            "openai": self.openai_api_key,
            "processor": self.processor_url,
        }
        return frozenset(name for name, key in keys.items() if key)

    @property
    def stores(self) -> tuple[str, ...]:
        """The stores that new files go to, in the order in which they are tried; `local` only where R2 is not set."""
        usual = ("r2", "imgbb") if "r2" in self._configured_stores else ("local", "imgbb")
        return tuple(name for name in self.store_order or usual if name in self._configured_stores)

    @property
    def _configured_stores(self) -> frozenset[str]:
        r2 = (self.cloudflare_r2_access_key_id, self.cloudflare_r2_secret_access_key, self.cloudflare_r2_bucket)
        found = {"local"}
        if all(r2) and self.r2_address:
            found.add("r2")
        if self.imgbb_api_key:
            found.add("imgbb")
        return frozenset(found)

    @property
    def r2_address(self) -> str | None:
        """Where R2 or another S3 answers."""
        account = self.cloudflare_r2_account_id
        return self.cloudflare_r2_endpoint or (f"https://{account}.r2.cloudflarestorage.com" if account else None)

    @property
    def process_secret(self) -> str | None:
        """The bearer of /process and /progress; in production there is none unless it is set."""
        return self.task_process_secret_key or (None if self.is_production else "development-key")

    @property
    def alert_addresses(self) -> tuple[str, ...]:
        """Who gets alerts by mail."""
        return self.alert_email or self.admin_emails

    @property
    def logs(self) -> Path:
        """The folder of the log files."""
        return self.log_dir or self.instance_dir / "logs"

    @property
    def uses_bundled_space(self) -> bool:
        """Whether pictures are painted by the bundled Space: the one that `make run` starts on SPACE_PORT."""
        parts = urlsplit(self.gradio_url or "")
        return parts.hostname in {"127.0.0.1", "localhost"} and parts.port is not None and parts.port == self.space_port

    @property
    def max_upload_bytes(self) -> int:
        """The largest accepted photograph."""
        return self.max_upload_mb * 1024 * 1024

    @property
    def max_body_bytes(self) -> int:
        """The largest accepted request body: a third more than a photograph, for base64, and room for fields."""
        return self.max_upload_bytes * 4 // 3 + 256 * 1024

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The keys for signing, the newest first; made and kept under the instance folder in development."""
        return self.secret_key or (_development_secret(self.instance_dir),)


def load_settings(**overrides: Any) -> Settings:
    """Read the environment and `.env`; raises SettingsError with a line for each wrong variable."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_lines_of(error))) from None


def _lines_of(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in problem["loc"]).upper()
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {message}" if name else message)
    return lines


def _known(values: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values) or not set(values) <= set(names):
        raise ValueError(f"must name each of {', '.join(names)} at most once, separated by commas")
    return values


def is_weak(secret: str) -> bool:
    """Whether a secret is too short for production, well known or made of a few letters."""
    return len(secret) < SHORTEST_SECRET or secret.lower() in WEAK_SECRETS or len(set(secret)) < 8


def _development_secret(instance_dir: Path) -> str:
    """Read the kept development key, or make it; two processes starting at once agree on one."""
    path = instance_dir / "secret_key"
    instance_dir.mkdir(parents=True, exist_ok=True)
    candidate = instance_dir / f"secret_key.{secrets.token_hex(8)}"
    if not path.exists():
        candidate.touch(mode=0o600)
        candidate.write_text(secrets.token_urlsafe(48))
        try:
            path.hardlink_to(candidate)
        except FileExistsError:
            log.debug("Another process made the development key first.")
        finally:
            candidate.unlink()
    return path.read_text().strip()
