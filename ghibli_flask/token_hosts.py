"""The one rule about where a Hub token may travel. Called by `services.gpu_tokens` and by the `gradio` engine."""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit


def may_carry_token(url: str, token_hosts: Sequence[str]) -> bool:
    """Whether a credential may be sent to this address: a named host, over https or to a loopback address."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if not any(fnmatch.fnmatchcase(host, pattern.strip().lower()) for pattern in token_hosts):
        return False
    return parts.scheme == "https" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
