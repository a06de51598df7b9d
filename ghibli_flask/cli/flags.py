"""`flask flags`: the operator's switches from the command line."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from ghibli_flask.errors import InvalidFields
from ghibli_flask.services import flags

flags_cli = AppGroup("flags", help="The operator's switches.")


@flags_cli.command("list")
def list_flags() -> None:
    """Show every switch and what it is set to."""
    for flag in flags.all_switches():
        click.echo(f"{flag.name:20} {flag.value or '(not set)':12} {flag.meaning}")


@flags_cli.command("set")
@click.argument("name")
@click.argument("value", default="")
def set_flag(name: str, value: str) -> None:
    """Set a switch; without a value it is cleared."""
    try:
        flags.switch(name, value, by="command line")
    except InvalidFields as error:
        raise click.ClickException(" ".join(str(field.message) for field in error.fields)) from error
    click.echo(f"{name} is {'set to ' + value if value else 'cleared'}.")
