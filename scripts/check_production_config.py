"""`make check`, `flask check`: whether this installation is ready for visitors, one line each, and what to do if not.

Looks at every setting, asks every service and engine that they name, and looks at the machine. Nothing is painted or
sent. Ends with 0 when all is well, 1 when something deserves a look, 2 when visitors would notice.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Found through the line above, so that this file may be started from anywhere.
from dotenv import dotenv_values

from ghibli_flask.factory import create_app
from ghibli_flask.masking import Mask
from ghibli_flask.settings import ROOT, Settings, SettingsError, load_settings
from scripts.check_engines import Check
from scripts.findings import Finding, guarded
from scripts.machine_check import check_machine
from scripts.service_check import check_services
from scripts.setting_check import check_names, check_settings

EXIT_CODES = {"ok": 0, "warn": 1, "fail": 2}
ENV_FILE = ROOT / ".env"


def check(variables: Mapping[str, str], env_file: Path = ENV_FILE) -> Iterator[Finding]:
    """Everything that can be found out, without secrets; `variables` are those of the environment and of `.env`."""
    try:
        settings = load_settings()
    except SettingsError as error:
        for line in str(error).splitlines():
            name, _colon, said = line.partition(": ")
            yield Finding(
                "setting", name, False, said or "is wrong", fix="docs/settings.md; no process starts with it."
            )
        yield from check_names(variables, env_file)
        return
    mask = Mask(settings)
    for finding in _look(settings, variables, env_file):
        yield finding.masked(mask)


def _look(settings: Settings, variables: Mapping[str, str], env_file: Path) -> Iterator[Finding]:
    yield from check_settings(settings, variables, env_file)
    with create_app(settings).app_context():
        yield from check_services()
        yield from guarded("engine", "all", _engines)
        yield from guarded("machine", "all", lambda: check_machine(settings))


def _engines() -> Iterator[Finding]:
    """What `make check-engines` says; an engine that does not work is a warning while another one paints."""
    look = Check((), paint=False)
    found = list(look.run())
    yield from (replace(finding, mild=bool(look.painters)) for finding in found)
    if look.painters:
        yield Finding("engine", "all", True, look.sum)


def exit_code(findings: Sequence[Finding]) -> int:
    """How the command ends: with the worst."""
    return max((EXIT_CODES[finding.level] for finding in findings), default=0)


def present_variables(env_file: Path = ENV_FILE) -> dict[str, str]:
    """The variables of `.env` and of the environment, the latter winning."""
    told = {name: value or "" for name, value in dotenv_values(env_file).items()} if env_file.exists() else {}
    return told | dict(os.environ)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="check_production_config", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    return parser.parse_args(words)


def main() -> int:
    """Check with the settings of the environment and `.env`; gives the exit code."""
    arguments = parse()
    findings: list[Finding] = []
    for finding in check(present_variables()):
        findings.append(finding)
        if not arguments.json:
            print(finding.verdict, flush=True)
    code = exit_code(findings)
    if arguments.json:
        told = [asdict(finding) | {"level": finding.level} for finding in findings]
        print(json.dumps({"exitCode": code, "findings": told}, indent=2))
    else:
        count = {level: sum(finding.level == level for finding in findings) for level in EXIT_CODES}
        print(f"{count['ok']} ok, {count['warn']} to look at, {count['fail']} that visitors would notice.")
    return code


if __name__ == "__main__":
    sys.exit(main())
