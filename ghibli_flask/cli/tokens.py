"""`flask tokens …`: how the Hub's tokens are doing, and bringing a disabled one back."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from ghibli_flask.services import gpu_tokens

tokens_cli = AppGroup("tokens", help="Look after the Hub's tokens.")


@tokens_cli.command("status")
def status() -> None:
    """Ask the Hub what each token has left, and show all of them, masked."""
    if not gpu_tokens.hub_may_be_asked():
        click.echo("The Hub is not asked: the host of HF_ENDPOINT is not in GRADIO_TOKEN_HOSTS.")
    gpu_tokens.refresh(force=True)
    for token in gpu_tokens.statuses():
        back = token.cooling_until or token.resets_at
        click.echo(
            f"{token.mask}  {token.state}  {token.seconds_left:.0f} of {token.daily_limit:.0f} s left ({token.source})"
            f"  {token.calls} calls, {token.failures} refused" + (f"  until {back:%H:%M} UTC" if back else "")
        )


@tokens_cli.command("enable")
@click.argument("name")
def enable(name: str) -> None:
    """Use a disabled token again, named by its mask or its last four characters; ends with 1 when there is none."""
    count = gpu_tokens.enable(name)
    click.echo(f"tokens enabled: {count}")
    if count == 0:
        raise click.exceptions.Exit(1)
