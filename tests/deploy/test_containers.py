"""Dockerfile and compose.yaml. No engine runs here, so their steps and commands run in a folder instead."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from scripts.processes import LOOPBACK, free_port, start_process, wait_until
from scripts.procfile import read_procfile
from tests.support.checkout import ROOT, offline_env
from tests.support.redis_server import RedisServer
from tests.support.server import find_program

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def stages() -> dict[str, dict[str, list[str]]]:
    """The steps of each stage of the Dockerfile, by their word; lines that go on are joined."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    found: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        word, _blank, rest = line.partition(" ")
        if word == "FROM":
            steps = found.setdefault(rest.split(" AS ")[1], {"FROM": [rest.split(" AS ")[0]]})
        elif word.isupper():
            steps.setdefault(word, []).append(rest)
    return found


class Image:
    """What `docker build --target app` would copy, in a folder; its words name that folder instead of /app."""

    def __init__(self, folder: Path) -> None:
        self.app = folder / "app"
        self._steps = stages()["app"]
        ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]

        def left_out(place: str, names: list[str]) -> set[str]:
            inside = Path(place).relative_to(ROOT)
            paths = {name: (inside / name).as_posix() for name in names}
            return {
                name
                for name, path in paths.items()
                for pattern in ignored
                if fnmatch(path, pattern) or (pattern.startswith("**/") and fnmatch(name, pattern[3:]))
            }

        shutil.copytree(ROOT, self.app, ignore=left_out)
        # Its packages are those of requirements.txt, which the tests' own environment has too.
        (self.app / ".venv").symlink_to(ROOT / ".venv")
        (self.app / "instance").mkdir()

    def words(self, text: str) -> list[str]:
        """A command of the image as it runs in the folder."""
        return [word.replace("/app", str(self.app)) for word in json.loads(text)]

    def env(self, **settings: str) -> dict[str, str]:
        """The environment that the image gives to its processes, and settings."""
        given = " ".join(self._steps["ENV"]).replace("/app", str(self.app)).replace("$PATH", os.environ["PATH"])
        return offline_env(**{**dict(pair.split("=", 1) for pair in shlex.split(given)), **settings})

    def step(self, word: str) -> str:
        """The text of the one step of this word."""
        (text,) = self._steps[word]
        return text


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image's folder."""
    return Image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def production(redis_server: RedisServer, image: Image) -> Iterator[dict[str, str]]:
    """Settings of production for the image's processes, with an empty Redis; the database is a file in the image."""
    yield image.env(
        APP_ENV="production",
        APP_URL="https://paint.example.org",
        SECRET_KEY="for-the-tests-of-the-image-0123456789",
        REDIS_URL=redis_server.url,
        GRADIO_URL="http://127.0.0.1:1",
        HOST=LOOPBACK,
        PORT=str(free_port()),
    )
    redis_server.empty()


def test_the_image_holds_what_it_needs_and_no_secret(image: Image) -> None:
    """Nothing of this machine goes into an image: no settings, no data, no history, no tests."""
    names = {path.name for path in image.app.iterdir()}
    assert not names & {".env", ".git", ".state", "tests", "docs", "bench"}
    assert {"wsgi.py", "worker.py", "ghibli_flask", "jobs", "migrations", "static", "templates", "scripts"} <= names
    assert list((image.app / "instance").iterdir()) == []
    assert not (image.app / "space/.venv").exists()


def test_images_are_small_and_run_without_root() -> None:
    """What runs is a slim Python without root and without build tools, and each base has a version."""
    found = stages()
    for name in ("app", "space"):
        assert "slim" in found[name]["FROM"][0]
        assert found[name]["USER"] != ["root"]
        assert not [step for step in found[name]["RUN"] if "pip install" in step or "apt-get" in step]
        assert found[name]["HEALTHCHECK"]
    for steps in found.values():
        assert re.search(r":\d+(\.\d+)?-", steps["FROM"][0])


def test_commands_are_those_of_the_procfile() -> None:
    """The image and compose.yaml start what the Procfile starts; nginx holds the port, so nobody else needs it."""
    lines = read_procfile()
    shell, option, text = json.loads(stages()["app"]["CMD"][0])
    assert (shell, option) == ("sh", "-c")
    assert text == f"exec {lines['web'].replace(' --reuse-port', '')}"
    assert " ".join(SERVICES["worker"]["command"]) == f"{lines['worker']} paint"
    for name in ("maintenance", "scheduler"):
        assert " ".join(SERVICES[name]["command"]) == lines[name]


