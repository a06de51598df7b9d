"""Whether an engine works, and for `gradio` each token of the Hub. Called by `check_engines`, in an app context."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import urlsplit

from PIL import Image, ImageDraw

from ghibli_flask.engine_catalogue import ENGINES, Mode
from ghibli_flask.errors import AppError
from ghibli_flask.extensions import runtime
from ghibli_flask.images import DigitalSourceType, finish, fit, prepare
from ghibli_flask.services import gpu_tokens, hub_quota
from ghibli_flask.services.gpu_tokens import TokenStatus
from ghibli_flask.services.hub_quota import QuotaUnknown, Reading, TokenRefused
from ghibli_flask.styles import DEFAULT_STYLE, style_named
from ghibli_flask.task_states import Stage
from ghibli_flask.token_hosts import may_carry_token
from jobs.chain import paint_with_credentials
from jobs.credentials import key_of
from jobs.engines.base import (
    CredentialRejected,
    Deadline,
    Engine,
    EngineBusy,
    EngineError,
    News,
    PaintRequest,
    QuotaExhausted,
)
from scripts.findings import Finding, Timer

CHECK_S = 20.0
PHOTOGRAPH_SIZE = (512, 384)
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

NEW_TOKEN = "Make a new token at https://huggingface.co/settings/tokens and put it in its place."  # noqa: S105
NEW_KEYS = {
    "gradio": NEW_TOKEN,
    "kie": "Put a valid key into KIE_AI_API_KEY.",
    "openai": "Put a valid key into OPENAI_API_KEY.",
    "processor": "Put the secret that the processor knows into TASK_PROCESS_SECRET_KEY.",
}
CREDIT = {
    "gradio": "Wait for the tokens' quota, or add a token.",
    "kie": "Buy credits for the account at KIE.",
    "openai": "Add credit to the account at OpenAI, or raise its limit.",
    "processor": "Ask whoever runs the processor for more.",
}
WHERE = {
    "gradio": "Check GRADIO_URL and GRADIO_API_NAME, and whether the Space runs.",
    "kie": "Check KIE_MODEL and KIE_BASE_URL.",
    "openai": "Check OPENAI_MODEL and OPENAI_BASE_URL.",
    "processor": "Check PROCESSOR_URL, and whether the processor runs.",
}


@dataclass
class EngineReport:
    """Whether an engine can paint for a visitor now, as far as the findings tell until here."""

    paints: bool = False


def check_engine(engine: Engine, report: EngineReport) -> Iterator[Finding]:
    """Ask the engine, and for the Space each token, without painting or spending anything; fills in the report."""
    if engine.name == "gradio":
        yield from _check_space(engine, report)
        return
    finding, _error = _ask(engine, key_of(engine.name))
    report.paints = finding.ok
    yield finding


def paint_through(engine: Engine, report: EngineReport) -> Finding:
    """Have the engine paint one small picture on the way of an order: leases, retries, one deadline."""
    timer, fix = Timer(), ""
    try:
        text = _painted(engine)
    except EngineError as error:
        report.paints, text, fix = False, error.safe_text, fix_for(engine.name, error)
    except (AppError, OSError) as error:
        report.paints, text, fix = False, f"gave no usable picture: {type(error).__name__}", WHERE[engine.name]
    return Finding("painting", engine.name, report.paints, text, timer.seconds, fix)


def fix_for(engine: str, error: EngineError) -> str:
    """What an operator can do about this refusal."""
    if "The proxy " in error.safe_text:
        return "Mend the proxy first."
    match error:
        case CredentialRejected():
            return NEW_KEYS[engine]
        case QuotaExhausted():
            return CREDIT[engine]
        case EngineBusy():
            return f"Try again in a minute. {WHERE[engine]}"
        case _:
            return WHERE[engine]


def _ask(engine: Engine, credential: str | None) -> tuple[Finding, EngineError | None]:
    timer = Timer()
    try:
        said = engine.check(credential=credential, deadline=Deadline(CHECK_S))
    except EngineError as error:
        fix = fix_for(engine.name, error)
        return Finding("engine", engine.name, False, error.safe_text, timer.seconds, fix), error
    return Finding("engine", engine.name, True, said, timer.seconds), None


# --- The Space and its tokens ---


def _check_space(engine: Engine, report: EngineReport) -> Iterator[Finding]:
    """The Space as the first token that it takes sees it, then where tokens may travel, then each token."""
    settings = runtime().settings
    tokens = settings.hugging_face_tokens
    travels = may_carry_token(settings.gradio_url or "", settings.gradio_token_hosts)
    refused: set[str | None] = set()
    asked: set[str | None] = set()
    for credential in (travels and tokens) or (None,):
        finding, error = _ask(engine, credential)
        asked.add(credential)
        if not isinstance(error, CredentialRejected):
            break
        refused.add(credential)
    yield finding
    if not tokens:
        report.paints = finding.ok
        return
    yield _travel(travels)
    usable = []
    for token, status in zip(tokens, gpu_tokens.statuses(), strict=True):
        if finding.ok and travels and token not in asked and isinstance(_ask(engine, token)[1], CredentialRejected):
            refused.add(token)
        told = _check_token(token, status, token in refused)
        usable.append(told.ok)
        yield told
    report.paints = finding.ok and (any(usable) or not travels)


def _travel(travels: bool) -> Finding:
    """Whether tokens are sent to the Space; to one on this machine they need not be."""
    url = runtime().settings.gradio_url or ""
    host = urlsplit(url).hostname or ""
    if travels:
        return Finding("token", "all", True, f"may travel to {host}")
    text = f"stay at home: {url} is not an https address of GRADIO_TOKEN_HOSTS"
    if host in LOOPBACK:
        return Finding("token", "all", True, text)
    return Finding("token", "all", False, text, fix=f"Name {host} in GRADIO_TOKEN_HOSTS if it may see your tokens.")


def _check_token(token: str, status: TokenStatus, refused_by_space: bool) -> Finding:
    timer = Timer()
    try:
        if not gpu_tokens.hub_may_be_asked():
            raise QuotaUnknown("the host of HF_ENDPOINT is not in GRADIO_TOKEN_HOSTS")
        answer: Reading | QuotaUnknown | None = hub_quota.read(runtime().settings.hf_endpoint, token)
    except QuotaUnknown as error:
        answer = error
    except TokenRefused:
        answer = None
    ok, text, fix = _verdict(status, answer, refused_by_space)
    return Finding("token", status.mask, ok, text, timer.seconds, fix)


def _verdict(status: TokenStatus, answer: Reading | QuotaUnknown | None, refused: bool) -> tuple[bool, str, str]:
    """Whether a token can be used now, why, and what to do; `answer` is None when the Hub refuses it."""
    if answer is None or refused:
        return False, f"is refused by the {'Space' if answer else 'Hub'}", NEW_TOKEN
    left, is_enough = _left(status, answer)
    if status.state == "disabled":
        fix = f"When it is in order: flask --app wsgi tokens enable {status.mask[-4:]}"
        return False, f"was refused and is disabled; {left}", fix
    if status.state == "resting":
        until = f" until {status.cooling_until:%H:%M} UTC" if status.cooling_until else ""
        return False, f"rests{until}, as a quota message has said; {left}", CREDIT["gradio"]
    return is_enough, left, "" if is_enough else CREDIT["gradio"]


def _left(status: TokenStatus, answer: Reading | QuotaUnknown) -> tuple[str, bool]:
    """What is left of the quota in words, and whether that is enough for one run."""
    if isinstance(answer, QuotaUnknown):
        text = f"about {status.seconds_left:.0f} of {status.daily_limit:.0f} s left by our own count"
        return f"{text}; the Hub does not tell ({answer})", status.state != "spent"
    text = f"{answer.left:.0f} of {answer.base:.0f} s left"
    text += f", resets {answer.resets_at:%d %B %H:%M} UTC" if answer.resets_at else ""
    if answer.runs_left == 0:
        return f"{text}, but no run", False
    reserved = gpu_tokens.reservation()
    if answer.left < reserved:
        return f"{text}; one run reserves {reserved:.0f} s", False
    return text, True


# --- Painting ---


class _Nobody:
    """Listens to a painting that no visitor waits for."""

    def enter(self, stage: Stage, engine: str | None = None) -> None:
        """Nothing to say."""

    def tell(self, news: News, engine: str) -> None:
        """Nothing to say."""

    def is_cancelled(self) -> bool:
        """Never."""
        return False


def _painted(engine: Engine) -> str:
    """Paint once and prove the answer to be a picture; gives its size in words."""
    facts, style = ENGINES[engine.name], style_named(DEFAULT_STYLE)
    shape = fit(*PHOTOGRAPH_SIZE, within=PHOTOGRAPH_SIZE, largest=facts.largest_side, smallest=facts.smallest_side)
    request = PaintRequest(
        mode=Mode.IMAGE_TO_IMAGE,
        image=prepare(drawn_photograph(), shape),
        width=shape.width,
        height=shape.height,
        prompt=style.prompt_with(""),
        look=style.key,
        seed=1,
        reference=f"check-{secrets.token_hex(16)}",
    )
    deadline = Deadline(runtime().settings.task_timeout_s)
    answer = paint_with_credentials(engine, request, deadline, _Nobody())
    source_type = DigitalSourceType.COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA
    picture = finish(answer, shape, source_type=source_type)
    return f"a picture of {picture.width} x {picture.height} pixels"


def drawn_photograph() -> bytes:
    """A drawn landscape: sky, sun and a hill, as JPEG."""
    width, height = PHOTOGRAPH_SIZE
    sky = Image.linear_gradient("L").resize(PHOTOGRAPH_SIZE)
    picture = Image.merge("RGB", (sky.point(lambda v: 120 + v // 3), sky.point(lambda v: 170 + v // 4), sky))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((width * 0.7, height * 0.1, width * 0.8, height * 0.1 + width * 0.1), fill=(255, 240, 190))
    draw.ellipse((-width * 0.2, height * 0.55, width * 1.2, height * 1.8), fill=(86, 140, 74))
    file = BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()
