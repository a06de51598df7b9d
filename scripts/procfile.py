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


def process_env(env: Mapping[str, str], root: Path = ROOT) -> dict[str, str]:
    """What the processes get: `python` and `gunicorn` mean those of the project's virtual environment.

    And glibc keeps two arenas instead of eight a core: threads that read pictures in turn would otherwise each leave
    behind what one of them needs. The units of deploy/systemd and the Dockerfile say the same.
    """
    path = f"{root / '.venv/bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    return {"MALLOC_ARENA_MAX": "2", **env, "PATH": path}
