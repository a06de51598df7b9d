"""All that speaks with a Gradio server: a Space that is connected, one call's conversation with it, and its errors.

Only `gradio.py` calls this, and nothing else imports gradio_client: the environment has to be set before.

gradio_client connects and knows the endpoints. The conversation itself is led here, because in gradio_client 2.7.2
`/cancel` stops every running call of a client, each call costs four threads, and the reader of the event stream
waits for ever when nothing comes, drops `unexpected_error` and cannot be stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import urllib.parse
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

import httpx

# These two are read from the environment alone, the second while huggingface_hub is imported: without them each
# new client reports its start to a third party. Settings are not asked, because engines do not know them.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from gradio_client import Client
from gradio_client.client import Endpoint
from gradio_client.utils import CONFIG_URL, RAW_API_INFO_URL, construct_args

from ghibli_flask.proxies import proxy_trouble
from jobs.engines import gradio_messages
from jobs.engines.base import CredentialRejected, EngineBroken, EngineBusy, EngineError, RequestRejected
from jobs.engines.gradio_http import MOST_OF_DESCRIPTION, Message, ask, read
from jobs.engines.gradio_queue import QUEUES, Order, Queue
from jobs.engines.http import retry_after

CONNECT_S = 30.0
"""How long connecting may take. A Space that is being built answers nothing for minutes."""

USER_AGENT = "ghibli-flask"
DOWNLOAD_TIMEOUT_S = 15.0
"""The longest silence in the middle of a download."""

FORM = {
    "prompt": "Textbox",
    "spatial_img": "Image",
    "height": "Slider",
    "width": "Slider",
    "seed": "Number",
    "control_type": "Dropdown",
    "use_zero_init": "Checkbox",
    "zero_steps": "Number",
}
"""What the endpoint's parameters are called, in their order and with the component of each."""

OLDER_FORM = dict(list(FORM.items())[:6])


class SpaceClient(Client):  # type: ignore[misc]  # gradio_client brings no types.
    """A gradio_client Client that makes no request, starts no thread and holds no token but this one.

    It is given what the Space says of itself, and knows from it where everything is and what the endpoints take.
    """

    def __init__(self, url: str, token: str | None, config: dict[str, Any], info: dict[str, Any]) -> None:
        # The heartbeat keeps a session's state alive. Nothing here has any, and it would cost a thread each.
        self._given_config = {**config, "connect_heartbeat": False}
        self._given_info = info
        super().__init__(
            url,
            # False and not None: for None, a token from the environment would be sent to any host.
            token=token or False,
            verbose=False,
            download_files=False,
            analytics_enabled=False,
        )

    def _get_config(self) -> dict[str, Any]:
        return self._given_config

    def _get_api_info(self) -> dict[str, Any]:
        return self._given_info

    def url_of(self, path: str) -> str:
        """The address of one of the Space's own routes, wherever the Space believes itself to be."""
        url: str = urllib.parse.urljoin(self.src_prefixed, path)
        return url


@dataclass(frozen=True)
class Space:
    """What stays true between calls: where the Space's routes are, and what the endpoint takes."""

    client: SpaceClient
    endpoint: Endpoint
    headers: dict[str, str]
    """What every request carries: the token, the Space's cookies, and the wish for answers that are not packed."""

    parameters: frozenset[str]
    required: frozenset[str]
    looks: frozenset[str]
    connected_at: float
    """Monotonic seconds."""

    @classmethod
    async def connect(cls, http: httpx.AsyncClient, url: str, token: str | None, api_name: str) -> Space:
        """Read what the Space at `url` is and what `api_name` takes: two requests.

        Raises httpx's errors, ValueError, LookupError, or TimeoutError after CONNECT_S.
        """
        async with asyncio.timeout(CONNECT_S):
            headers = _headers(token)
            config_url = urllib.parse.urljoin(url, CONFIG_URL)
            answer = await ask(http, "GET", config_url, headers=headers, max_bytes=MOST_OF_DESCRIPTION)
            config = answer.json()
            if config.get("protocol") not in QUEUES:
                raise LookupError(f"The Space speaks {config.get('protocol')}, which is not Gradio 4, 5 or 6.")
            # Some Spaces run on several machines and keep a visitor on one of them by a cookie.
            if answer.cookies:
                headers["cookie"] = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())
            prefix = config.get("api_prefix", "").strip("/") + "/"
            info_url = urllib.parse.urljoin(url, prefix.lstrip("/") + RAW_API_INFO_URL)
            info = (await ask(http, "GET", info_url, headers=headers, max_bytes=MOST_OF_DESCRIPTION)).json()
        if api_name not in info["named_endpoints"]:
            raise LookupError(f"The Space has no endpoint {api_name}.")
        endpoint = info["named_endpoints"][api_name]
        endpoint["parameters"] = named(endpoint["parameters"])
        parameters = {p.get("parameter_name", p.get("label")): p for p in endpoint["parameters"]}
        client = SpaceClient(url, token, config, info)
        return cls(
            client,
            client.endpoints[client._infer_fn_index(api_name, None)],
            headers,
            frozenset(parameters),
            frozenset(name for name, p in parameters.items() if not p.get("parameter_has_default")),
            frozenset(parameters.get("control_type", {}).get("type", {}).get("enum", ())),
            time.monotonic(),
        )


