"""`flask tasks …`: what an operator or cron does to tasks by hand."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any

import click
from flask.cli import AppGroup

from ghibli_flask.errors import Unavailable
from ghibli_flask.services import repair

log = logging.getLogger(__name__)

tasks_cli = AppGroup("tasks", help="Look after the orders.")

CANNOT = 2


class Duration(click.ParamType[timedelta]):
    """Minutes as a number, or 90s, 20m, 2h."""

    name = "duration"
    _units = {"": "minutes", "s": "seconds", "m": "minutes", "h": "hours"}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The duration that a person has typed."""
        match = re.fullmatch(r"(\d{1,6})([smh]?)", value) if isinstance(value, str) else None
        if match is None:
            self.fail("must be minutes, or a number with s, m or h, such as 20m", param, ctx)
        return timedelta(**{self._units[match[2]]: int(match[1])})


@tasks_cli.command("fix-stuck")
@click.option("--dry-run", is_flag=True, help="Only say what is stuck.")
@click.option(
    "--older-than",
    type=Duration(),
    metavar="DURATION",
    help="Also fail and give back every unfinished order accepted longer ago: minutes, or such as 90s, 20m, 2h.",
)
def fix_stuck(dry_run: bool, older_than: timedelta | None) -> None:
    """Run one sweep now: ring again, queue again, fail and give back what is stuck.

    Needs only the database. Ends with 0 when nothing stuck is left, 1 when something is (found by --dry-run, not to be
    repaired, or more than one sweep takes up), and 2 when it could not run.
    """
    try:
        report = repair.look(older_than) if dry_run else repair.sweep(older_than)
    except Unavailable:
        click.echo("sweep: the database does not answer", err=True)
        raise click.exceptions.Exit(CANNOT) from None
    except Exception as error:
        log.exception("The sweep could not run")
        click.echo(f"sweep: it could not run ({type(error).__name__}); is the database migrated?", err=True)
        raise click.exceptions.Exit(CANNOT) from None
    click.echo(report.line)
    if report.broken or report.has_more or (dry_run and report.stuck):
        raise click.exceptions.Exit(1)
