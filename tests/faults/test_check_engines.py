"""scripts/check_engines.py against real Spaces, stand-ins of the paid engines, and real proxies."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from ghibli_flask.factory import create_app
from ghibli_flask.services import flags, gpu_tokens
from ghibli_flask.settings import Settings
from jobs.engines.gradio import GradioEngine
from scripts import check_engines
from scripts.findings import Finding
from tests.conftest import close
from tests.engines.conftest import RunningSpace
from tests.engines.conftest import paint as paint_with
from tests.faults.conftest import NOBODY, photo
from tests.faults.test_engines import GOOD, OTHER, REVOKED, SPENT, tokens_used
from tests.support.checkout import offline_env
from tests.support.ports import free_port
from tests.support.proxy import running_proxy
from tests.support.standins import kie, openai
from tests.support.standins.hub import HubStandIn, quota

PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
HOST = "painter.example"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy is set before a test, and none is left after it."""
    for name in PROXY_NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def paid() -> Iterator[tuple[openai.OpenAIStandIn, kie.KieStandIn]]:
    """OpenAI and KIE."""
    with openai.OpenAIStandIn() as one, kie.KieStandIn() as other:
        yield one, other


@pytest.fixture
def openai_api(paid: tuple[openai.OpenAIStandIn, kie.KieStandIn]) -> openai.OpenAIStandIn:
    """OpenAI's API, which gives a real picture for every order."""
    paid[0].reset()
    paid[0].picture = photo(200)
    return paid[0]


@pytest.fixture
def kie_api(paid: tuple[openai.OpenAIStandIn, kie.KieStandIn]) -> kie.KieStandIn:
    """KIE's API."""
    paid[1].reset()
    return paid[1]


@pytest.fixture(scope="module")
def running_hub() -> Iterator[HubStandIn]:
    """The server behind `hub`."""
    stand_in = HubStandIn()
    stand_in.start()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def hub(running_hub: HubStandIn) -> HubStandIn:
    """A Hub that knows three tokens: one has plenty, one as much, one next to nothing."""
    running_hub.forget()
    running_hub.accounts = {
        GOOD: quota(210, resets_at="2026-11-23T03:12:00Z"),
        OTHER: quota(300),
        SPENT: quota(12, resets_at="2026-11-23T03:12:00Z"),
    }
    return running_hub


def checked(app: Flask, *words: str) -> tuple[int, list[Finding], list[str]]:
    """Check; gives the exit code, what was found, and what paints."""
    arguments = check_engines.parse(words)
    with app.app_context():
        check = check_engines.Check(arguments.engine, arguments.paint)
        findings = list(check.run())
    return check.exit_code, findings, check.painters


def lines(findings: list[Finding], kind: str) -> list[tuple[str, bool, str, str]]:
    """Name, verdict, text and advice of each finding of a kind."""
    return [(found.name, found.ok, found.text, found.fix) for found in findings if found.kind == kind]


def of_tokens(hub: HubStandIn, *tokens: str) -> dict[str, Any]:
    """The settings of an installation with these tokens, which may travel to loopback."""
    return {"hugging_face_tokens": tokens, "gradio_token_hosts": ("127.0.0.1",), "hf_endpoint": hub.url}


def of_openai(api: openai.OpenAIStandIn, key: str = openai.KEY) -> dict[str, Any]:
    """The settings of an installation with OpenAI."""
    return {"openai_api_key": key, "openai_base_url": api.api_url}


