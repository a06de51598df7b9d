"""`flask check`: whether this installation is ready for visitors."""

from __future__ import annotations

import subprocess
import sys

import click

from ghibli_flask.settings import ROOT


@click.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def check_command(as_json: bool) -> None:
    """Look at settings, services, engines and machine; ends with 0, 1 (worth a look) or 2 (visitors would notice)."""
    # A program of its own, because it asks the engines, which the web application does not know.
    command = [sys.executable, "-m", "scripts.check_production_config", *(["--json"] if as_json else [])]
    raise click.exceptions.Exit(subprocess.run(command, cwd=ROOT).returncode)  # noqa: S603 - our own words alone.