def test_the_image_serves(image: Image, production: dict[str, str], tmp_path: Path) -> None:
    """The steps of the image run: it compiles, migrates, serves, is found healthy, and ends at the first signal."""
    compiles = stages()["app"]["RUN"][1].replace("/app", str(image.app))
    assert subprocess.run(["sh", "-c", compiles], env=production, timeout=120).returncode == 0
    migrate = SERVICES["migrate"]["command"]
    done = subprocess.run(migrate, cwd=image.app, env=production, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    check = image.words(image.step("HEALTHCHECK").partition("CMD ")[2])

    def is_healthy() -> bool:
        return subprocess.run(check, env=production, capture_output=True, timeout=30).returncode == 0

    assert not is_healthy()
    with (tmp_path / "web.log").open("wb") as log:
        web = start_process(image.words(image.step("CMD")), env=production, cwd=image.app, output=log)
    try:
        assert wait_until(is_healthy, 60, every=0.5), (tmp_path / "web.log").read_text()
    finally:
        web.terminate()
        code = web.wait(40)
    assert code == 0


@pytest.mark.parametrize("name", ["worker", "maintenance", "scheduler"])
def test_the_image_works(image: Image, production: dict[str, str], name: str, tmp_path: Path) -> None:
    """Each other command of compose.yaml starts from the image and ends warm at a signal."""
    log = tmp_path / f"{name}.log"
    with log.open("wb") as output:
        process = start_process(
            [image.app / ".venv/bin/python", *SERVICES[name]["command"][1:]],
            env=production, cwd=image.app, output=output,
        )  # fmt: skip
    with redis.Redis.from_url(production["REDIS_URL"]) as client:
        try:
            assert wait_until(lambda: is_at_work(client, name), 40), log.read_text()
        finally:
            process.terminate()
            code = process.wait(30)
    assert code == 0, log.read_text()


def is_at_work(client: redis.Redis, name: str) -> bool:
    """Whether a worker has told that it waits for something to do, or the scheduler has told that it lives."""
    if name == "scheduler":
        return any(b"scheduler" in key for key in client.scan_iter("ghibli:*"))
    return any(client.hget(key, "state") == b"idle" for key in client.scan_iter("rq:worker:ghibli-*"))


def test_nginx_takes_the_files_of_the_containers(tmp_path: Path) -> None:
    """The nginx files that the image `proxy` makes are right by nginx itself, and keep the body limit."""
    etc = tmp_path / "etc"
    env = {
        **os.environ, "WEB_ADDRESS": f"{LOOPBACK}:3000", "APP_DIR": str(tmp_path / "srv"),
        "CACHE_DIR": str(tmp_path / "cache"),
    }  # fmt: skip
    (step,) = stages()["proxy"]["RUN"]
    script, _etc = step.split()
    subprocess.run([ROOT / script.lstrip("/"), etc], env=env, check=True, timeout=30)
    main = tmp_path / "nginx.conf"
    port = free_port()
    site = etc / "nginx/conf.d/site.conf"
    site.write_text(site.read_text().replace("listen 80", f"listen {LOOPBACK}:{port}"))
    main.write_text(
        f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\ninclude /etc/nginx/mime.types;\n"
        f"include {etc}/nginx/conf.d/*.conf;\n}}\n"
    )
    program = find_program("nginx", package="nginx")
    done = subprocess.run([program, "-t", "-c", main], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr
    assert (tmp_path / "srv/current/deploy/nginx/pages/502.html").exists()


def test_compose_holds_together() -> None:
    """Every service that another one waits for is there, with the health that is asked of it; every volume is named."""
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            asks = how["condition"]
            wanted = SERVICES[other]
            if asks == "service_healthy":
                has_own = "test" in wanted.get("healthcheck", {})
                assert has_own or wanted.get("build", {}).get("target") == "app", (name, other)
            else:
                assert (asks, wanted["restart"]) == ("service_completed_successfully", "no")
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"]
        assert "build" in service or re.search(r":\d", service["image"]), name
    assert SERVICES["nginx"]["ports"] == ["${PUBLISHED:-127.0.0.1:8080}:80"], "Only nginx is published."
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]


def test_redis_of_compose(tmp_path: Path) -> None:
    """The command line of compose.yaml's Redis is one that Redis takes, and gives what a queue needs."""
    port = free_port()
    words = [word.replace("${REDIS_PASSWORD}", "for-tests") for word in SERVICES["redis"]["command"]]
    program = find_program("redis-server", "valkey-server", package="redis-server")
    with (tmp_path / "redis.log").open("wb") as log:
        command = [program, *words[1:], "--port", str(port), "--dir", str(tmp_path)]
        server = start_process(command, env=os.environ, cwd=tmp_path, output=log)
    try:
        with redis.Redis(port=port, password="for-tests") as client:

            def answers() -> bool:
                try:
                    return bool(client.ping())
                except redis.ConnectionError:
                    return False

            assert wait_until(answers, 20)
            assert client.info()["maxmemory_policy"] == "noeviction"
            with pytest.raises(redis.ResponseError, match="unknown command"):
                client.execute_command("FLUSHALL")
    finally:
        server.terminate()
        server.wait(20)
