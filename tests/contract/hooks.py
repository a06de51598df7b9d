"""What Schemathesis cannot make up: photographs, ids inside of bodies, and an address of its own for each call."""

import base64
import itertools
import os
import zlib
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.transport.serialization import Binary

from tests.support.visitor import photo

FOLDER = Path(os.environ["CONTRACT_FOLDER"])
IDS = {
    name: (FOLDER / file).read_text().replace('"', "").split()
    for name, file in (("taskId", "tasks.txt"), ("uploadId", "uploads.txt"), ("userId", "users.txt"))
}
ANSWERS = "answers.txt"
_calls = itertools.count()


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Give three of four valid bodies a real photograph or id, where they have a place for one."""
    return _made_real(body) if isinstance(body, dict) else body


def _made_real(body: dict[str, Any]) -> dict[str, Any]:
    number = zlib.crc32(repr(sorted(body)).encode() + repr(body).encode())
    if number % 4 == 0:
        return body
    real = dict(body)
    for name, ids in IDS.items():
        if isinstance(real.get(name), str):
            real[name] = ids[number % len(ids)]
    if isinstance(real.get("imageBase64"), str):
        real["imageBase64"] = base64.b64encode(photo(number=number)).decode()
    if isinstance(real.get("image"), Binary):
        real["image"] = Binary(photo(number=number))
    return real


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Let each call come from another network address: the limits for one address are not what is looked at."""
    number = next(_calls)
    case.headers = {
        **(case.headers or {}),
        "X-Forwarded-For": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
    }


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Note what each call was answered, for the test to see that none was refused every time."""
    with (FOLDER / ANSWERS).open("a") as notes:
        notes.write(f"{case.operation.label}\t{response.status_code}\n")
