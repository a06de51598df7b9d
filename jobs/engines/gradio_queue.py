"""A call's way through a Gradio server's queue, in each protocol that Gradio 4, 5 and 6 speak; `gradio_session` asks.

From routes.py and queueing.py of gradio 4.0, 4.8, 4.9, 4.19, 4.44, 5.23 and 6.31, and gradio_client/client.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from jobs.engines.base import EngineBusy
from jobs.engines.gradio_http import TIMEOUT, Message, ask, listen

JOIN = "queue/join"
DATA = "queue/data"
CANCEL = "cancel"
RESET = "reset"
LEAVING_S = 1.0
RESET_EVERY_S = 0.1


@dataclass(frozen=True)
class Order:
    """One call of one function; `url_of` gives the address of a route, `session` is a name that nobody else uses."""

    url_of: Callable[[str], str]
    headers: dict[str, str]
    session: str
    fn_index: int
    data: Sequence[Any]


class Queue(Protocol):
    """Brings one order through; made for it, and of no use afterwards."""

    def __init__(self, http: httpx.AsyncClient, order: Order) -> None: ...

    def messages(self) -> AsyncGenerator[Message, None]:
        """Enter, and hear how it goes until the server has said everything.

        Raises what `gradio_http.ask` and `listen` raise.
        """
        ...

    async def leave(self) -> None:
        """Have the server stop, after `messages` was closed; raises nothing."""
        ...


class SessionQueue:
    """Since Gradio 4.9: the order is placed first, and one event stream tells of all orders of a session."""

    def __init__(self, http: httpx.AsyncClient, order: Order) -> None:
        self._http = http
        self._order = order
        self._joining: asyncio.Task[str] | None = None

    async def messages(self) -> AsyncGenerator[Message, None]:
        """See `Queue`."""
        order = self._order
        self._joining = asyncio.create_task(self._join())
        # Shielded, because the server may have the order already when it is no longer wanted.
        await asyncio.shield(self._joining)
        stream = listen(self._http, order.url_of(DATA), params={"session_hash": order.session}, headers=order.headers)
        async with contextlib.aclosing(stream):
            async for message in stream:
                yield message

    async def leave(self) -> None:
        """See `Queue`. The server may answer only when its function returns: nobody waits for that."""
        if self._joining is None:
            return
        order = self._order
        with contextlib.suppress(Exception):
            async with asyncio.timeout(LEAVING_S):
                event_id = await self._joining
                place = {"session_hash": order.session, "fn_index": order.fn_index, "event_id": event_id}
                try:
                    await _post(self._http, order, CANCEL, place)
                except httpx.HTTPStatusError:
                    # Before 4.31 there is no such route: what waits may be painted for nobody, what works is stopped.
                    await _reset(self._http, order, event_id)

    async def _join(self) -> str:
        order = self._order
        body = {"data": order.data, "fn_index": order.fn_index, "session_hash": order.session}
        event_id: str = (await _post(self._http, order, JOIN, body)).json()["event_id"]
        return event_id


class StreamQueue:
    """Up to Gradio 4.8: an event stream of its own is the place in the queue, and asks for the data in its time."""

    def __init__(self, http: httpx.AsyncClient, order: Order) -> None:
        self._http = http
        self._order = order
        self._event_id: str | None = None

    async def messages(self) -> AsyncGenerator[Message, None]:
        """See `Queue`."""
        order = self._order
        place = {"fn_index": order.fn_index, "session_hash": order.session}
        pace = None
        # The first releases send a single heartbeat, so silence says nothing: only the call's deadline ends it.
        patience = httpx.Timeout(TIMEOUT.connect, read=None)
        stream = listen(self._http, order.url_of(JOIN), params=place, headers=order.headers, timeout=patience)
        async with contextlib.aclosing(stream):
            async for message in stream:
                match message.get("msg"):
                    case "send_data":
                        self._event_id = message["event_id"]
                        body = {**place, "event_id": self._event_id, "data": order.data}
                        await _post(self._http, order, DATA, body)
                    case "queue_full":
                        raise EngineBusy("The Space's queue is full.")
                    case "estimation":
                        pace = message.get("avg_event_process_time") or None
                        yield message
                    case "process_starts":
                        # Newer servers say here how long it usually takes.
                        yield {**message, "eta": pace}
                    case _:
                        yield message

    async def leave(self) -> None:
        """See `Queue`. A closed stream is enough, but for the first releases: there what works already is told too.

        What still waits there is dropped when it is asked for its data and nobody answers.
        """
        if self._event_id is None:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(LEAVING_S):
                await _reset(self._http, self._order, self._event_id)


async def _post(http: httpx.AsyncClient, order: Order, route: str, body: dict[str, Any]) -> httpx.Response:
    return await ask(http, "POST", order.url_of(route), json=body, headers=order.headers)


async def _reset(http: httpx.AsyncClient, order: Order, event_id: str) -> None:
    """Stop a function that gives its result in steps. The server knows it as one from its first step on."""
    while not (await _post(http, order, RESET, {"event_id": event_id})).json()["success"]:
        await asyncio.sleep(RESET_EVERY_S)


QUEUES: dict[str, type[Queue]] = {
    "sse": StreamQueue,
    "sse_v1": SessionQueue,
    "sse_v2": SessionQueue,
    "sse_v2.1": SessionQueue,
    "sse_v3": SessionQueue,
}
"""By what a server's configuration calls its protocol. The later ones differ in how a half-done result is told."""
