"""One thread that carries all HTTP conversations of an engine, however many calls run at once; used by `gradio.py`.

A call that is painted for minutes costs a socket and a few kilobytes here, where a thread of its own would cost a
hundred; and a coroutine can be cancelled while it waits for a silent server, which a blocked thread cannot.
"""

from __future__ import annotations

import asyncio
import http.cookiejar
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import httpx

CLOSING_S = 2.0
"""How long conversations that were cut off by `close` may take to say goodbye."""

KEEP_ALIVE_S = 2.0
"""Servers close idle connections after 5 s or so; one that is kept for less is never found closed when it is used."""

T = TypeVar("T")


class EventLoop:
    """An asyncio loop in a daemon thread, with one HTTP client for everything on it. Starts when first used."""

    def __init__(self, make_client: Callable[[], httpx.AsyncClient]) -> None:
        """Take what makes the client; it is called on the loop's own thread."""
        self._make_client = make_client
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._http: httpx.AsyncClient
        self._closing: asyncio.Event
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, conversation: Callable[[httpx.AsyncClient], Coroutine[Any, Any, T]]) -> Future[T]:
        """Begin a conversation; cancelling the future ends it wherever it waits."""
        with self._lock:
            if self._thread is None:
                self._open()
            return asyncio.run_coroutine_threadsafe(self._hold(conversation), self._loop)

    def close(self) -> None:
        """Cut off what still runs and end the thread; `start` would begin anew."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread:
                self._loop.call_soon_threadsafe(self._closing.set)
                thread.join()

    def _open(self) -> None:
        ready = threading.Event()
        # A daemon, because a process that ends must not wait for a server that does not answer.
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="engine-streams", daemon=True
        )
        self._thread.start()
        ready.wait()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        async with self._make_client() as self._http:
            ready.set()
            await self._closing.wait()
            for conversation in self._running:
                if not conversation.cancelling():
                    conversation.cancel()
            if self._running:
                await asyncio.wait(self._running, timeout=CLOSING_S)

    async def _hold(self, conversation: Callable[[httpx.AsyncClient], Coroutine[Any, Any, T]]) -> T:
        """Count a conversation as running for as long as it does."""
        task = asyncio.current_task()
        assert task
        self._running.add(task)
        try:
            return await conversation(self._http)
        finally:
            self._running.discard(task)


def forgetful_client(**options: Any) -> httpx.AsyncClient:
    """A client that many callers may share: it keeps no cookies, follows no redirects and limits no connections."""
    client = httpx.AsyncClient(
        follow_redirects=False,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=KEEP_ALIVE_S),
        **options,
    )
    client.cookies.jar.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
    return client
