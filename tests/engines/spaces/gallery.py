"""A Space with well-behaved endpoints and, beside them, one for every way in which an endpoint goes wrong."""

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import gradio as gr
from common import error, inputs, painted, serve
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

FOLDER = tempfile.mkdtemp(dir=os.environ["SPACE_FOLDER"])
STARTED: list[str] = []
ENDED: list[str] = []
STEPS: list[str] = []

app = FastAPI()


@app.get("/calls")
def calls() -> dict[str, list[str]]:
    """Which painters began, which came to their end, and each step of a patient one, by prompt."""
    return {"started": STARTED, "ended": ENDED, "steps": STEPS}


@app.middleware("http")
async def send_elsewhere(request: Request, call_next) -> Response:
    """A server that answers for one of its files with the address of another host."""
    if request.url.path.endswith("elsewhere.png"):
        return Response(status_code=302, headers={"location": os.environ["ELSEWHERE"]})
    if request.url.path.endswith("trickle.png"):
        return await trickle()
    return await call_next(request)


async def trickle() -> Response:
    """A picture that never ends, a few bytes at a time."""

    async def drops():
        while True:
            yield b"drop"
            await asyncio.sleep(0.05)

    return StreamingResponse(drops(), media_type="image/png")


def file(name: str, content: bytes) -> str:
    path = Path(FOLDER, name)
    path.write_bytes(content)
    return str(path)


def eight(prompt, spatial_img, height, width, seed, control_type, use_zero_init, zero_steps):
    heard = [prompt, height, width, seed, control_type, use_zero_init, zero_steps]
    return painted(spatial_img, json.dumps(heard), FOLDER)


def six(prompt, spatial_img, height, width, seed, control_type):
    return painted(spatial_img, json.dumps([prompt, height, width, seed, control_type]), FOLDER)


def progress(prompt, spatial_img, height, width, seed, control_type, report=gr.Progress()):  # noqa: B008 - this default is how Gradio is asked for it.
    for step in range(1, 5):
        report(step / 4)
        time.sleep(0.3)
    return painted(spatial_img, "", FOLDER)


def steps(prompt, spatial_img, height, width, seed, control_type, report=gr.Progress()):  # noqa: B008 - this default is how Gradio is asked for it.
    for _ in report.tqdm(range(4)):
        time.sleep(0.3)
    return painted(spatial_img, "", FOLDER)


def slow(prompt, spatial_img, height, width, seed, control_type):
    """Takes as many tenths of a second as the seed says."""
    STARTED.append(prompt)
    time.sleep(seed / 10)
    ENDED.append(prompt)
    return painted(spatial_img, "", FOLDER)


def patient(prompt, spatial_img, height, width, seed, control_type):
    """The same in steps, between which it can be told to stop."""
    STARTED.append(prompt)
    for _ in range(int(seed)):
        time.sleep(0.1)
        STEPS.append(prompt)
        yield None
    yield painted(spatial_img, "", FOLDER)


def one_by_one(prompt, spatial_img, height, width, seed, control_type):
    """The same, one at a time; a function of its own, because Gradio limits by function."""
    return slow(prompt, spatial_img, height, width, seed, control_type)


def refuse(prompt, spatial_img, height, width, seed, control_type):
    """Refuses with the message and the title that the prompt holds."""
    said = json.loads(prompt)
    STARTED.append(prompt)
    raise error(said["message"], said.get("title") or "Error")


def notice(prompt, spatial_img, height, width, seed, control_type):
    gr.Info("Waiting for a GPU to become available")
    time.sleep(0.4)
    gr.Warning("Falling back to IP-based quotas (InvalidRepoToken) hf_secretsecret")
    return painted(spatial_img, "", FOLDER)


def hidden(prompt, spatial_img, height, width, seed, control_type):
    raise RuntimeError("hf_secretsecret in a message that nobody should read")


def text(prompt, spatial_img, height, width, seed, control_type):
    return "no picture at all"


def nothing(prompt, spatial_img, height, width, seed, control_type):
    return None


def html(prompt, spatial_img, height, width, seed, control_type):
    return file("page.html", b"<!doctype html><title>Busy</title>")


def drawing(prompt, spatial_img, height, width, seed, control_type):
    return file("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')


def data(prompt, spatial_img, height, width, seed, control_type):
    return file("data.json", b'{"error": "no picture"}')


def base64(prompt, spatial_img, height, width, seed, control_type):
    return "data:image/png;base64,iVBORw0KGgo="


def very_long(prompt, spatial_img, height, width, seed, control_type):
    return "iVBORw0KGgo=" * 1_000_000


def address(prompt, spatial_img, height, width, seed, control_type):
    """A file at another host, as only a Space that means harm would return it."""
    return {"path": f"{os.environ['ELSEWHERE']}a.png", "url": f"{os.environ['ELSEWHERE']}a.png"}


def several(prompt, spatial_img, height, width, seed, control_type):
    return [(painted(spatial_img, json.dumps([prompt]), FOLDER), "a caption"), painted(spatial_img, "", FOLDER)]


def huge(prompt, spatial_img, height, width, seed, control_type):
    return file("huge.png", b"\x89PNG\r\n\x1a\n" + bytes(40 * 1024 * 1024))


def elsewhere(prompt, spatial_img, height, width, seed, control_type):
    return file("elsewhere.png", b"x")


def endless(prompt, spatial_img, height, width, seed, control_type):
    return file("trickle.png", b"x")


def demanding(prompt, spatial_img, height, width, seed, control_type, strength):
    return painted(spatial_img, "", FOLDER)


with gr.Blocks() as blocks:
    if "--rebuilt" in sys.argv:
        # Other functions came first, so every later one has another number than before.
        for number in range(40):
            gr.Button().click(lambda: "another function", None, gr.Textbox(), api_name=f"new{number}")
    for painter in (six, progress, steps, slow, patient, refuse, notice, hidden):
        gr.Button().click(
            painter, inputs(["Ghibli"], zero=False), gr.Image(), api_name=painter.__name__, concurrency_limit=8
        )
    gr.Button().click(eight, inputs(["Ghibli", "night"], zero=True), gr.Image(), api_name="eight")
    gr.Button().click(
        one_by_one, inputs(["Ghibli"], zero=False), gr.Image(), api_name="one_by_one", concurrency_limit=1
    )
    for painter in (html, drawing, data, huge, elsewhere, endless):
        gr.Button().click(painter, inputs(["Ghibli"], zero=False), gr.File(), api_name=painter.__name__)
    for painter in (text, base64, very_long):
        gr.Button().click(painter, inputs(["Ghibli"], zero=False), gr.Textbox(), api_name=painter.__name__)
    gr.Button().click(address, inputs(["Ghibli"], zero=False), gr.JSON(), api_name="address")
    gr.Button().click(several, inputs(["Ghibli"], zero=False), gr.Gallery(), api_name="several")
    gr.Button().click(nothing, inputs(["Ghibli"], zero=False), gr.Image(), api_name="nothing")
    gr.Button().click(demanding, [*inputs(["Ghibli"], zero=False), gr.Textbox()], gr.Image(), api_name="demanding")

if __name__ == "__main__":
    serve(blocks, app)
