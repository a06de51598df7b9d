"""A stand-in for ImgBB's upload interface, version 1, and for the host that its pictures lie on.

Written from https://api.imgbb.com (November 2026) and from the answers that people report: errors come as 400 whatever
is wrong, the rate limit too, and what stands in front of it may answer with a page.
"""

import base64
import binascii
import hashlib
from typing import Any

from tests.support.standins.server import Heard, Reply, StandIn, json_reply

KEY = "0123456789abcdef0123456789abcdef"
UPLOAD = "/1/upload"


def error(message: str, code: int = 100) -> Reply:
    """An error the way ImgBB gives it."""
    content = {"status_code": 400, "error": {"message": message, "code": code}, "status_txt": "Bad Request"}
    return json_reply(content, 400)


WRONG_KEY = error("Invalid API v1 key.")
RATE_LIMIT = error("Rate limit reached.")
EMPTY = error("Empty upload source.", 130)
TOO_LARGE = Reply(b"<html><h1>413 Request Entity Too Large</h1></html>", 413, "text/html")


class ImgBBStandIn(StandIn):
    """ImgBB on loopback. `uploads` holds what it keeps: path, bytes and expiration."""

    def __init__(self) -> None:
        super().__init__()
        self._server.socket.listen(64)  # Five waiting connections, the default, are few for a test with many threads.

    def reset(self) -> None:
        super().reset()
        self.uploads: dict[str, tuple[bytes, int | None]] = {}

    def settings(self, **more: Any) -> dict[str, Any]:
        """The settings of an application that may put results here."""
        return {"imgbb_api_key": KEY, "imgbb_url": self.url + UPLOAD, **more}

    @property
    def expirations(self) -> list[int | None]:
        """How many seconds each upload lives; None for ever."""
        return [expiration for _, expiration in self.uploads.values()]

    def answer(self, heard: Heard) -> Reply:
        if heard.method == "GET" and heard.path == UPLOAD:
            return EMPTY
        if heard.method == "GET":
            kept = self.uploads.get(heard.path)
            return Reply(kept[0], kind="image/jpeg") if kept else Reply(b"Not found", 404, "text/plain")
        fields, files = heard.form()
        if heard.query or files:
            return error("The tests' client sends everything in the form's fields.")
        if fields.get("key") != KEY:
            return WRONG_KEY
        try:
            data = base64.b64decode(fields["image"], validate=True)
        except (KeyError, binascii.Error):
            return EMPTY
        expiration = int(fields["expiration"]) if "expiration" in fields else None
        if expiration is not None and not 60 <= expiration <= 15_552_000:
            return error("Expiration is out of range.")
        return self._keep(fields["name"], data, expiration)

    def _keep(self, name: str, data: bytes, expiration: int | None) -> Reply:
        digest = hashlib.sha256(name.encode()).hexdigest()
        page, folder, file = digest[:7], digest[7:14], f"{name}.jpg"
        self.uploads[f"/{folder}/{file}"] = (data, expiration)
        address = f"{self.url}/{folder}/{file}"
        told = {
            "id": page,
            "title": name,
            "url_viewer": f"https://ibb.co/{page}",
            "url": address,
            "display_url": address,
            "width": "320",
            "height": "240",
            "size": len(data),
            "time": "1763800000",
            "expiration": str(expiration or 0),
            "image": {"filename": file, "name": name, "mime": "image/jpeg", "extension": "jpg", "url": address},
            "thumb": {"filename": file, "name": name, "mime": "image/jpeg", "extension": "jpg", "url": address},
            "delete_url": f"https://ibb.co/{page}/{digest[14:46]}",
        }
        return json_reply({"data": told, "success": True, "status": 200})
