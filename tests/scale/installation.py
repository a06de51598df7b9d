"""The product on four machines: two with web processes, two that paint, and a hub with what they share."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests
from flask import Flask

from ghibli_flask.clock import Clock
from ghibli_flask.factory import create_app
from ghibli_flask.settings import Settings
from scripts.procfile import process_env, read_procfile
from tests.chaos.town import LastingMariaDB, LastingRedis
from tests.scale.machines import HUB, Machine, NamespaceMachine, open_hub
from tests.support.checkout import ROOT, migrate, offline_env
from tests.support.ports import free_port
from tests.support.s3_server import BUCKET, S3Server
from tests.support.server import Server, find_program
from tests.support.site import SiteProcess
from tests.support.tokens import TOKENS

RESIDENTS = {
    "web-1": ("127.9.0.11", ("web",)),
    "web-2": ("127.9.0.12", ("web", "maintenance", "scheduler")),
    "worker-1": ("127.9.0.21", ("worker",)),
    "worker-2": ("127.9.0.22", ("worker",)),
}
"""Who lives where. The periodic duties are beside a web process, as docs/scale.md has them."""

NAMED_IN_DOCS = {"10.0.0.11:3000": "127.9.0.11", "10.0.0.12:3000": "127.9.0.12"}
ORDERS_PER_MINUTE = 120


class SharedSpace(Server):
    """The Space of this folder."""

    name = "space"
    start_seconds = 60.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.url = f"http://{HUB}:{self.port}"
        self.paint_for(0.2)

    def command(self) -> Sequence[str | Path]:
        program = Path(__file__).with_name("space.py")
        return [ROOT / "space/.venv/bin/python", program, HUB, str(self.port), self.folder]

    def env(self) -> Mapping[str, str]:
        quiet = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
        return offline_env(GRADIO_TEMP_DIR=str(self.folder / "gradio"), **quiet)

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/config", timeout=5).ok
        except requests.RequestException:
            return False

    def paint_for(self, seconds: float) -> None:
        """How long paintings take that begin from now on."""
        fresh = self.folder / "delay.new"
        fresh.write_text(str(seconds))
        fresh.rename(self.folder / "delay")

    def calls(self) -> list[dict[str, object]]:
        """Every painting that was finished."""
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Balancer(Server):
    """nginx with the lines of docs/scale.md."""

    name = "nginx"

    def __init__(self, folder: Path, web_port: int) -> None:
        super().__init__(folder)
        self.url = f"http://{HUB}:{free_port()}"
        self._write(web_port)

    def command(self) -> Sequence[str | Path]:
        return [
            find_program("nginx", package="nginx"), "-p", self.folder, "-e", self.log, "-c", self.folder / "nginx.conf",
        ]  # fmt: skip

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def _write(self, web_port: int) -> None:
        told = (ROOT / "docs/scale.md").read_text()
        upstream, timeouts, static, export = re.findall(r"```nginx\n(.*?)```", told, re.DOTALL)
        for named, real in NAMED_IN_DOCS.items():
            assert named in upstream, "docs/scale.md names the web machines of its example."
            upstream, export = (text.replace(named, f"{real}:{web_port}") for text in (upstream, export))
        proxy = (ROOT / "deploy/nginx/proxy.conf").read_text().replace("@SCHEME@", "http")
        proxy = re.sub(r"proxy_(connect|read)_timeout .*\n", "", proxy) + timeouts
        snippet = self.folder / "proxy.conf"
        snippet.write_text(proxy)
        export = re.sub(r"include .*ghibli-proxy.conf;", f"include {snippet};", export)
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "nginx.conf").write_text(
            f"""
            {"user root;" if os.geteuid() == 0 else ""}
            daemon off;
            pid {self.folder}/nginx.pid;
            worker_processes 1;
            events {{}}
            http {{
                access_log off;
                client_max_body_size 70m;
                {temporary}
                {upstream}
                server {{
                    listen {self.url.removeprefix("http://")};
                    location / {{ include {snippet}; proxy_pass http://ghibli_web; }}
                    location ^~ /static/ {{ include {snippet}; proxy_pass http://ghibli_web; {static} }}
                    {export}
                }}
            }}
            """
        )


class Resident(SiteProcess):
    """One line of the Procfile, running on a machine."""

    def __init__(self, machine: Machine, role: str, checkout: Path, env: Mapping[str, str]) -> None:
        # One process instead of two for each web machine: starting them is most of what this costs.
        line = read_procfile(checkout)[role].replace("--workers 2", "--workers 1")
        super().__init__(role, line, checkout, env, machine.folder / "printed" / role)
        self._machine = machine

    def command(self) -> Sequence[str | Path]:
        return self._machine.inside(super().command())


class Installation:
    """Everything, on machines of their own where that is allowed."""

    def __init__(self, checkout: Path, folder: Path, *, in_namespaces: bool) -> None:
        if in_namespaces:
            open_hub()
        self.checkout = checkout
        self.redis = LastingRedis(folder / "redis", HUB)
        self.mariadb = LastingMariaDB(folder / "mariadb", HUB)
        self.s3 = S3Server(folder / "s3", HUB)
        self.space = SharedSpace(folder / "space")
        self.web_port = free_port()
        self.balancer = Balancer(folder / "nginx", self.web_port)
        kind = NamespaceMachine if in_namespaces else Machine
        self.machines = {name: kind(name, address, folder / name) for name, (address, _) in RESIDENTS.items()}
        for name, machine in self.machines.items():
            env = self._environment(machine)
            machine.processes = {role: Resident(machine, role, checkout, env) for role in RESIDENTS[name][1]}

    @property
    def shared(self) -> tuple[Server, ...]:
        """What the machines share."""
        return (self.redis, self.mariadb, self.s3, self.space)

    @property
    def webs(self) -> tuple[str, str]:
        """The addresses of the two web machines themselves."""
        one, two = (f"http://{RESIDENTS[name][0]}:{self.web_port}" for name in ("web-1", "web-2"))
        return one, two

    @property
    def residents(self) -> list[Server]:
        """What runs on the machines."""
        return [process for machine in self.machines.values() for process in machine.processes.values()]

    def urls(self) -> list[str]:
        """Where visitors turn to."""
        return [self.balancer.url]

    def start(self) -> None:
        """Start everything and wait until it answers."""
        for server in self.shared:
            server.launch()
        self.mariadb.wait()
        for process in self.residents:
            process.launch()
        migrate(self.checkout, self._environment(self.machines["web-2"]))
        for server in (*self.shared, *self.residents):
            server.wait()
        self.balancer.start()
        self.app = self.application()

    def stop(self) -> None:
        """Stop everything, what is shared last."""
        self.balancer.stop()
        for machine in self.machines.values():
            machine.stop()
        for server in reversed(self.shared):
            server.stop()

    def application(self, clock: Clock | None = None) -> Flask:
        """An application at the hub, on what the machines share."""
        settings = Settings(
            _env_file=None,
            database_url=self.mariadb.url_of("site"),
            redis_url=self.redis.url,
            gradio_url=self.space.url,
            instance_dir=self.mariadb.folder / "instance",
            monthly_credits=10000,
            **{name.lower(): value for name, value in self._store().items()},
        )
        return create_app(settings, clock=clock, for_worker=True)

    def painted_by(self, name: str) -> set[str]:
        """The tasks whose picture came from this machine, by its own log."""
        return set(re.findall(r"task (\w+) ended painted", self.log_of(name)))

    def log_of(self, name: str) -> str:
        """What the painting runs of a machine wrote down."""
        log = self.machines[name].folder / "instance/logs/task-processor.log"
        return log.read_text() if log.exists() else ""

    def _store(self) -> dict[str, str]:
        return {
            "CLOUDFLARE_R2_ACCESS_KEY_ID": "a" * 32,
            "CLOUDFLARE_R2_SECRET_ACCESS_KEY": "b" * 64,
            "CLOUDFLARE_R2_ENDPOINT": self.s3.url,
            "CLOUDFLARE_R2_BUCKET": BUCKET,
        }

    def _environment(self, machine: Machine) -> dict[str, str]:
        temporary = machine.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        settings = {
            "HOST": machine.address,
            "PORT": str(self.web_port),
            "APP_URL": self.balancer.url,
            "TRUSTED_PROXIES": "1",
            "SECRET_KEY": "one key for all machines, of more than 32 characters",
            "DATABASE_URL": self.mariadb.url_of("site"),
            "REDIS_URL": self.redis.url,
            "STORES": "r2",
            **self._store(),
            "GRADIO_URL": self.space.url,
            "GRADIO_TOKEN_HOSTS": HUB,
            "HUGGING_FACE_TOKENS": ",".join(TOKENS),
            "HF_ENDPOINT": f"http://{HUB}:1",
            "ADMIN_SECRET": "the secret of whoever asks after tokens",
            "INSTANCE_DIR": str(machine.folder / "instance"),
            "GUEST_DAILY_LIMIT": "1000",
            "GUEST_DAILY_LIMIT_PER_ADDRESS": "1000",
            "MONTHLY_CREDITS": "10000",
            "ORDERS_PER_MINUTE": str(ORDERS_PER_MINUTE),
            "WORKER_CONCURRENCY": "16",
            "RETRY_DELAY": "200",
            "TMPDIR": str(temporary),
        }
        return process_env(offline_env(**settings), self.checkout)
