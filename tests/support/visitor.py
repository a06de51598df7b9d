"""A visitor of the site in tests: keeps its cookie, sends its token, orders pictures."""

import itertools
from io import BytesIO
from typing import Any

from flask import Flask
from PIL import Image
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

_numbers = itertools.count(1)


def photo(width: int = 320, height: int = 240, number: int | None = None) -> bytes:
    """A small JPEG; every call without `number` makes a different one."""
    shade = next(_numbers) if number is None else number
    out = BytesIO()
    Image.new("RGB", (width, height), (shade % 256, shade // 256 % 256, 90)).save(out, "JPEG", comment=str(shade))
    return out.getvalue()


class Visitor:
    """A browser with a guest cookie; `address` is where its requests come from."""

    def __init__(self, app: Flask, address: str = "192.0.2.1") -> None:
        self.app = app
        self.client = app.test_client()
        self.address = address
        self.token: str = self.get("/api/csrf").get_json()["csrfToken"]

    def get(self, path: str, **options: Any) -> TestResponse:
        """GET as this visitor."""
        return self.client.get(path, environ_base={"REMOTE_ADDR": self.address}, **options)

    def post(self, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> TestResponse:
        """POST with this visitor's token."""
        return self._change("post", path, headers, options)

    def delete(self, path: str) -> TestResponse:
        """DELETE with this visitor's token."""
        return self._change("delete", path, None, {})

    def order(self, data: bytes | None = None, *, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
        """Order a picture by the multipart form."""
        form = {**fields, "image": FileStorage(BytesIO(photo() if data is None else data), "photo.jpg")}
        # Encoded here, because the test client leaves its temporary file of a large form open.
        boundary, body = encode_multipart(form)
        content_type = f'multipart/form-data; boundary="{boundary}"'
        return self.post("/api/generate-image", data=body, content_type=content_type, headers=headers)

    def ordered(self, data: bytes | None = None, **fields: Any) -> str:
        """Order a picture that is accepted; gives the task's id."""
        answer = self.order(data, **fields)
        assert answer.status_code == 202, answer.get_data(as_text=True)
        return str(answer.get_json()["taskId"])

    def poll(self, task_id: str) -> dict[str, Any]:
        """What the poll says now."""
        answer = self.get(f"/api/poll-task?taskId={task_id}")
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return dict(answer.get_json())

    def _change(self, verb: str, path: str, headers: dict[str, str] | None, options: dict[str, Any]) -> TestResponse:
        sent = {"X-CSRFToken": self.token, **(headers or {})}
        return getattr(self.client, verb)(path, headers=sent, environ_base={"REMOTE_ADDR": self.address}, **options)
