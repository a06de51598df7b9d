"""A Space that refuses in the words of real ones, and one endpoint that notices when it is told to stop."""

import os
import sys
import time
from pathlib import Path

import gradio as gr

sys.path.append(str(Path(__file__).parents[2] / "engines/spaces"))

from common import inputs, painted, serve
from fastapi import FastAPI, Request, Response

FOLDER = os.environ["SPACE_FOLDER"]
STARTED: list[str] = []
STOPPED: list[str] = []

TOKENS: list[str] = []

app = FastAPI()


@app.middleware("http")
async def refuse_the_revoked(request: Request, call_next) -> Response:
    """The Hub's proxy lets nobody in with a token that it does not know."""
    if "revoked" in request.headers.get("x-hf-authorization", ""):
        return Response("Invalid credentials in Authorization header", 401)
    return await call_next(request)


@app.get("/tokens")
def tokens() -> list[str]:
    """Which tokens painted or tried to, in their order."""
    return TOKENS


@app.get("/calls")
def calls() -> dict[str, list[str]]:
    """Which paintings began and which were stopped before their end, by prompt."""
    return {"started": STARTED, "stopped": STOPPED}


def quota(prompt, spatial_img, height, width, seed, control_type):
    raise gr.Error(
        "You have exceeded your GPU quota (60s requested vs. 0s left). Try again in 3:21:07", print_exception=False
    )


def by_token(prompt, spatial_img, height, width, seed, control_type, request: gr.Request):
    """Has no quota left for a token whose name says that it is spent, nor for nobody; paints for every other."""
    token = request.headers.get("x-hf-authorization", "").removeprefix("Bearer ")
    TOKENS.append(token)
    if "spent" in token or not token:
        raise gr.Error(
            "You have exceeded your free ZeroGPU quota (90s requested vs. 12s left). Try again in 3:21:07. Subscribe",
            print_exception=False,
        )
    return painted(spatial_img, "", FOLDER)


def refusal(prompt, spatial_img, height, width, seed, control_type):
    raise gr.Error("Value 42 is not in the list of choices, said hf_abcdefghijklmnop", print_exception=False)


def busy_once(prompt, spatial_img, height, width, seed, control_type):
    """Has no GPU at the first call with these words, and paints at the second."""
    STARTED.append(prompt)
    if STARTED.count(prompt) == 1:
        raise gr.Error("No GPU was available after 60s. Retry later", print_exception=False)
    return painted(spatial_img, "", FOLDER)


def blank(prompt, spatial_img, height, width, seed, control_type):
    """A file that calls itself a picture and is none."""
    path = Path(FOLDER, "blank.png")
    path.write_text("<!doctype html><title>Busy</title>")
    return str(path)


def patient(prompt, spatial_img, height, width, seed, control_type):
    """Paints for as many tenths of a second as the seed says, and can be stopped on the way."""
    STARTED.append(prompt)
    try:
        for _ in range(int(seed)):
            time.sleep(0.1)
            yield None
    except GeneratorExit:
        STOPPED.append(prompt)
        raise
    yield painted(spatial_img, "", FOLDER)


with gr.Blocks() as blocks:
    for painter in (quota, by_token, refusal, busy_once, blank, patient):
        gr.Button().click(
            painter, inputs(["Ghibli"], zero=False), gr.File(), api_name=painter.__name__, concurrency_limit=8
        )

if __name__ == "__main__":
    serve(blocks, app)
