"""Every text that upstreams are known to send, of all generations, and what it asks the caller to do."""

import pytest

from jobs.engines.base import (
    CredentialRejected,
    EngineBroken,
    EngineBusy,
    EngineError,
    QuotaExhausted,
    RequestRejected,
    masked,
)
from jobs.engines.gradio_messages import (
    DAY_S,
    HIDDEN,
    PENDING_CREDITS_S,
    TOKEN_NOT_TAKEN,
    WAITING_FOR_GPU_TEXT,
    refusal,
    requested_seconds,
    retry_seconds,
)

QUOTA_TITLE = "ZeroGPU quota exceeded"
WORKER_TITLE = "ZeroGPU worker error"
CLIENT_TITLE = "ZeroGPU client error"
TOKEN_PAGE = "https://huggingface.co/settings/tokens"
PRO_PAGE = "https://huggingface.co/subscribe/pro"
HIDDEN_BY_CLIENT = (
    "The upstream Gradio app has raised an exception but has not enabled verbose error reporting. "
    "To enable, set show_error=True in launch()."
)

# message, title, seconds until the token may be used again
QUOTA = [
    # spaces 0.18 to 0.28
    ("You have exceeded your GPU quota", None, DAY_S),
    (
        "You have exceeded your GPU quota (46s left vs. 60s requested). Please retry in 0:09:48",
        None,
        588,
    ),
    (
        "You have exceeded your GPU quota (46s left vs. 60s requested). "
        "Sign-up on Hugging Face to get more quotas or retry in 1:09:48",
        None,
        4188,
    ),
    # 0.30, with markup, and as it was logged
    (
        "You have exceeded your GPU quota (60s requested vs. 56s left). "
        "<a style='x' href='y'>Create a free account</a> to get more usage quota.",
        None,
        DAY_S,
    ),
    (
        "You have exceeded your free GPU quota (60s requested vs. 56s left). "
        "Subscribe to Pro to get 5x more usage quota",
        None,
        DAY_S,
    ),
    ("You have exceeded your Pro GPU quota (60s requested vs. 0s left). Try again in 2:03:04", None, 7384),
    # 0.32
    (
        "You have exceeded your GPU quota (60s requested vs. 56s left). "
        "[Create a free account](https://huggingface.co/join) to get more daily usage quota.",
        QUOTA_TITLE,
        DAY_S,
    ),
    # 0.34
    ("You have exceeded your GPU quota (60s requested vs. 0s left).", QUOTA_TITLE, DAY_S),
    (
        "Space app has reached its GPU limit. Try re-running outside of examples if it happened after clicking one",
        QUOTA_TITLE,
        DAY_S,
    ),
    ("You have exceeded your runs limit.", QUOTA_TITLE, DAY_S),
    # 0.36 to 0.47
    *(
        (
            f"You have exceeded your {tier}GPU quota (60s requested vs. 0s left). Try again in 0:00:07",
            QUOTA_TITLE,
            7,
        )
        for tier in ("", "free ", "Pro ")
    ),
    (
        "Unlogged user is runnning out of daily ZeroGPU quotas. Signup for free on "
        "https://huggingface.co/join or login on https://huggingface.co/login to get more ZeroGPU quota now.",
        QUOTA_TITLE,
        DAY_S,
    ),
    (
        f"User is runnning out of daily ZeroGPU quotas. Visit {PRO_PAGE} to get more ZeroGPU quota now.",
        QUOTA_TITLE,
        DAY_S,
    ),
    ("User is running out of daily ZeroGPU quotas.", None, DAY_S),
    # 0.49 and 0.51
    *(
        (
            f"You have exceeded your {tier}ZeroGPU quota (90s requested vs. 80s left). Try again in 23:51:16. {tail}",
            QUOTA_TITLE,
            85876,
        )
        for tier, tail in (
            ("", f"Authenticate with a Hugging Face token for more quota - {TOKEN_PAGE}"),
            ("free ", f"Subscribe to Hugging Face PRO to get 25 min of ZeroGPU quota a day - {PRO_PAGE}"),
            ("free ", f"Subscribe to Hugging Face PRO to get 40 min of ZeroGPU quota a day - {PRO_PAGE}"),
            (
                "Pro ",
                "Add credits to keep using ZeroGPU. $1 for 10 minutes of ZeroGPU inference - "
                "https://huggingface.co/settings/billing?add-credits=true",
            ),
        )
    ),
    (f"You have exceeded your ZeroGPU runs limit. Subscribe to Hugging Face PRO - {PRO_PAGE}", None, DAY_S),
    (
        "You have too many ZeroGPU credits allocated to running tasks. "
        "Try again once some of those tasks have completed.",
        "ZeroGPU pending credits exceeded",
        PENDING_CREDITS_S,
    ),
    # Numbers alone say nothing: this was a refusal.
    ("You have exceeded your GPU quota (120s requested vs. 156s left). Try again in 0:10:00", None, 600),
    # The two short forms that earlier clients matched.
    ("GPU quota exceeded", None, DAY_S),
    ("exceed free GPU quota", None, DAY_S),
    ("Something that nobody has seen yet", QUOTA_TITLE, DAY_S),
    # gradio_client before 1.9 puts its own words before the text.
    (
        "The upstream Gradio app has raised an exception: You have exceeded your GPU quota. Retry in 0:00:30",
        None,
        30,
    ),
]

