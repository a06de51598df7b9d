"""`flask storage …`: whether the stores do what they are asked."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from ghibli_flask.services import storage_check

storage_cli = AppGroup("storage", help="Look after the stores.")


@storage_cli.command("check")
def check() -> None:
    """Write, read and delete a small picture in each store; ends with 1 when one does not do it."""
    findings = storage_check.check_all()
    for finding in findings:
        click.echo(finding.line)
    if any(finding.complaint for finding in findings):
        raise click.exceptions.Exit(1)
