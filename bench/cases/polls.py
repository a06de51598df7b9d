"""How many polls a second are answered, beside the least that the same gunicorn could do for one Redis GET."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.figures import Figure, Goal, Rounds
from bench.photos import two_megapixels
from bench.site import Program, Site, web_command
from bench.visitor import visitors
from scripts.processes import LOOPBACK, port_is_free, wait_until
from scripts.procfile import ROOT
from tests.support.ports import free_port

WORST_SHARE = 75
ANSWER_KEY = "bench:answer"


def polls(site: Site, rounds: int = 5, connections: int = 32, seconds: float = 3) -> list[Figure]:
    """Connections that never rest ask for a finished task, then for the bare route, then for the bare function."""
    site.use_usual_worker()
    site.space.set_delay(0)
    with visitors(site, 1) as (visitor,):
        order = visitor.follow(visitor.order(two_megapixels()), 0.05)
        path = f"/api/poll-task?taskId={order.task}"
        body = visitor.get(path)
    with site.redis.client() as client:
        client.set(ANSWER_KEY, body)
    gathered = Rounds()
    with bare(site, "flask_app") as flask_port, bare(site, "plain_app") as plain_port:
        for _turn in range(rounds):
            own = _hammer(site.port, path, connections, seconds)
            route = _hammer(flask_port, "/", connections, seconds)
            function = _hammer(plain_port, "/", connections, seconds)
            gathered.add(
                own=own["a_second"],
                route=route["a_second"],
                function=function["a_second"],
                share=100 * own["a_second"] / route["a_second"],
                client=own["cores"],
            )
    return [
        gathered.figure("own", "polls of a finished task", "a second", Goal(2800, 7800, more_is_better=True)),
        gathered.figure("share", "of what a bare Flask route does", "%", Goal(WORST_SHARE, more_is_better=True)),
        gathered.figure("route", "a bare Flask route with one Redis GET", "a second"),
        gathered.figure("function", "a bare WSGI function with one Redis GET", "a second"),
        gathered.figure("client", "cores that the client used for the polls", ""),
    ]


@contextmanager
def bare(site: Site, name: str) -> Iterator[int]:
    """One of the bare applications under the gunicorn of the site; gives its port."""
    port = free_port()
    words = [f"bench.bare_routes:{name}" if word == "wsgi:app" else word for word in web_command()]
    program = Program(name, [*words, "--bind", f"{LOOPBACK}:{port}"], site, ANSWER_KEY=ANSWER_KEY)
    with ExitStack() as stack:
        stack.callback(program.stop)
        program.launch()
        if not wait_until(lambda: not port_is_free(port), 30):
            raise SystemExit(f"{name} does not answer. The end of {program.log}:\n{program.tail()}")
        yield port


def _hammer(port: int, path: str, connections: int, seconds: float) -> dict[str, float]:
    words = [sys.executable, Path("bench/hammer.py"), str(port), path, str(connections), str(seconds)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The polls failed: {done.stderr}")
    return json.loads(done.stdout)
