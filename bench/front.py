"""nginx with the product's own configuration of deploy/nginx in front of a running site, over http on loopback."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import requests

from scripts.processes import LOOPBACK
from tests.support.checkout import ROOT
from tests.support.server import Server, find_program

NGINX = ROOT / "deploy" / "nginx"
MAIN = """
worker_processes 1;
pid {folder}/nginx.pid;
{user}
events {{}}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/http.conf;
    server {{
        listen {host}:{port};
        include {folder}/locations.conf;
    }}
}}
"""


class Front(Server):
    """nginx before a site: compresses, keeps and limits as on a server, but without TLS."""

    name = "nginx"

    def __init__(self, folder: Path, port: int, web_address: str) -> None:
        super().__init__(folder)
        self.url = f"http://{LOOPBACK}:{port}"
        (folder / "nginx/snippets").mkdir(parents=True)
        values = {
            "WEB_ADDRESS": web_address, "CACHE_DIR": folder, "ETC_DIR": folder, "APP_DIR": folder, "SCHEME": "http",
        }  # fmt: skip
        for source, target in (
            ("http.conf", "http.conf"),
            ("locations.conf", "locations.conf"),
            ("proxy.conf", "nginx/snippets/ghibli-proxy.conf"),
        ):
            text = (NGINX / source).read_text()
            for name, value in values.items():
                text = text.replace(f"@{name}@", str(value))
            (folder / target).write_text(text)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, host=LOOPBACK, port=port, user=user))

    def command(self) -> Sequence[str | Path]:
        """The command line."""
        program = find_program("nginx", package="nginx")
        return [program, "-c", self.folder / "nginx.conf", "-e", self.folder / "error.log", "-g", "daemon off;"]

    def answers(self) -> bool:
        """Whether a page comes through."""
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def check(self) -> None:
        """Have nginx read its configuration; raises CalledProcessError with what it finds wrong."""
        subprocess.run([*self.command()[:-2], "-t"], check=True, capture_output=True)
