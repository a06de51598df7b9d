"""`flask monitor …`: how the installation is doing, for a person at a terminal."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from ghibli_flask.services import health, monitor
from ghibli_flask.services.monitor import MonitorReport

monitor_cli = AppGroup("monitor", help="See how the installation is doing.")

WORDS = {True: "well", False: "NOT WELL", None: "unknown"}


@monitor_cli.command("run")
def run() -> None:
    """Look at every part now, keep the result and send alerts; ends with 1 when something is not well."""
    _show(monitor.check())


@monitor_cli.command("status")
def status() -> None:
    """Look at every part now, without keeping or sending anything; ends with 1 when something is not well."""
    report = monitor.look()
    for kind in ("sweep", "monitor"):
        last = health.last_finished(kind) if report.looks["database"].ok else None
        click.echo(f"last {kind:<14} {f'{last:%Y-%m-%d %H:%M:%S} UTC' if last else 'unknown'}")
    _show(report)


def _show(report: MonitorReport) -> None:
    for name, look in report.looks.items():
        click.echo(f"{name.replace('_', ' '):<19} {WORDS[look.ok]:<9} {look.text}")
    if not report.ok:
        raise click.exceptions.Exit(1)