def named(parameters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An endpoint's parameters with their names, which Gradio tells since 4.23.

    Older ones tell the components only: where these are those of a known form, so are the names. All of it has to
    be sent then, because defaults are not told either.
    """
    components = [parameter.get("component") for parameter in parameters]
    for form in (FORM, OLDER_FORM):
        if components == [*form.values()] and not any("parameter_name" in parameter for parameter in parameters):
            return [{**p, "parameter_name": name} for name, p in zip(form, parameters, strict=True)]
    return parameters


def _headers(token: str | None) -> dict[str, str]:
    # Packed answers could grow without bounds while they are unpacked.
    headers = {"user-agent": USER_AGENT, "accept-encoding": "identity"}
    # The Hub's own name for it, so that the Space itself may use the usual header for its own visitors.
    return {**headers, "x-hf-authorization": f"Bearer {token}"} if token else headers


class Session:
    """One call's conversation with a Space, on the engine's event loop."""

    def __init__(self, http: httpx.AsyncClient, space: Space, headers: Mapping[str, str]) -> None:
        """`headers` go along with the call itself, beside those of the Space."""
        self._http, self._space, self._headers = http, space, headers

    async def upload(self, name: str, content: bytes, media_type: str) -> dict[str, Any]:
        """Bring a file to the Space; gives the argument by which the endpoint finds it there."""
        response = await ask(
            self._http,
            "POST",
            self._space.client.upload_url,
            files={"files": (name, content, media_type)},
            headers=self._space.headers,
        )
        path = response.json()[0]
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    async def call(self, arguments: dict[str, Any], on_message: Callable[[Message], None]) -> object:
        """Have the endpoint work and give what it returned, which may be anything.

        Every message of the event stream goes to `on_message` on its way. However this ends early, by an error or
        by being cancelled, the Space is told to stop.
        """
        space = self._space
        data = space.endpoint.insert_empty_state(*construct_args(space.endpoint.parameters_info, (), arguments))
        # ZeroGPU tells callers of this kind more about a quota than it shows on a page.
        headers = {**space.headers, **self._headers, "x-gradio-user": "api"}
        order = Order(space.client.url_of, headers, str(uuid.uuid4()), space.endpoint.fn_index, data)
        queue = QUEUES[space.client.protocol](self._http, order)
        try:
            output = await self._outcome(queue, on_message)
        except BaseException:
            await queue.leave()
            raise
        if "data" not in output:
            raise self._refusal(output)
        return space.endpoint.process_predictions(*output["data"])

    async def download(self, path: str, max_bytes: int) -> bytes:
        """Fetch a picture that the Space knows by this path, from the Space itself and from nowhere else.

        No redirect is followed, and the bytes are not proven to be a picture. Raises EngineBroken or an httpx error.
        """
        url = f"{self._space.client.src_prefixed}file={urllib.parse.quote(path, safe='/')}"
        async with self._http.stream("GET", url, headers=self._space.headers, timeout=DOWNLOAD_TIMEOUT_S) as response:
            _check_picture(response)
            return await read(response, max_bytes, "picture")

    async def _outcome(self, queue: Queue, on_message: Callable[[Message], None]) -> dict[str, Any]:
        """Follow the order to its end; gives the output, an error's words included."""
        async with contextlib.aclosing(queue.messages()) as messages:
            async for message in messages:
                match message.get("msg"):
                    case "process_completed":
                        return message.get("output") or {}
                    case "unexpected_error":
                        raise self._refusal({"error": message.get("message")})
                    case "close_stream":
                        break
                on_message(message)
        raise EngineBusy("The event stream ended before the picture was done.", retries=1)

    def _refusal(self, output: dict[str, Any]) -> EngineError:
        message = output.get("error") or gradio_messages.HIDDEN
        return gradio_messages.refusal(str(message), output.get("title"), credential=self._space.client.token or None)


def _check_picture(response: httpx.Response) -> None:
    if response.status_code != httpx.codes.OK:
        raise EngineBroken(f"The picture's address answered {response.status_code}.")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_drawing = kind == "image/svg+xml"
    if is_drawing or (not kind.startswith("image/") and kind != "application/octet-stream"):
        raise EngineBroken(f"The endpoint returned {kind or 'no type'} instead of a picture.")


def engine_error(error: BaseException, token: str | None) -> EngineError:
    """What to do about whatever was raised while connecting or calling with this token."""
    text = f"{type(error).__name__}: {error}"
    if trouble := proxy_trouble(error):
        return EngineBroken(trouble, secret=token)
    match error:
        case EngineError():
            return error
        case httpx.HTTPStatusError():
            return _status_error(error.response, text, token)
        case httpx.HTTPError() | LookupError() | TypeError():
            return EngineBroken(text, secret=token)
        case TimeoutError():
            return EngineBroken("The Space did not answer while connecting.")
        case CancelledError():
            return EngineBroken("The engine was closed.")
    found = gradio_messages.refusal(str(error), credential=token)
    return EngineBroken(text, secret=token) if type(found) is EngineBroken else found


def _status_error(response: httpx.Response, text: str, token: str | None) -> EngineError:
    """An HTTP status while connecting, uploading, joining or listening, by gradio_messages' classes."""
    match response.status_code:
        case 401 | 403 if token:
            return CredentialRejected(text, secret=token, reconnect=True)
        case 413:
            return RequestRejected(text, secret=token)
        case 422:
            # Also what a Space says whose function has other parameters since it was rebuilt.
            return RequestRejected(text, secret=token, reconnect=True)
        case 429 | 502 | 503 | 504:
            return EngineBusy(text, retry_after=retry_after(response.headers), secret=token)
        case _:
            return EngineBroken(text, secret=token, reconnect=True)