def test_all_is_well(
    painter: Callable[..., Flask],
    moods: RunningSpace,
    hub: HubStandIn,
    openai_api: openai.OpenAIStandIn,
    kie_api: kie.KieStandIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each engine and each token has a line with its time, nothing is painted or spent, and the code is 0."""
    before = tokens_used(moods)
    app = painter(
        moods,
        "/by_token",
        **of_tokens(hub, GOOD, OTHER),
        **of_openai(openai_api),
        kie_ai_api_key=kie.KEY,
        kie_base_url=kie_api.url,
    )
    with app.app_context():
        assert check_engines.run(check_engines.parse([])) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "A visitor gets a picture from: gradio, kie, openai."
    assert [line.split()[:3] for line in printed[:-1]] == [
        ["engine", "gradio", "works"],
        ["token", "all", "works"],
        ["token", "hf_…000a", "works"],
        ["token", "hf_…000b", "works"],
        ["engine", "kie", "works"],
        ["engine", "openai", "works"],
    ]
    assert all(float(line.split()[3]) < 10 for line in printed[:-1])
    assert "Gradio 6" in printed[0]
    assert "with 6 parameters" in printed[0]
    assert "may travel to 127.0.0.1" in printed[1]
    assert "210 of 300 s left, resets 23 November 03:12 UTC" in printed[2]
    assert "117.5 credits are left" in printed[4]
    assert (tokens_used(moods), openai_api.orders, kie_api.tasks) == (before, 0, 0)


def test_something_does_not_work(
    painter: Callable[..., Flask], gallery: RunningSpace, openai_api: openai.OpenAIStandIn
) -> None:
    """A key that is refused is code 1 while another engine paints, and code 2 when it is asked for alone."""
    app = painter(gallery, **of_openai(openai_api, "sk-proj-of-somebody-who-left"))
    code, findings, painters = checked(app)
    assert (code, painters) == (1, ["gradio"])
    _gradio, (name, ok, text, fix) = lines(findings, "engine")
    assert (name, ok, fix) == ("openai", False, "Put a valid key into OPENAI_API_KEY.")
    assert "401" in text
    assert checked(app, "--engine", "openai")[0] == 2
    assert checked(app, "--engine", "gradio")[0] == 0


def test_nothing_paints(painter: Callable[..., Flask], app_factory: Callable[..., Flask]) -> None:
    """A Space that is away, an engine that is not configured, and no engine at all are code 2, with advice."""
    code, findings, painters = checked(painter(NOBODY))
    assert (code, painters) == (2, [])
    assert lines(findings, "engine")[0][3] == "Check GRADIO_URL and GRADIO_API_NAME, and whether the Space runs."
    code, findings, _painters = checked(painter(NOBODY), "--engine", "kie")
    assert (code, lines(findings, "engine")) == (2, [("kie", False, "is not configured", "Set KIE_AI_API_KEY.")])
    code, findings, _painters = checked(app_factory(gradio_url=None))
    assert (code, lines(findings, "engine")[0][2]) == (2, "no engine is configured")


def test_each_token(painter: Callable[..., Flask], moods: RunningSpace, hub: HubStandIn) -> None:
    """A good, a spent, a revoked, a resting and a disabled token are told apart, and only the good one counts."""
    resting, disabled = "hf_resting00000000000000000000000001", "hf_disabled0000000000000000000000002"
    hub.accounts |= {resting: quota(250), disabled: quota(250)}
    app = painter(moods, "/by_token", **of_tokens(hub, resting, disabled))
    with app.app_context():
        for _ in range(2):
            lease = gpu_tokens.lease()
            assert lease
            gpu_tokens.rest(lease, 3600) if lease.token == resting else gpu_tokens.reject(lease)
    app = painter(moods, "/by_token", **of_tokens(hub, REVOKED, GOOD, SPENT, resting, disabled))
    code, findings, painters = checked(app)
    assert (code, painters) == (1, ["gradio"])
    told = {name: (ok, text, fix) for name, ok, text, fix in lines(findings, "token")}
    assert told["hf_…000e"][:2] == (False, "is refused by the Hub")
    assert told["hf_…000e"][2].startswith("Make a new token")
    assert told["hf_…000a"][0]
    assert told["hf_…000c"][:2] == (
        False,
        "12 of 300 s left, resets 23 November 03:12 UTC; one run reserves 60 s",
    )
    assert told["hf_…0001"][1].startswith("rests until ")
    assert told["hf_…0002"][1] == "was refused and is disabled; 250 of 300 s left"
    assert told["hf_…0002"][2].endswith("flask --app wsgi tokens enable 0002")


def test_no_token_is_left(painter: Callable[..., Flask], moods: RunningSpace, hub: HubStandIn) -> None:
    """A Space that answers paints nothing when every token is used up or refused."""
    code, findings, painters = checked(painter(moods, "/by_token", **of_tokens(hub, SPENT, REVOKED)))
    assert (code, painters) == (2, [])
    assert lines(findings, "engine")[0][1]
    code, findings, _painters = checked(painter(moods, "/by_token", **of_tokens(hub, REVOKED)))
    assert (code, lines(findings, "engine")[0][1]) == (2, False)


def test_a_hub_that_does_not_answer(painter: Callable[..., Flask], moods: RunningSpace, hub: HubStandIn) -> None:
    """Our own count is told then, with the reason; the Space itself says which token it refuses."""
    hub.behave = "broken"
    code, findings, painters = checked(painter(moods, "/by_token", **of_tokens(hub, GOOD, REVOKED)))
    assert (code, painters) == (1, ["gradio"])
    _all, good, revoked = lines(findings, "token")
    assert good[1:3] == (
        True,
        "about 300 of 300 s left by our own count; the Hub does not tell (The Hub answered 503.)",
    )
    assert revoked[1:3] == (False, "is refused by the Space")


def test_tokens_that_stay_at_home(painter: Callable[..., Flask], moods: RunningSpace, hub: HubStandIn) -> None:
    """A Space elsewhere that is not named is told with advice; the one on this machine needs no token."""
    settings = {"hugging_face_tokens": (GOOD,), "hf_endpoint": hub.url}
    code, findings, _painters = checked(painter(moods, "/six", **settings))
    assert lines(findings, "token")[0][:2] == ("all", True)
    hub_line = lines(findings, "token")[1]
    assert "the host of HF_ENDPOINT is not in GRADIO_TOKEN_HOSTS" in hub_line[2]
    assert hub.asked == [], "A token went to a host that is not named."
    elsewhere = f"http://127.0.0.2:{free_port()}"
    code, findings, _painters = checked(painter(elsewhere, "/six", **settings))
    assert code == 2
    assert lines(findings, "token")[0][3] == "Name 127.0.0.2 in GRADIO_TOKEN_HOSTS if it may see your tokens."


def test_painting(
    painter: Callable[..., Flask],
    moods: RunningSpace,
    hub: HubStandIn,
    openai_api: openai.OpenAIStandIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """--paint has each engine paint once on the way of an order, and says before each what it costs."""
    said_before: list[str] = []
    openai_api.reply_to = lambda heard, usual=openai_api.reply_to: (
        (  # type: ignore[method-assign]
            said_before.append(capsys.readouterr().err) if heard.path == openai.EDITS else None
        )
        or usual(heard)
    )
    before = len(tokens_used(moods))
    app = painter(moods, "/by_token", **of_tokens(hub, GOOD), **of_openai(openai_api))
    code, findings, painters = checked(app, "--paint")
    assert (code, painters) == (0, ["gradio", "openai"])
    assert [found[:3] for found in lines(findings, "painting")] == [
        ("gradio", True, "a picture of 512 x 384 pixels"),
        ("openai", True, "a picture of 512 x 384 pixels"),
    ]
    assert "Painting a small picture through openai now. It costs one picture on the bill of OpenAI." in said_before[0]
    assert (tokens_used(moods)[before:], openai_api.orders) == ([GOOD], 1)
    with app.app_context():
        assert [(status.calls, status.state) for status in gpu_tokens.statuses()] == [(1, "available")]
    del openai_api.reply_to


def test_a_painting_that_fails(painter: Callable[..., Flask], moods: RunningSpace) -> None:
    """An engine that answers well and gives no picture is found out by --paint alone."""
    app = painter(moods, "/blank")
    assert checked(app)[0] == 0
    code, findings, _painters = checked(app, "--paint")
    assert code == 2
    assert lines(findings, "painting")[0][:2] == ("gradio", False)


def test_an_engine_that_is_switched_off(painter: Callable[..., Flask], gallery: RunningSpace) -> None:
    """An engine that a flag has switched off is said to paint for nobody."""
    app = painter(gallery)
    with app.app_context():
        flags.switch("engine-gradio", "off", by="test")
    code, findings, painters = checked(app)
    assert (code, painters) == (2, [])
    assert lines(findings, "engine")[-1][3] == "To switch it on: flask --app wsgi flags set engine-gradio"


# --- Proxies ---


def test_a_proxy_that_works(painter: Callable[..., Flask], gallery: RunningSpace) -> None:
    """The proxy has a line of its own, and the engine is asked through it."""
    with running_proxy({HOST: gallery.port}, login="visitor:se@cret") as proxy:
        app = painter(f"http://{HOST}", http_proxy=proxy.url, https_proxy=proxy.url)
        code, findings, _painters = checked(app)
    assert code == 0
    assert lines(findings, "proxy") == [(f"http://127.0.0.1:{proxy.port}", True, f"carries calls to {HOST}", "")]
    assert len(proxy.asked) == 3


def test_a_wrong_proxy(painter: Callable[..., Flask], openai_api: openai.OpenAIStandIn) -> None:
    """A proxy that is away, and one that wants another password, are named without theirs; engines name them too."""
    port = free_port()
    gone = f"http://visitor:a-long-password@127.0.0.1:{port}"
    app = painter(
        f"http://{HOST}", http_proxy=gone, https_proxy=gone, openai_api_key="k", openai_base_url=f"https://{HOST}/v1"
    )
    code, findings, _painters = checked(app)
    assert code == 2
    told = lines(findings, "proxy")
    assert [name for name, *_ in told] == [f"http://127.0.0.1:{port}"] * 2, "One for each scheme."
    assert all("does not answer as it should" in text for _name, _ok, text, _fix in told)
    engines = lines(findings, "engine")
    assert [(name, fix) for name, _ok, _text, fix in engines] == [
        ("gradio", "Mend the proxy first."),
        ("openai", "Mend the proxy first."),
    ]
    assert "a-long-password" not in str(findings)
    with running_proxy({}, login="visitor:right") as proxy:
        wrong = f"http://visitor:a-long-password@127.0.0.1:{proxy.port}"
        _code, findings, _painters = checked(painter(f"http://{HOST}", http_proxy=wrong, https_proxy=wrong))
    assert "407" in lines(findings, "proxy")[0][2]
    assert "a-long-password" not in str(findings)


def test_a_proxy_that_nothing_goes_through(painter: Callable[..., Flask], gallery: RunningSpace) -> None:
    """It is knocked at all the same."""
    with running_proxy({}) as proxy:
        code, findings, _painters = checked(painter(gallery, https_proxy=proxy.url))
    assert (code, lines(findings, "proxy")[0][1]) == (0, True)
    gone = f"http://127.0.0.1:{free_port()}"
    code, findings, _painters = checked(painter(gallery, https_proxy=gone))
    assert (code, lines(findings, "proxy")[0][:2]) == (1, (gone, False))


def test_a_proxy_of_the_env_file_is_used(
    tmp_path: Path, database_url: str, redis_url: str, gallery: RunningSpace
) -> None:
    """A proxy that stands in `.env` alone carries an engine's calls in every process that has made the application."""
    with running_proxy({HOST: gallery.port}) as proxy:
        env = tmp_path / ".env"
        env.write_text(f"HTTP_PROXY={proxy.url}\nGRADIO_URL=http://{HOST}\nINSTANCE_DIR={tmp_path}\n")
        app = create_app(Settings(_env_file=env, database_url=database_url, redis_url=redis_url))
        close(app)
        engine = GradioEngine(f"http://{HOST}", "/six", ())
        try:
            assert paint_with(engine)
        finally:
            engine.close()
        assert set(proxy.asked) == {f"GET {HOST}", f"POST {HOST}"}


# --- The command ---


def command(checkout: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command from another folder, without Redis and without a database."""
    env = offline_env(
        REDIS_URL="redis://127.0.0.1:1/0", DATABASE_URL="mysql+pymysql://nobody@127.0.0.1:1/x", **settings
    )
    return subprocess.run(
        [checkout / ".venv/bin/python", *words], cwd="/", env=env, capture_output=True, text=True, timeout=60
    )


def test_the_command_needs_nobody_else(checkout: Path, gallery: RunningSpace, tmp_path: Path) -> None:
    """Started as a file from any folder, with Redis and the database away, it checks, and --json is one object."""
    settings = {"INSTANCE_DIR": str(tmp_path), "GRADIO_URL": gallery.url, "GRADIO_API_NAME": "/six"}
    settings |= {"HF_ENDPOINT": "http://127.0.0.1:1"}
    script = str(checkout / "scripts/check_engines.py")
    done = command(checkout, script, "--json", HUGGING_FACE_TOKENS=GOOD, **settings)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["exitCode"], told["paints"]) == (0, ["gradio"])
    assert [finding["kind"] for finding in told["findings"]] == ["engine", "token", "token"]
    assert GOOD not in done.stdout + done.stderr
    assert "The database does not tell which engines are switched off." in done.stderr


def test_a_wrong_setting_is_one_line(checkout: Path, tmp_path: Path) -> None:
    """A setting that is wrong is code 2 and its line, without a traceback."""
    done = command(
        checkout,
        str(checkout / "scripts/check_engines.py"),
        INSTANCE_DIR=str(tmp_path),
        HTTP_PROXY="http://visitor:half/secret@127.0.0.1:1",
    )
    assert done.returncode == 2
    assert done.stderr.startswith("The settings need another look:\nHTTP_PROXY: ")
    assert "secret" not in done.stderr
    assert os.linesep.join(done.stderr.splitlines()[2:]) == ""