# message, title, how often trying again is sensible (None: the caller's own bound)
BUSY = [
    ("No GPU is currently available", None, None),
    ("No GPU is currently available for you after 60s", None, None),
    ("No GPU was available after 60s. Retry later", "ZeroGPU queue timeout", None),
    (
        "No GPU was available after 60s. Create a free account to get a higher priority in ZeroGPU queues",
        "ZeroGPU queue timeout",
        None,
    ),
    (
        "No GPU was available after 60s. Subscribe to Pro to get the highest priority in ZeroGPU queues",
        "ZeroGPU queue timeout",
        None,
    ),
    # The title misleads here, so the message has to be read first.
    ("No GPU was available after 60s. Try re-running outside of examples", QUOTA_TITLE, None),
    ("No GPU was available", CLIENT_TITLE, None),
    ("Expired ZeroGPU proxy token", CLIENT_TITLE, 1),
    ("GPU task aborted", WORKER_TITLE, 1),
    ("RuntimeError", WORKER_TITLE, 1),
    ("OutOfMemoryError", WORKER_TITLE, 1),
    ("torch.cuda.OutOfMemoryError", WORKER_TITLE, 1),
    ("Something else", WORKER_TITLE, 1),
    ("Something else", "ZeroGPU queue timeout", None),
    ("ZeroGPU API /schedule error: 502 (Bad Gateway)", None, None),
    ("Unexpected end of stream", None, None),
    ("Error while re-trying after queue disconnect", None, None),
    ("Connection closed by visitor while queueing", None, None),
    ("Queue is full! Please try again.", None, None),
    ("Queue is full. Max size is 20 and size is 20.", None, None),
    ("Queue is stopped.", None, None),
    ("Server stopped unexpectedly.", None, None),
    ("Server stopped.", None, None),
    ("Session not found.", None, None),
    ("Too many requests to the API, please try again later.", None, None),
    (HIDDEN, None, None),
    (HIDDEN_BY_CLIENT, None, None),
]

REJECTED = [
    ("ValueError", WORKER_TITLE),
    ("TypeError", WORKER_TITLE),
    ("Value 128 is less than minimum value 256.", None),
    ("Value 2048 is greater than maximum value 1024.", None),
    ("Value: Simple_Sketch is not in the list of choices: ['Ghibli']", None),
    ("1 parameter(s) failed validation:", None),
    ("File x.jpg exceeds the maximum file size of 10 bytes set in  component.", None),
]

