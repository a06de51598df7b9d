"""A Space behind a server that misbehaves: any of its routes goes wrong in the way that was asked for last.

It lies under a path, as Spaces that share a host do.
"""

import asyncio
import gzip
import json
import os

import gradio as gr
from common import inputs, painted, serve
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

HTML = "<!doctype html><title>Your space is building</title>"
FIRST_EVENT = b'data: {"msg": "estimation", "rank": 0, "queue_size": 1, "rank_eta": 1.0}\n\n'
STOPPED = b'data: {"msg": "unexpected_error", "message": "Server stopped unexpectedly.", "success": false}\n\n'

TROUBLE: dict[str, str] = {}
SEEN: list[str] = []

app = FastAPI()


@app.post("/trouble")
async def trouble(request: Request) -> None:
    """From now on go wrong like this: the end of a path, and a status or the name of a way below."""
    TROUBLE.clear()
    SEEN.clear()
    TROUBLE.update(await request.json())


@app.get("/seen")
def seen() -> list[str]:
    """The paths that were asked for since the last trouble."""
    return SEEN


async def events(*, then: str):
    """An event stream that ends badly."""
    if then != "silent from the start":
        yield FIRST_EVENT
    match then:
        case "silent" | "silent from the start":
            await asyncio.sleep(3600)
        case "cut":
            raise ConnectionError("The connection is cut here.")
        case "stopped":
            yield STOPPED
        case "nonsense":
            yield b"data: {nonsense\n\n"
        case "flood":
            for _ in range(100):
                yield b"x" * 100_000


@app.middleware("http")
async def misbehave(request: Request, call_next) -> Response:
    """Answer in the wrong way where that was asked for."""
    SEEN.append(request.url.path)
    how = next((how for path, how in TROUBLE.items() if request.url.path.endswith(path)), None)
    if how is None:
        return await call_next(request)
    if how == "hang":
        await asyncio.sleep(3600)
    if how == "elsewhere":
        return Response(status_code=307, headers={"location": os.environ["ELSEWHERE"]})
    if how == "not json":
        return Response(HTML, media_type="text/html")
    if how == "packed":
        return Response(gzip.compress(b"{}"), headers={"content-encoding": "gzip"}, media_type="application/json")
    if how == "gradio 3":
        return JSONResponse({"version": "3.50.2", "components": [], "dependencies": []})
    if how.isdigit():
        return Response(HTML, int(how), {"retry-after": "7"} if how in {"429", "503"} else None, "text/html")
    return StreamingResponse(events(then=how), media_type="text/event-stream")


def paint(prompt, spatial_img, height, width, seed, control_type):
    return painted(spatial_img, json.dumps([prompt]), os.environ["SPACE_FOLDER"])


with gr.Blocks() as blocks:
    gr.Button().click(paint, inputs(["Ghibli"], zero=False), gr.Image(), api_name="six")

if __name__ == "__main__":
    serve(blocks, app, "/studio/art")
