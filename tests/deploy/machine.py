"""A server in a folder: everything that deploy/install.sh writes, and the programs that run from those files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from scripts.processes import LOOPBACK
from tests.deploy.manager import Manager
from tests.support.checkout import ROOT, offline_env
from tests.support.ports import free_port
from tests.support.server import find_program
from tests.support.visitor import photo

DOMAIN = "localhost"
"""A name that leads here without any DNS."""
UNFINISHED = {"PENDING", "PROCESSING"}


class Machine:
    """One server; `run` calls a script of deploy/ from a checkout as its operator would."""

    def __init__(self, folder: Path, checkout: Path, gradio_url: str) -> None:
        self.folder, self.checkout = folder, checkout
        self.app_dir, self.etc = folder / "srv", folder / "etc"
        ports = [free_port() for _number in range(5)]
        self.http_port, self.https_port, self.web_port, self.redis_port, self.mysql_port = ports
        self.url = f"https://{DOMAIN}:{self.https_port}"
        self.certificate = self.etc / "ghibli/tls/fullchain.pem"
        self._user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        self.socket = folder / "mariadb.sock"
        self._prepare(gradio_url)
        self.manager = Manager(folder / "systemd", self.etc / "systemd/system", self._external(), self._unit_env())

    def close(self) -> None:
        """Stop everything."""
        self.manager.close()

    # --- What is there before the installation ---

    def _prepare(self, gradio_url: str) -> None:
        for name in ("etc/mysql/mariadb.conf.d", "etc/redis", "etc/nginx/sites-enabled", "log", "srv/environments"):
            (self.folder / name).mkdir(parents=True)
        values = {
            "APP_USER": self._user, "NGINX_USER": self._user, "REDIS_USER": self._user,
            "APP_DIR": self.app_dir, "ETC_DIR": self.etc, "LOG_DIR": self.folder / "log/app",
            "BACKUP_DIR": self.folder / "backups", "CACHE_DIR": self.folder / "cache",
            "ACME_DIR": self.folder / "acme", "REDIS_DIR": self.folder / "redis", "NGINX_LOG_DIR": self.folder / "log",
            "HTTP_LISTEN": f"{LOOPBACK}:{self.http_port}", "HTTPS_LISTEN": f"{LOOPBACK}:{self.https_port}",
            "WEB_ADDRESS": f"{LOOPBACK}:{self.web_port}", "REDIS_PORT": self.redis_port, "MYSQL_PORT": self.mysql_port,
            "APP_URL": self.url, "GRADIO_URL": gradio_url,
        }  # fmt: skip
        (self.etc / "ghibli").mkdir()
        self.conf = self.etc / "ghibli/deploy.conf"
        self.conf.write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
        self._lend_environment()
        self._write_nginx_main()
        data = self.folder / "mysql"
        install = [find_program("mariadb-install-db", package="mariadb-server"), "--no-defaults", f"--datadir={data}"]
        quiet = ["--skip-test-db", "--auth-root-authentication-method=normal", *self._as_root()]
        subprocess.run([*install, *quiet], check=True, capture_output=True)

    def _lend_environment(self) -> None:
        """Have the installer find the environment of the tests: it makes one for each state of requirements.txt."""
        words = "{ cat requirements.txt; python3 -V; } | cksum | tr -d ' '"
        told = subprocess.run(
            ["sh", "-c", words], cwd=self.checkout, env=self.env(), capture_output=True, text=True, check=True
        )
        environment = self.app_dir / f"environments/app-{told.stdout.strip()}"
        environment.symlink_to(ROOT / ".venv")
        environment.with_name(f"{environment.name}.complete").touch()

    def _write_nginx_main(self) -> None:
        """Debian's own main file, with its paths below this folder."""
        main = Path("/etc/nginx/nginx.conf")
        if not main.exists():
            pytest.fail("nginx is missing. On Debian and Ubuntu: apt-get install nginx", pytrace=False)
        text = main.read_text()
        text = text.replace("user www-data;", f"user {self._user};" if os.geteuid() == 0 else "")
        text = re.sub(r"/etc/nginx/(conf\.d|sites-enabled)", rf"{self.etc}/nginx/\1", text)
        text = text.replace("/run/nginx.pid", str(self.folder / "nginx.pid"))
        text = text.replace("/var/log/nginx", str(self.folder / "log")).replace(
            "worker_processes auto", "worker_processes 2"
        )
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"\t{kind}_temp_path {self.folder}/tmp-{kind};\n" for kind in kinds)
        text = text.replace("http {", f"http {{\n{places}", 1)
        self.nginx_main = self.folder / "nginx.conf"
        self.nginx_main.write_text(text)

    def _as_root(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def _external(self) -> dict[str, list[str | Path]]:
        redis = find_program("redis-server", "valkey-server", package="redis-server")
        return {
            "redis-server@ghibli.service": [
                redis, self.etc / "redis/redis-ghibli.conf", "--supervised", "systemd", "--daemonize", "no",
            ],
            "mariadb.service": [
                find_program("mariadbd", package="mariadb-server"),
                f"--defaults-file={self.etc / 'mysql/mariadb.conf.d/60-ghibli.cnf'}", *self._as_root(),
                f"--datadir={self.folder / 'mysql'}", f"--socket={self.socket}", f"--port={self.mysql_port}",
                f"--pid-file={self.folder / 'mariadb.pid'}",
            ],
            "nginx.service": [*self._nginx(), "-g", "daemon off;"],
        }  # fmt: skip

    def _nginx(self) -> list[str | Path]:
        program = find_program("nginx", package="nginx")
        return [program, "-c", self.nginx_main, "-e", self.folder / "log/nginx-error.log"]

    def _unit_env(self) -> dict[str, str]:
        """What a unit of systemd gets of the environment: next to nothing; and the guard of the tests."""
        return {name: value for name, value in offline_env().items() if name in {"PATH", "PYTHONPATH", "LANG"}}

    def env(self) -> dict[str, str]:
        """The environment of the operator's shell."""
        path = os.pathsep.join([str(self.folder / "systemd/bin"), os.environ["PATH"], "/usr/sbin", "/sbin"])
        return offline_env(
            PATH=path,
            DEPLOY_CONF=str(self.folder / "etc/ghibli/deploy.conf"),
            MARIADB_PROGRAM=f"mariadb --no-defaults --user=root --socket={self.socket}",
            NGINX_PROGRAM=" ".join(str(word) for word in self._nginx()) if hasattr(self, "nginx_main") else "",
        )

    # --- What an operator does ---

    def command(self, script: str, *words: str, checkout: Path | None = None) -> dict[str, Any]:
        """The words and options by which subprocess calls a script of a checkout."""
        args = [(checkout or self.checkout) / script, *words]
        return {"args": [str(word) for word in args], "cwd": "/", "env": self.env(), "text": True}

    def run(self, script: str, *words: str, checkout: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a script of a checkout to its end."""
        return subprocess.run(**self.command(script, *words, checkout=checkout), capture_output=True, timeout=240)

    def install(self) -> subprocess.CompletedProcess[str]:
        """Install, or install again."""
        return self.run("deploy/install.sh", "--domain", DOMAIN, "--no-packages")

    def release(self, link: str = "current") -> Path:
        """The release that a link leads to."""
        return (self.app_dir / link).resolve()

    def setting(self, name: str) -> str:
        """A value of the settings that the installation has made."""
        found = re.search(rf"^{name}=(.*)$", (self.app_dir / "shared/.env").read_text(), re.MULTILINE)
        assert found, name
        return found[1]

    def new_checkout(self, name: str, **changes: str) -> Path:
        """Another version of the product; `changes` are texts of files, by path with __ for / and ___ for a point."""
        copy = self.folder / name
        shutil.copytree(self.checkout, copy, symlinks=True)
        for path, text in changes.items():
            file = copy / path.replace("___", ".").replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return copy

    def visitor(self, address: str = LOOPBACK) -> Client:
        """Somebody at this address who looks at the site through nginx."""
        return Client(self, address)


class FromAddress(HTTPAdapter):
    """Sends requests from an address of our choice; the whole of 127.0.0.0/8 is this machine."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **options)


class Client:
    """A browser with its cookies."""

    def __init__(self, machine: Machine, address: str) -> None:
        self.url = machine.url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(machine.certificate)
        self.session.mount("https://", FromAddress(address))
        self.session.headers["X-CSRFToken"] = self.get("/api/csrf").json()["csrfToken"]

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET a path of the site."""
        return self.session.get(self.url + path, timeout=60, allow_redirects=False, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        """POST to a path of the site, as its own pages do."""
        headers = {"Origin": self.url, **options.pop("headers", {})}
        return self.session.post(self.url + path, timeout=60, headers=headers, **options)

    def order(self, headers: Mapping[str, str] | None = None) -> str:
        """Order a picture of a new photograph; gives the task's id."""
        answer = self.post(
            "/api/generate-image", files={"image": ("photo.jpg", photo(), "image/jpeg")}, headers=dict(headers or {})
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["taskId"])

    def wait(self, task_id: str, seconds: float = 60.0) -> str:
        """Poll until an order has ended; gives its status."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.get(f"/api/poll-task?taskId={task_id}").json()["status"]
            if status not in UNFINISHED or time.monotonic() > deadline:
                return str(status)
            time.sleep(0.1)
