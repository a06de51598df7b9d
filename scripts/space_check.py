"""Whether a Space really paints: used while the bundled Space warms up, by `make run` and by the test bed.

It speaks Gradio's HTTP interface itself, because importing gradio_client costs more than the question.
"""

import io

import requests
from PIL import Image

API_NAME = "single_condition_generate_image"
LOOK = "Ghibli"


def space_answers(address: str) -> bool:
    """Whether the Space describes its endpoints, which it does long before its first painting."""
    try:
        with _session() as session:
            return session.get(f"{address}/gradio_api/info", timeout=5).ok
    except requests.RequestException:
        return False


def space_paints(address: str, seconds: float) -> bool:
    """Have the Space paint a small grey picture and say whether it did so in time.

    A Space that compiles its code at the first start answers only after it has finished.
    """
    try:
        with _session() as session:
            return _paint(session, address, seconds)
    except (requests.RequestException, ValueError, KeyError):
        return False


def _paint(session: requests.Session, address: str, seconds: float) -> bool:
    upload = session.post(f"{address}/gradio_api/upload", files={"files": ("grey.png", _picture())}, timeout=10)
    upload.raise_for_status()
    photo = {"path": upload.json()[0], "meta": {"_type": "gradio.FileData"}}
    order = session.post(
        f"{address}/gradio_api/call/{API_NAME}",
        json={"data": ["", photo, 256, 256, 1, LOOK, False, 1]},
        timeout=10,
    )
    order.raise_for_status()
    events = f"{address}/gradio_api/call/{API_NAME}/{order.json()['event_id']}"
    # The timeout counts from one byte to the next; the Space sends a sign of life every 15 s or so.
    with session.get(events, stream=True, timeout=seconds) as stream:
        for line in stream.iter_lines():
            if line in {b"event: complete", b"event: error"}:
                return bool(line == b"event: complete")
    return False


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # A proxy could not reach a loopback address.
    return session


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(buffer, "PNG")
    return buffer.getvalue()
