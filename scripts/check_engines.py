"""`make check-engines`: whether each engine, each token and the proxy work, one line each, and what to do if not.

It asks without painting or spending anything. With --paint every engine that works paints one small picture, on the
way of an order, after saying what that costs. Neither Redis nor the database nor a worker has to be there. Ends with 0
when all is well, 1 when something does not work but a visitor still gets a picture, 2 when nothing can paint or a
setting is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Found through the line above, so that this file may be started from anywhere.
from sqlalchemy.exc import SQLAlchemyError

from ghibli_flask.errors import AppError
from ghibli_flask.extensions import runtime
from ghibli_flask.factory import create_app
from ghibli_flask.masking import Mask
from ghibli_flask.services import flags
from ghibli_flask.settings import ALL_ENGINES, NEEDS, SettingsError
from jobs.engines.base import Engine
from jobs.engines.registry import build_engines
from jobs.process import engine_options
from scripts.engine_check import EngineReport, check_engine, paint_through
from scripts.findings import Finding
from scripts.proxy_check import check_proxies

WELL, IMPAIRED, NOTHING_PAINTS = 0, 1, 2

COSTS = {
    "gradio": "seconds of a token's quota where the Space is on ZeroGPU, and else nothing",
    "kie": "one picture on the bill of KIE",
    "openai": "one picture on the bill of OpenAI",
    "processor": "whatever its owner asks for",
}


class Check:
    """One look at everything. An app context has to be there."""

    def __init__(self, names: Sequence[str], paint: bool) -> None:
        """Look at the engines of these names, all that are configured without any."""
        settings = runtime().settings
        self.names = tuple(names) or settings.engines
        self.paint = paint
        self.painters: list[str] = []
        self.findings: list[Finding] = []
        self._mask = Mask(settings)

    def run(self) -> Iterator[Finding]:
        """Each finding as soon as it is there, without secrets."""
        for finding in self._look():
            masked = finding.masked(self._mask)
            self.findings.append(masked)
            yield masked

    @property
    def exit_code(self) -> int:
        """How the command ends."""
        if not self.painters:
            return NOTHING_PAINTS
        return WELL if all(finding.ok for finding in self.findings) else IMPAIRED

    @property
    def sum(self) -> str:
        """The last line."""
        return f"A visitor gets a picture from: {', '.join(self.painters)}." if self.painters else "Nothing can paint."

    def _look(self) -> Iterator[Finding]:
        settings = runtime().settings
        yield from check_proxies(settings)
        if not self.names:
            fix = "Set GRADIO_URL. While make run is up, instance/logs/space.log tells the bundled Space's address."
            yield Finding("engine", "none", False, "no engine is configured", fix=fix)
        for name in self.names:
            if name not in settings.engines:
                yield Finding("engine", name, False, "is not configured", fix=f"Set {NEEDS.get(name, 'GRADIO_URL')}.")
        configured = [name for name in self.names if name in settings.engines]
        off = _switched_off()
        for engine in build_engines(configured, engine_options(settings, None)):
            try:
                yield from self._look_at(engine, engine.name in off)
            finally:
                engine.close()

    def _look_at(self, engine: Engine, is_off: bool) -> Iterator[Finding]:
        report = EngineReport()
        yield from check_engine(engine, report)
        if self.paint and report.paints:
            say(f"Painting a small picture through {engine.name} now. It costs {COSTS[engine.name]}.")
            yield paint_through(engine, report)
        if is_off:
            fix = f"To switch it on: flask --app wsgi flags set engine-{engine.name}"
            yield Finding("engine", engine.name, True, "is switched off by a flag, so it paints for nobody", fix=fix)
        elif report.paints:
            self.painters.append(engine.name)


def say(text: str) -> None:
    """Tell the operator something that is no finding, beside the findings."""
    print(text, file=sys.stderr, flush=True)


def _switched_off() -> frozenset[str]:
    """The engines that an operator has switched off; nobody knows while the database is away."""
    try:
        return frozenset(runtime().settings.engines) - set(flags.current().engines)
    except (AppError, SQLAlchemyError):
        say("The database does not tell which engines are switched off.")
        return frozenset()


def run(arguments: argparse.Namespace) -> int:
    """Check, and print what was found; gives the exit code."""
    check = Check(arguments.engine, arguments.paint)
    for finding in check.run():
        if not arguments.json:
            print(finding.line, flush=True)
    if arguments.json:
        found = [asdict(finding) for finding in check.findings]
        print(json.dumps({"exitCode": check.exit_code, "paints": check.painters, "findings": found}, indent=2))
    else:
        print(check.sum)
    return check.exit_code


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="check_engines", description=__doc__)
    parser.add_argument("--engine", action="append", default=[], choices=ALL_ENGINES, help="only this one; repeatable")
    parser.add_argument("--paint", action="store_true", help="have each engine paint a picture; some bill it")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    return parser.parse_args(words)


def main() -> int:
    """Check with the settings of the environment and `.env`; gives the exit code."""
    arguments = parse()
    try:
        app = create_app()
    except SettingsError as error:
        print(f"The settings need another look:\n{error}", file=sys.stderr)
        return NOTHING_PAINTS
    with app.app_context():
        return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
