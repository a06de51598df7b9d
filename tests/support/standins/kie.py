"""A stand-in for KIE AI: both its hosts in one server, the three families of interfaces, and every code.

Written from docs.kie.ai (market/google/nano-banana-edit, market/common/get-task-detail, file-upload-api,
4o-image-api/generate-4-o-image, 4o-image-api/get-4-o-image-details, flux-kontext-api,
common-api/get-account-credits, common error codes) as they stood in November 2026. Tasks and pictures live as long as
the server.
"""

import json
from typing import Any

from tests.support.standins.server import Heard, Reply, StandIn, json_reply

KEY = "kie-0123456789abcdef0123456789abcdef"

UPLOAD = "/api/file-stream-upload"
CREATE = "/api/v1/jobs/createTask"
RECORD = "/api/v1/jobs/recordInfo"
CREATE_4O = "/api/v1/gpt4o-image/generate"
RECORD_4O = "/api/v1/gpt4o-image/record-info"
CREATE_FLUX = "/api/v1/flux/kontext/generate"
RECORD_FLUX = "/api/v1/flux/kontext/record-info"
CREDITS = "/api/v1/chat/credit"
PICTURE = "/result.jpg"

MARKET_FIELDS = {
    "google/nano-banana": {"prompt", "output_format", "image_size"},
    "google/nano-banana-edit": {"prompt", "image_urls", "output_format", "image_size"},
    "nano-banana-pro": {"prompt", "image_input", "aspect_ratio", "resolution", "output_format"},
    "nano-banana-2": {"prompt", "image_input", "aspect_ratio", "resolution", "output_format"},
    "gpt-image-2-image-to-image": {"prompt", "input_urls", "aspect_ratio", "resolution"},
    "gpt-image-2-text-to-image": {"prompt", "aspect_ratio", "resolution"},
}
"""The models of the market that this stand-in serves, and the fields that each knows."""

MESSAGES = {
    400: "The request parameters are incorrect",
    401: "You do not have access permissions",
    402: "Insufficient credits",
    404: "The requested resource does not exist",
    408: "Upstream is currently experiencing service issues. No result received for over 10 minutes",
    422: "The model name you specified is not supported",
    429: "Your call frequency is too high. Please try again later",
    433: "The request exceeds the usage limit of this key",
    451: "Failed to fetch the image. Kindly verify any access limits set by you or your service provider",
    455: "The server is currently undergoing maintenance",
    500: "Server exception, please try again later or contact customer service",
    501: "Generation failed",
    505: "This feature is currently disabled",
    550: "The task was rejected because the upstream queue is full",
}
"""The codes of the documentation, each with a text of its kind."""


def code(number: int, text: str | None = None, **more: Any) -> Reply:
    """An error the way KIE gives it: HTTP 200, and the code in the body."""
    return json_reply({"code": number, "msg": text or MESSAGES[number], "data": None, **more})


def market_record(state: str, **more: Any) -> Reply:
    """The record of a task of the market."""
    empty = {"resultJson": "", "failCode": None, "failMsg": None, "costTime": None, "completeTime": None}
    data = {"taskId": "task-1", "model": "any", "state": state, "param": "{}", "createTime": 1763800000000}
    return json_reply({"code": 200, "message": "success", "data": {**data, **empty, **more}})


def legacy_record(flag: int, **more: Any) -> Reply:
    """The record of a task of 4o or Flux Kontext."""
    status = ("GENERATING", "SUCCESS", "CREATE_TASK_FAILED", "GENERATE_FAILED")[flag]
    data = {"taskId": "task-1", "paramJson": "{}", "successFlag": flag, "status": status, "errorCode": None}
    return json_reply({"code": 200, "msg": "success", "data": {**data, "errorMessage": None, **more}})


class KieStandIn(StandIn):
    """KIE AI on loopback. `picture` is what every task paints."""

    def reset(self) -> None:
        super().reset()
        self.picture = b"\xff\xd8\xff the picture"
        self.tasks = 0

    @property
    def picture_url(self) -> str:
        return self.url + PICTURE

    def answer(self, heard: Heard) -> Reply:
        if heard.path == PICTURE:
            return Reply(self.picture, kind="image/jpeg")
        if heard.headers["Authorization"] != f"Bearer {KEY}":
            return code(401)
        match heard.path:
            case path if path == UPLOAD:
                return self._upload(heard)
            case path if path == CREATE:
                return self._create_market(heard.json())
            case path if path in {CREATE_4O, CREATE_FLUX}:
                return self._created()
            case path if path == RECORD:
                return market_record("success", resultJson=json.dumps({"resultUrls": [self.picture_url]}))
            case path if path == RECORD_4O:
                return legacy_record(1, progress="1.00", response={"resultUrls": [self.picture_url]})
            case path if path == RECORD_FLUX:
                return legacy_record(1, response={"originImageUrl": None, "resultImageUrl": self.picture_url})
            case path if path == CREDITS:
                return json_reply({"code": 200, "msg": "success", "data": 117.5})
        return code(404)

    def _upload(self, heard: Heard) -> Reply:
        fields, files = heard.form()
        if "file" not in files or not fields.get("uploadPath"):
            return json_reply({"success": False, "code": 400, "msg": "uploadPath is required"})
        name = files["file"].filename
        data = {"fileName": name, "filePath": f"{fields['uploadPath']}/{name}", "downloadUrl": f"{self.url}/up/{name}"}
        return json_reply({"success": True, "code": 200, "msg": "File uploaded successfully", "data": data})

    def _create_market(self, body: dict[str, Any]) -> Reply:
        known = MARKET_FIELDS.get(body["model"])
        if known is None:
            return code(422)
        unknown = set(body["input"]) - known
        return code(422, f"{unknown} is not within the range of allowed options") if unknown else self._created()

    def _created(self) -> Reply:
        self.tasks += 1
        return json_reply({"code": 200, "msg": "success", "data": {"taskId": f"task-{self.tasks}"}})
