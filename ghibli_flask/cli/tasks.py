"""`flask tasks …`: what an operator or cron does to tasks by hand."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from ghibli_flask.services import repair

tasks_cli = AppGroup("tasks", help="Look after the orders.")


@tasks_cli.command("fix-stuck")
def fix_stuck() -> None:
    """Run one sweep now: ring again, queue again, fail and give back what is stuck."""
    click.echo(repair.sweep().line)
