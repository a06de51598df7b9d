"""Ports for the servers of the tests: `free_port`."""

import itertools
import random

from scripts.processes import port_is_free

# Below 32768 the kernel gives ports to nobody who did not name one, and each test process counts from a place of its
# own: so what is free now is still free when the server has started.
_PORTS = itertools.count(random.randrange(11_000, 30_000))


def free_port() -> int:
    """A loopback port that nobody listens on; each is given once."""
    return next(port for port in _PORTS if port_is_free(port))
