"""Whether HTTP_PROXY and HTTPS_PROXY carry what they have to. Called by `check_engines`.

`create_app` has put them where requests looks, so what is asked here takes the way of every other call.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import requests

from ghibli_flask.proxies import proxy_for, proxy_trouble
from ghibli_flask.settings import Settings
from scripts.findings import Finding, Timer

CONNECT_S, ANSWER_S = 5.0, 10.0
GATEWAY_TROUBLE = frozenset({502, 504})
DEFAULT_PORTS = {"http": 80, "https": 443}


def check_proxies(settings: Settings) -> list[Finding]:
    """Ask one address through each proxy that something goes through; one that carries nothing is only knocked at."""
    asked: dict[tuple[str, str], str] = {}
    for url in called_addresses(settings):
        if proxy := proxy_for(url):
            asked.setdefault((proxy, urlsplit(url).scheme), url)
    findings = [_through(proxy, url) for (proxy, _scheme), url in asked.items()]
    in_use = {proxy for proxy, _scheme in asked}
    for url in dict.fromkeys(url for url in (settings.http_proxy, settings.https_proxy) if url):
        name = _plain(url)
        if name not in in_use:
            findings.append(_knock(name))
    return findings


def called_addresses(settings: Settings) -> list[str]:
    """Every address over HTTP that these settings have us call."""
    addresses = [settings.gradio_url, settings.processor_url, settings.r2_address, settings.alert_webhook_url]
    if settings.hugging_face_tokens:
        addresses.append(settings.hf_endpoint)
    if settings.kie_ai_api_key:
        addresses += [settings.kie_base_url, settings.kie_upload_url]
    if settings.openai_api_key:
        addresses.append(settings.openai_base_url)
    if settings.imgbb_api_key:
        addresses.append(settings.imgbb_url)
    if settings.google_is_configured:
        addresses.append(settings.google_metadata_url)
    return [address for address in addresses if address]


def _through(proxy: str, url: str) -> Finding:
    """Ask the root of this address, without any credential, through its proxy."""
    parts, timer = urlsplit(url), Timer()
    host = parts.hostname or ""
    root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    trouble: str | None = None
    try:
        # Without an auth of its own a request would be given what ~/.netrc holds for the host.
        with requests.get(
            root, auth=lambda asked: asked, timeout=(CONNECT_S, ANSWER_S), allow_redirects=False, stream=True
        ) as answer:
            if answer.status_code == requests.codes.proxy_authentication_required:
                answer.raise_for_status()
            if answer.status_code in GATEWAY_TROUBLE and parts.scheme == "http":
                trouble = f"it answers {answer.status_code} and may not reach that host"
    except requests.exceptions.SSLError as error:
        # The tunnel stands, and what is wrong at its other end is the host's matter; but the proxy may speak TLS too.
        trouble = proxy_trouble(error)
    except requests.RequestException as error:
        trouble = proxy_trouble(error) or f"no answer comes back, {type(error).__name__}"
    if trouble is None:
        return Finding("proxy", proxy, True, f"carries calls to {host}", timer.seconds)
    fix = "Mend the proxy, take it out of the two settings, or name the host in NO_PROXY."
    return Finding("proxy", proxy, False, f"does not carry calls to {host}: {trouble}", timer.seconds, fix)


def _knock(proxy: str) -> Finding:
    parts, timer = urlsplit(proxy), Timer()
    try:
        socket.create_connection((parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]), CONNECT_S).close()
    except OSError as error:
        text = f"does not answer: {error.strerror or type(error).__name__}"
        return Finding("proxy", proxy, False, text, timer.seconds, "Check HTTP_PROXY and HTTPS_PROXY.")
    return Finding("proxy", proxy, True, "answers; nothing that is configured goes through it", timer.seconds)


def _plain(proxy_url: str) -> str:
    """Scheme, host and port, as `proxy_for` names them."""
    parts = urlsplit(proxy_url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
