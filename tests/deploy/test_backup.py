"""backup.sh and restore.sh, proved by restoring: what was destroyed is there again."""

import gzip
import os
import shutil
from pathlib import Path

import pymysql
import pytest
import redis
from flask import Flask
from sqlalchemy import select

from ghibli_flask.database import db, reading
from ghibli_flask.models import ImageTask
from scripts import backup, restore
from tests.deploy.machine import Machine
from tests.support.visitor import Visitor

WORKERS = ["ghibli-worker.service", "ghibli-maintenance.service", "ghibli-scheduler.service"]


def folders(into: Path) -> list[Path]:
    """The whole backups in a folder, oldest first."""
    return sorted(path for path in into.iterdir() if path.name.endswith("Z"))


def test_everything_comes_back(machine: Machine) -> None:
    """Tables, pictures and keys of Redis that are gone come back, and what stood in the database is kept beside."""
    into = machine.folder / "nightly"
    visitor = machine.visitor("127.0.0.7")
    task_id = visitor.order()
    assert visitor.wait(task_id) == "SUCCESS"
    picture = visitor.get(f"/api/image/{task_id}").content
    client = redis.Redis(port=machine.redis_port, password=machine.setting("REDIS_PASSWORD"))
    client.set("ghibli:kept", "a value", ex=3600)

    current = machine.app_dir / "current"
    done = machine.run("scripts/backup.sh", "--to", str(into), checkout=current)
    assert done.returncode == 0, done.stderr
    (folder,) = folders(into)
    assert {path.name for path in folder.iterdir()} == {"database.sql.gz", "redis.rdb.gz", "files", "manifest.json"}
    assert folder.stat().st_mode & 0o077 == 0
    stamp = machine.app_dir / "shared/instance/run/last-backup"
    assert stamp.read_text() == f"{folder}\n"

    refused = machine.run("scripts/restore.sh", str(folder), "--yes", checkout=current)
    assert (refused.returncode, "is at work" in refused.stderr) == (2, True), refused.stderr
    machine.manager._obey(["stop", *WORKERS], now=False)
    assert machine.run("scripts/restore.sh", str(folder), checkout=current).returncode == 2, "It wants to hear --yes."
    shutil.rmtree(machine.app_dir / "shared/instance/files")
    client.delete("ghibli:kept")
    with pymysql.connect(
        host="127.0.0.1", port=machine.mysql_port, user="ghibli", password=machine.setting("MYSQL_PASSWORD"),
        database="ghibli",
    ) as connection:  # fmt: skip
        connection.cursor().execute("DROP TABLE image_tasks")
        connection.cursor().execute("CREATE TABLE of_later_code (id INT)")
    done = machine.run("scripts/restore.sh", str(folder), "--yes", checkout=current)
    assert done.returncode == 0, done.stdout + done.stderr
    assert visitor.get(f"/api/image/{task_id}").content == picture
    assert client.get("ghibli:kept") == b"a value"
    assert 3000 < client.ttl("ghibli:kept") <= 3600
    (before,) = into.glob("*-before-restore.database.sql.gz")
    assert b"of_later_code" in gzip.decompress(before.read_bytes())
    client.close()

    machine.manager._obey(["start", *WORKERS], now=False)
    assert visitor.wait(visitor.order()) == "SUCCESS"
    visitor.session.close()


@pytest.fixture
def instance(app: Flask, monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str) -> Path:
    """An installation on SQLite whose settings the scripts find in the environment."""
    folder = Path(app.instance_path)
    for name, value in (("DATABASE_URL", database_url), ("REDIS_URL", redis_url), ("INSTANCE_DIR", str(folder))):
        monkeypatch.setenv(name, value)
    with redis.Redis.from_url(redis_url) as client:
        # Otherwise Redis waits for five seconds whether others want a copy too.
        client.config_set("repl-diskless-sync-delay", 0)
    (folder / "files/sources").mkdir(parents=True)
    (folder / "files/sources/one.jpg").write_bytes(b"one")
    (folder / "files/sources/half.jpg#1").write_bytes(b"ha")
    return folder


def test_sqlite_comes_back(app: Flask, instance: Path, database_url: str, tmp_path: Path) -> None:
    """On SQLite too a backup holds the database as it was, and a restore puts it back."""
    task_id = Visitor(app).ordered()
    assert backup.main(["--to", str(tmp_path / "kept")]) == 0
    (folder,) = folders(tmp_path / "kept")
    Visitor(app).ordered()
    with app.app_context():
        db.engine.dispose()
    assert restore.main([str(folder), "--yes"]) == 0
    with app.app_context(), reading() as session:
        assert session.scalars(select(ImageTask.public_id)).all() == [task_id]


def test_rotation_and_links(instance: Path, tmp_path: Path) -> None:
    """Only the newest backups stay; a picture that the one before holds takes no room of its own."""
    into = tmp_path / "kept"
    (into / "20200101T000000000Z.partial").mkdir(parents=True)
    for _number in range(3):
        assert backup.main(["--to", str(into), "--keep", "2"]) == 0
    assert backup.main(["--to", str(into), "--only", "database", "--keep", "1"]) == 0
    first, second = folders(into)
    assert len(list(into.iterdir())) == 3, "The one of the database alone is counted apart."
    copies = [folder / "files/sources/one.jpg" for folder in (first, second)]
    assert copies[0].stat().st_ino == copies[1].stat().st_ino != (instance / "files/sources/one.jpg").stat().st_ino
    assert not (second / "files/sources/half.jpg#1").exists()


def test_a_part_that_is_missing_is_told(
    instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without Redis there is no whole backup: it says so, keeps what there is apart, and leaves no stamp."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert backup.main(["--to", str(tmp_path / "kept")]) == 1
    assert capsys.readouterr().err.startswith("redis: redis-cli: ")
    (partial,) = (tmp_path / "kept").iterdir()
    assert partial.name.endswith(".partial")
    assert (partial / "database.sqlite3.gz").exists()
    assert not (instance / "run/last-backup").exists()
    monkeypatch.setenv("MONITOR_CRON", "often")
    assert backup.main(["--to", str(tmp_path / "kept")]) == 2


@pytest.mark.parametrize("harm", ["cut", "no manifest", "another kind"])
def test_what_is_no_whole_backup_is_refused(
    instance: Path, tmp_path: Path, harm: str, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backup that is not as it was written, or not of this kind of database, is not put back."""
    assert backup.main(["--to", str(tmp_path / "kept")]) == 0
    (folder,) = folders(tmp_path / "kept")
    copy = folder / "database.sqlite3.gz"
    if harm == "cut":
        os.truncate(copy, 100)
    elif harm == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        copy.rename(folder / "database.sql.gz")
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace("database.sqlite3.gz", "database.sql.gz"))
    before = Path(database_url.removeprefix("sqlite:///")).read_bytes()
    assert restore.main([str(folder), "--yes"]) == 2
    wanted = {"cut": "Not as it was written", "no manifest": "is no backup", "another kind": "another kind of database"}
    assert wanted[harm] in capsys.readouterr().err
    assert Path(database_url.removeprefix("sqlite:///")).read_bytes() == before