BROKEN = [
    (
        "The requested GPU duration (270s) is larger than the maximum allowed"
        f"Subscribe to Hugging Face PRO to allow GPU tasks up to 40 min - {PRO_PAGE}",
        "ZeroGPU illegal duration",
    ),
    ("Anything", "ZeroGPU illegal duration"),
    ("Internal Gradio error", CLIENT_TITLE),
    ("The current space is in the invalid state: BUILD_ERROR. Please contact the owner to fix this.", None),
    ("Could not find Space: a/b. If it is a private Space, please provide a Hugging Face token.", None),
    ("Could not fetch config for https://example.hf.space/", None),
    ("Could not get Gradio config from: https://example.hf.space/", None),
    ("Could not fetch api info for https://example.hf.space/: <html>", None),
    ("Could not login to https://example.hf.space/. Invalid credentials.", None),
    ("A sentence that nobody has told us of", "Error"),
]


@pytest.mark.parametrize(("message", "title", "seconds"), QUOTA)
def test_a_quota_text_names_its_rest(message: str, title: str | None, seconds: float) -> None:
    """Each wording of an empty quota lets the credential rest for as long as it names, a day by default."""
    error = refusal(message, title)
    assert type(error) is QuotaExhausted
    assert error.retry_after == seconds


@pytest.mark.parametrize(("message", "title", "retries"), BUSY)
def test_a_passing_trouble_is_tried_again(message: str, title: str | None, retries: int | None) -> None:
    """Each wording of a passing trouble asks for another try, and those that may be lasting for one at most."""
    error = refusal(message, title)
    assert type(error) is EngineBusy
    assert error.retries == retries


@pytest.mark.parametrize(("message", "title"), REJECTED)
def test_a_bad_input_is_rejected(message: str, title: str | None) -> None:
    """Each wording of a complaint about the input ends the order, because trying again is no use."""
    assert type(refusal(message, title)) is RequestRejected


@pytest.mark.parametrize(("message", "title"), BROKEN)
def test_a_broken_space_is_left(message: str, title: str | None) -> None:
    """A Space that cannot serve, and a text that nobody knows, send the caller to the next engine."""
    assert type(refusal(message, title)) is EngineBroken


