"""As many GETs as go over kept connections, each asking again once it is answered: `hammer.py PORT PATH COUNT SECONDS`.

Run by `bench.cases.polls` as a process of its own. One loop over plain sockets, because a client library would take
more processor time than the server that is measured. Prints requests, seconds and its own processor time as JSON.
"""

import json
import selectors
import socket
import sys
import time

HOST, LOOPBACK = "bench.example.org", "127.0.0.1"
END_OF_HEAD = b"\r\n\r\n"


class Asker:
    """One connection and the answer that it is reading."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection((LOOPBACK, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request, self._received = request, b""
        self.socket.sendall(request)

    def read(self) -> bool:
        """Take what has come; says whether an answer is complete, in which case the next question is sent."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise SystemExit("the server closed a connection")
        self._received += chunk
        head, found, body = self._received.partition(END_OF_HEAD)
        if not found or len(body) < _length(head):
            return False
        if not head.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(head.decode(errors="replace"))
        self._received = b""
        self.socket.sendall(self._request)
        return True


def _length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.index(b"\r\ncontent-length:") + len(b"\r\ncontent-length:")
    return int(lowered[start:].partition(b"\r\n")[0])


def hammer(port: int, path: str, connections: int, seconds: float) -> dict[str, float]:
    """Ask for so long, and until every connection has had an answer; the first tenth of the time does not count."""
    words = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"
    selector = selectors.DefaultSelector()
    for _number in range(connections):
        asker = Asker(port, words.encode())
        selector.register(asker.socket, selectors.EVENT_READ, asker)
    _ask(selector, 0, seconds / 10)
    began, began_cpu = time.monotonic(), time.process_time()
    answers = _ask(selector, connections, seconds * 9 / 10)
    counted_s = time.monotonic() - began
    return {"a_second": answers / counted_s, "cores": (time.process_time() - began_cpu) / counted_s}


def _ask(selector: selectors.BaseSelector, at_least: int, seconds: float) -> int:
    """Read answers for so long, and until there were so many; gives their number."""
    answers, ends_at = 0, time.monotonic() + seconds
    while answers < at_least or time.monotonic() < ends_at:
        for key, _events in selector.select(0.1):
            answers += key.data.read()
    return answers


if __name__ == "__main__":
    print(json.dumps(hammer(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
