"""Reading the Procfile, the one place for command lines: used by `make run` and by the test bed."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from string import Template

ROOT = Path(__file__).resolve().parent.parent


def read_procfile(root: Path = ROOT) -> dict[str, str]:
    """Give each process's name and command line, in the order of the file."""
    lines = (root / "Procfile").read_text().splitlines()
    return {name: command for name, _, command in (line.partition(": ") for line in lines) if command}


def command_line(text: str, env: Mapping[str, str]) -> list[str]:
    """Split one command line into words and fill in names such as $PORT; KeyError for one not in `env`."""
    return [Template(word).substitute(env) for word in shlex.split(text)]


def with_virtual_environment(env: Mapping[str, str], root: Path = ROOT) -> dict[str, str]:
    """Put the project's virtual environment first, so that `python` and `gunicorn` mean those in it."""
    return {**env, "PATH": f"{root / '.venv/bin'}{os.pathsep}{env.get('PATH', os.defpath)}"}
