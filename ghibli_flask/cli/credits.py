"""`flask credits …`: proving that the books are right."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from ghibli_flask.services import credits

credits_cli = AppGroup("credits", help="Look after the ledger.")


@credits_cli.command("reconcile")
@click.option("--repair", is_flag=True, help="Post one entry with a reason for each difference.")
def reconcile(repair: bool) -> None:
    """Compare every balance with the sum of its entries; ends with 1 when some differ."""
    found = credits.differences()
    for wrong in found:
        click.echo(f"user {wrong.user_id}: the balance is {wrong.balance}, the entries come to {wrong.entries}")
        if repair:
            click.echo(f"user {wrong.user_id}: posted {credits.repair(wrong.user_id):+d}")
    remaining = credits.differences() if repair else found
    click.echo(f"reconcile: differences {len(found)}, remaining {len(remaining)}")
    if remaining:
        raise click.exceptions.Exit(1)