@pytest.mark.parametrize(
    "message",
    [
        "You have exceeded your ZeroGPU quota (90s requested vs. 0s left). Try again in 23:51:16. "
        f"Authenticate with a Hugging Face token for more quota - {TOKEN_PAGE}",
        "You have exceeded your GPU quota (60s requested vs. 56s left). <a>Create a free account</a> to get more",
        "Unlogged user is runnning out of daily ZeroGPU quotas.",
        "You have exceeded your GPU quota. Sign-up on Hugging Face to get more quotas or retry in 1:00:00",
    ],
)
def test_a_token_that_did_not_take_is_noticed(message: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is said to unknown callers, after a call with a token, is warned of, tried afresh and rests an hour."""
    error = refusal(message, QUOTA_TITLE, credential="hf_thisisatoken")
    assert isinstance(error, QuotaExhausted)
    assert (error.reconnect, error.retry_after <= 3600) == (True, True)
    assert "WARNING" in caplog.text
    assert "hf_thisisatoken" not in caplog.text


def test_a_token_that_is_refused_is_rejected() -> None:
    """The words of a failed sign-in take the token out of use."""
    message = "Could not login to https://example.hf.space/. Invalid credentials."
    assert type(refusal(message, QUOTA_TITLE, credential="hf_thisisatoken")) is CredentialRejected


def test_a_priority_hint_is_no_rejected_token() -> None:
    """An offer of a free account under a queue timeout says nothing about the token."""
    message = "No GPU was available after 60s. Create a free account to get a higher priority in ZeroGPU queues"
    assert type(refusal(message, credential="hf_thisisatoken")) is EngineBusy


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Try again in 0:09:48", 588),
        ("please RETRY in 23:51:16. ", 85876),
        ("Try again in 1 day, 2:03:04", 93784),
        ("Try again in 2 days, 0:00:01", 172801),
        ("Try again in 0:00:01.500000", 1.5),
        ("Please retry in 1 day, 0:00:00", 86400),
        ("Try again in 2 days", 172800),
        ("Try again in -1 day, 23:59:58", 0),
        ("Try again in 1 day.", 86400),
        ("It took 0:09:48", None),
        ("Try again once some of those tasks have completed.", None),
    ],
)
def test_every_form_of_a_retry_time(text: str, seconds: float | None) -> None:
    """A wait is read in each form that Python and ZeroGPU write it, and only after `try again in` or `retry in`."""
    assert retry_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("You have exceeded your ZeroGPU quota (90s requested vs. 80s left).", 90),
        ("You have exceeded your GPU quota (46s left vs. 60s requested). Please retry in 0:09:48", 60),
        ("You have exceeded your GPU quota (120s requested vs. -3s left).", 120),
        ("You have exceeded your GPU quota", None),
        ("60s requested", None),
    ],
)
def test_the_seconds_that_a_call_reserves(text: str, seconds: int | None) -> None:
    """The requested seconds are read in both orders and travel with the refusal."""
    assert requested_seconds(text) == seconds
    error = refusal(text, QUOTA_TITLE)
    assert isinstance(error, QuotaExhausted)
    assert error.requested_seconds == seconds


@pytest.mark.parametrize(
    ("message", "warned"),
    [
        ("You have exceeded your ZeroGPU quota (90s requested vs. 0s left). Try again in 1:00:00.", True),
        ("You have exceeded your GPU quota (60s requested vs. 0s left). Try again in 1:00:00", True),
        ("You have exceeded your free ZeroGPU quota (90s requested vs. 0s left). Try again in 1:00:00.", False),
        ("You have exceeded your Pro GPU quota (60s requested vs. 0s left). Try again in 1:00:00", False),
    ],
)
def test_a_token_that_seems_not_to_take(message: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A text that calls the caller neither free nor Pro warns the operator and asks for a fresh connection once.

    Old Spaces address everybody like this, so the token is not rejected; a call without one warns of nothing.
    """
    error = refusal(f"{message} hf_thisisatoken", QUOTA_TITLE, credential="hf_thisisatoken")
    assert isinstance(error, QuotaExhausted)
    assert (error.retry_after, error.reconnect) == (3600, warned)
    assert ("as if the call had carried no token" in caplog.text) is warned
    assert "hf_thisisatoken" not in caplog.text
    caplog.clear()
    assert refusal(message, QUOTA_TITLE).reconnect is False
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("text", "waits", "anonymous"),
    [
        ("Waiting for a GPU to become available", True, False),
        ("Waiting for a GPU slot on this Space", True, False),
        ("ZeroGPU init", True, False),
        ("Successfully acquired a GPU", False, False),
        ("Falling back to IP-based quotas (InvalidRepoToken)", False, True),
        ("GPU task is exceeding its requested duration and might be aborted", False, False),
        ("GPU device not used", False, False),
    ],
)
def test_notices(text: str, waits: bool, anonymous: bool) -> None:
    """Of what ZeroGPU says on the way, waiting becomes a stage and a token that did not take a warning."""
    assert bool(WAITING_FOR_GPU_TEXT.search(text)) is waits
    assert bool(TOKEN_NOT_TAKEN.search(text)) is anonymous


def test_no_secret_in_an_error() -> None:
    """Neither the call's token nor anything that looks like one is in an error's text, and the text is bounded."""
    error: EngineError = refusal(
        "no for plain-secret and hf_abcdefghij, Bearer xyz " + "x" * 900, credential="plain-secret"
    )
    for secret in ("plain-secret", "hf_abcdefghij", "xyz"):
        assert secret not in str(error) + repr(error) + error.safe_text
    assert len(error.safe_text) == 500
    assert masked("a plain sentence") == "a plain sentence"
