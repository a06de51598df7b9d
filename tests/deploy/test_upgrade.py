"""upgrade.sh and rollback.sh with orders in flight: none is lost, whichever way it goes."""

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pymysql

from tests.deploy.machine import Client, Machine
from tests.support.checkout import ROOT

SMOKE_FAILS = (
    '"""Stands for a walk that finds the new release broken."""\n\nraise SystemExit("The picture did not come.")\n'
)
ADDS_A_TABLE = '''"""A later migration of the failing release: it only adds."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("of_the_new_release", sa.Column("id", sa.Integer, primary_key=True))


def downgrade() -> None:
    op.drop_table("of_the_new_release")
'''


@contextmanager
def looking_on(machine: Machine) -> Iterator[list[int]]:
    """Ask for a page again and again meanwhile; gives the statuses."""
    statuses: list[int] = []
    done = threading.Event()

    def look() -> None:
        visitor = machine.visitor("127.0.0.5")
        while not done.wait(0.2):
            statuses.append(visitor.get("/help").status_code)
        visitor.session.close()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield statuses
    finally:
        done.set()
        thread.join()


@contextmanager
def with_orders_in_flight(machine: Machine) -> Iterator[Client]:
    """Order before and during the block; every order must be painted after it."""
    visitor = machine.visitor("127.0.0.6")
    orders = [visitor.order() for _number in range(4)]
    statuses = {visitor.get(f"/api/poll-task?taskId={task_id}").json()["status"] for task_id in orders}
    assert statuses & {"PENDING", "PROCESSING"}, "Nothing is in flight."
    late: list[str] = []

    def order_late() -> None:
        late.append(visitor.order())

    timer = threading.Timer(3.0, order_late)
    timer.start()
    yield visitor
    timer.join()
    assert late
    assert [visitor.wait(task_id) for task_id in orders + late] == ["SUCCESS"] * 5
    visitor.session.close()


def head() -> str:
    """The last migration of this code."""
    texts = [path.read_text() for path in (ROOT / "migrations/versions").glob("*.py")]
    revisions = {found[1] for text in texts if (found := re.search(r'^revision.*"(\w+)"', text, re.MULTILINE))}
    parents = {found[1] for text in texts if (found := re.search(r'^down_revision.*"(\w+)"', text, re.MULTILINE))}
    (last,) = revisions - parents
    return last


def run(machine: Machine, *words: str, checkout: object = None) -> subprocess.CompletedProcess[str]:
    """Run a script of deploy/ beside visitors, of whom none may meet an error."""
    with looking_on(machine) as statuses:
        done = machine.run(*words, checkout=checkout)  # type: ignore[arg-type]
    assert len(statuses) > 3
    assert set(statuses) == {200}, statuses
    return done


def test_a_release_that_fails_goes_back_by_itself(machine: Machine) -> None:
    """When the walk fails, the release before works again on the migrated database, with every order."""
    before = machine.release()
    checkout = machine.new_checkout(
        "failing",
        scripts__smoke___py=SMOKE_FAILS,
        migrations__versions__9999_of_the_new_release___py=ADDS_A_TABLE.format(head=head()),
    )
    with with_orders_in_flight(machine):
        done = run(machine, "deploy/upgrade.sh", checkout=checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "The picture did not come." in done.stderr
    assert "The release before works again." in done.stderr
    assert machine.release() == before
    with pymysql.connect(
        host="127.0.0.1", port=machine.mysql_port, user="ghibli", password=machine.setting("MYSQL_PASSWORD"),
        database="ghibli", autocommit=True,
    ) as connection:  # fmt: skip
        cursor = connection.cursor()
        cursor.execute("SELECT version_num FROM alembic_version")
        assert cursor.fetchone() == ("9999",)
        cursor.execute("DROP TABLE of_the_new_release")
        cursor.execute("UPDATE alembic_version SET version_num = %s", [head()])
    assert list((machine.folder / "backups").glob("*Z-database/database.sql.gz")), "It is backed up first."


def test_upgrade_and_rollback(machine: Machine) -> None:
    """A new release takes over, and rollback.sh goes back, both without losing an order or refusing a visitor."""
    before = machine.release()
    checkout = machine.new_checkout("working", static__new___txt="of the new release\n")
    with with_orders_in_flight(machine):
        done = run(machine, "deploy/upgrade.sh", checkout=checkout)
        assert done.returncode == 0, done.stdout + done.stderr
    after = machine.release()
    assert after != before
    assert machine.release("previous") == before
    assert (after / "static/new.txt").exists()
    with with_orders_in_flight(machine):
        done = run(machine, "deploy/rollback.sh", checkout=after)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (machine.release(), machine.release("previous")) == (before, after)


def test_what_cannot_begin_touches_nothing(machine: Machine) -> None:
    """Settings that the new release refuses, and a release that is not there, end it before anything stops."""
    before, calls = machine.release(), len(machine.manager.calls)
    settings = machine.app_dir / "shared/.env"
    kept = settings.read_text()
    settings.write_text(kept + "MONITOR_CRON=often\n")
    try:
        done = machine.run("deploy/upgrade.sh")
        assert done.returncode == 2
        assert "MONITOR_CRON: must be a cron line" in done.stderr
    finally:
        settings.write_text(kept)
    assert machine.run("deploy/rollback.sh", "never").returncode == 2
    assert machine.run("deploy/rollback.sh", before.name).returncode == 2
    assert machine.release() == before
    assert len(machine.manager.calls) == calls
