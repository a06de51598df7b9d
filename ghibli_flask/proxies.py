"""The outgoing proxy: handed to every library in one place, and named in the log when it does not work.

`create_app()` calls `install_proxies`, so every process of ours has it; engines and stores ask `proxy_trouble` about
their errors. The libraries that call out (requests and Authlib on it, httpx and gradio_client on it, obstore) read
the three variables from the environment themselves, each in its own spelling. smtplib knows no proxies: mail is
sent directly.
"""

from __future__ import annotations

import os
import ssl
from urllib.parse import urlsplit

import httpx
import requests
from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy
from urllib3.util import make_headers

from ghibli_flask.settings import Settings

LOOPBACK = "127.0.0.1,localhost,::1"
"""What is not sent through the proxy when NO_PROXY is not set: a proxy could not reach this machine's Space."""


def install_proxies(settings: Settings) -> None:
    """Put HTTP_PROXY, HTTPS_PROXY and NO_PROXY where every library looks, wherever the operator wrote them."""
    if not (settings.http_proxy or settings.https_proxy):
        return
    chosen = {
        "HTTP_PROXY": settings.http_proxy,
        "HTTPS_PROXY": settings.https_proxy,
        "NO_PROXY": settings.no_proxy or LOOPBACK,
    }
    for name, value in chosen.items():
        if value:
            # Some libraries know one spelling only, and those that know both prefer different ones.
            os.environ.update({name: value, name.lower(): value})


def proxy_trouble(error: BaseException) -> str | None:
    """One line for the operator when this error of requests or httpx is the proxy's, else None.

    The proxy is named by its host and port, never with its password.
    """
    match error:
        case requests.HTTPError() | httpx.HTTPStatusError() if error.response is not None:
            asks_for_password = error.response.status_code == httpx.codes.PROXY_AUTHENTICATION_REQUIRED
            reason = "407 Proxy Authentication Required" if asks_for_password else None
        case requests.exceptions.ProxyError() | httpx.ProxyError():
            reason = _reason(error)
        case httpx.ConnectError() | httpx.ConnectTimeout() if not _is_about_certificates(error):
            # httpx says the same of a proxy that is away and of a host that is: the environment knows which it was.
            reason = _reason(error)
        case _:
            return None
    proxy = proxy_for(_url_of(error)) if reason else None
    return (
        f"The proxy {proxy} does not answer as it should: {reason}. Check HTTP_PROXY and HTTPS_PROXY."
        if proxy
        else None
    )


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for this address, as scheme, host and port; None for a direct call."""
    chosen = _chosen_for(url)
    if not chosen:
        return None
    parts = urlsplit(chosen if "://" in chosen else f"http://{chosen}")
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def proxy_headers_for(url: str) -> dict[str, str]:
    """What tells the proxy for this address who we are, for libraries that leave its name and password out."""
    name, password = get_auth_from_url(_chosen_for(url) or "")
    return make_headers(proxy_basic_auth=f"{name}:{password}") if name else {}


def _chosen_for(url: str) -> str | None:
    chosen: str | None = select_proxy(url, get_environ_proxies(url))
    return chosen


def _url_of(error: requests.RequestException | httpx.HTTPError) -> str:
    try:
        return str(error.request.url) if error.request is not None else ""
    except RuntimeError:  # httpx' way to say that an error knows no request.
        return ""


def _reason(error: BaseException) -> str:
    """What the innermost exception says: requests and urllib3 wrap it several times."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return f"{type(error).__name__}: {error}"


def _is_about_certificates(error: BaseException | None) -> bool:
    while error:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
