"""Schemathesis calls the running site by its own OpenAPI document: no 500, and no answer that is not declared."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.contract.conftest import Contract
from tests.support.checkout import ROOT

CONFIG = Path(__file__).with_name("schemathesis.toml")
PATIENCE_S = 280
"""A run takes about twenty seconds on two cores of its own, and many times as long on a busy machine."""
pytestmark = pytest.mark.timeout(PATIENCE_S + 120)
KEYS = """
[auth.openapi]
apiToken = { bearer = "${API_TOKEN}" }
processSecret = { bearer = "${TASK_PROCESS_SECRET_KEY}" }
operatorKey = { api_key = "${ADMIN_API_KEY}" }
adminSecret = { api_key = "${ADMIN_SECRET}" }
session = { api_key = "${session}" }
csrf = { api_key = "${csrf}" }
"""


def run(contract: Contract, *options: str, keys: str = "") -> set[tuple[str, int]]:
    """Run Schemathesis over every call and fail with what it found; gives the calls and their answers."""
    own = contract.folder / "schemathesis.toml"  # It names the files with the ids relative to itself.
    own.write_text(CONFIG.read_text() + keys)
    notes = contract.folder / "answers.txt"
    notes.unlink(missing_ok=True)
    document = f"{contract.url}/api/openapi.json"
    command = [ROOT / ".venv/bin/schemathesis", "--config-file", own, "run", document, "--url", contract.url, *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CONTRACT_FOLDER": str(contract.folder), **contract.keys}
    done = subprocess.run(command, cwd=contract.folder, env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr)
    lines = (line.rsplit("\t", 1) for line in notes.read_text().splitlines())
    return {(call, int(status)) for call, status in lines}


def test_a_program_without_keys(contract: Contract) -> None:
    """Whatever a program without cookies and keys sends, it gets an answer that the document declares."""
    answers = run(contract, "--phases", "examples,fuzzing")
    assert {("POST /api/generate-image", 202), ("GET /api/user-credits", 401), ("GET /metrics", 401)} <= answers


def test_whoever_holds_the_keys(contract: Contract) -> None:
    """The same with every key and a signed-in person's cookies: each key is needed, and each call is answered well."""
    answers = run(contract, keys=KEYS)
    calls = {call for call, _ in answers}
    assert calls - {call for call, status in answers if status < 400} == set()
