"""A MariaDB of the tests' own: the `mariadb_server` fixture, one for the session, beside SQLite."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pymysql

from scripts.processes import LOOPBACK
from tests.support.ports import free_port
from tests.support.server import Server, find_program

PACKAGE = "mariadb-server"
DATABASES = {"tests": "ghibli_tests", "site": "ghibli_site"}
USER = "ghibli"
PASSWORD = "for-tests-only"


def _init_sql(clients: str) -> str:
    # The application's user gets its own databases and nothing more, as on a server.
    # The collation is named because the server's default for utf8mb4 differs between versions.
    statements = [f"CREATE USER IF NOT EXISTS '{USER}'@'{clients}' IDENTIFIED BY '{PASSWORD}';"]
    for name in DATABASES.values():
        statements += [
            f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;",
            f"GRANT ALL PRIVILEGES ON {name}.* TO '{USER}'@'{clients}';",
        ]
    return "\n".join(statements)


class MariaDBServer(Server):
    """A real mariadbd on a free loopback port, with its data in the session's temporary folder."""

    name = "mariadb"
    start_seconds = 60.0

    def __init__(self, folder: Path, host: str = LOOPBACK) -> None:
        super().__init__(folder)
        self.host, self.port = host, free_port()
        self.data = folder / "data"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.init_file = folder / "init.sql"
        self.init_file.write_text(_init_sql(LOOPBACK if host == LOOPBACK else "%"))

    def url_of(self, database: str) -> str:
        """Give the address of the database of the "tests" or of the "site"."""
        return f"mysql+pymysql://{USER}:{PASSWORD}@{self.host}:{self.port}/{DATABASES[database]}?charset=utf8mb4"

    def env(self) -> Mapping[str, str]:
        # A server that starts deletes the temporary tables that it finds, those of others included.
        return {**os.environ, "TMPDIR": str(self.temporary)}

    def launch(self) -> None:
        if not self.data.exists():
            self._make_data_folder()
        super().launch()

    def _make_data_folder(self) -> None:
        program = find_program("mariadb-install-db", package=PACKAGE)
        with self.log.open("ab") as output:
            subprocess.run(
                [
                    program, "--no-defaults", f"--datadir={self.data}", "--skip-test-db",
                    "--auth-root-authentication-method=normal", *self._run_as(),
                ],
                env=self.env(), stdout=output, stderr=subprocess.STDOUT, check=True,
            )  # fmt: skip

    def _run_as(self) -> list[str]:
        # mariadbd refuses to run as root unless told so; the folder belongs to whoever runs the tests.
        return ["--user=root"] if os.geteuid() == 0 else []

    def command(self) -> Sequence[str | Path]:
        return [
            find_program("mariadbd", package=PACKAGE), "--no-defaults", *self._run_as(),
            f"--datadir={self.data}", f"--pid-file={self.folder / 'mariadb.pid'}",
            f"--port={self.port}", f"--bind-address={self.host}", f"--socket={self.folder / 'mariadb.sock'}",
            f"--init-file={self.init_file}", "--skip-name-resolve",
            # Tests lose their data anyway: small buffers, and no waiting for the disk at every commit.
            "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin",
        ]  # fmt: skip

    def answers(self) -> bool:
        try:
            self.connect().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def connect(self) -> pymysql.Connection:
        """Open a plain connection as the application's user."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=USER,
            password=PASSWORD,
            connect_timeout=5,
        )
