"""What the Spaces of these tests share: the endpoint's inputs, a visible trace of the call, and serving.

They run on Gradio 4, 5 and 6.
"""

import inspect
import sys
import uuid

import gradio as gr
import uvicorn
from fastapi import FastAPI
from PIL import Image, ImageOps, PngImagePlugin


def inputs(looks: list[str], *, zero: bool) -> list[gr.components.Component]:
    """The endpoint's parameters, in the form of six or of eight."""
    six = [
        gr.Textbox(),
        gr.Image(type="pil"),
        gr.Slider(256, 1024, 768, step=64),
        gr.Slider(256, 1024, 768, step=64),
        gr.Number(42),
        gr.Dropdown(looks),
    ]
    return [*six, gr.Checkbox(False), gr.Number(1)] if zero else six


def painted(picture: Image.Image, said: str, folder: str) -> str:
    """A file with the picture inverted and what the endpoint was told in its text."""
    info = PngImagePlugin.PngInfo()
    info.add_text("said", said)
    path = f"{folder}/painted-{uuid.uuid4().hex}.png"
    ImageOps.invert(picture.convert("RGB")).save(path, pnginfo=info)
    return path


def error(message: str, title: str) -> gr.Error:
    """An error for the caller; Gradio 4 knows no titles."""
    if gr.__version__.startswith("4."):
        return gr.Error(message)
    return gr.Error(message, title=title, print_exception=False)


def serve(blocks: gr.Blocks, app: FastAPI | None = None, path: str = "/", **mounting: object) -> None:
    """Serve on the loopback port that is named on the command line, until killed."""
    mounting = {"allowed_paths": ["/"], "show_error": False, **mounting}
    if "allowed_paths" not in inspect.signature(gr.mount_gradio_app).parameters:
        # Early releases of Gradio 4 are told the same only by what `launch` would have left on the object.
        vars(blocks).update(mounting)
        mounting = {}
    mounted = gr.mount_gradio_app(app or FastAPI(), blocks, path=path, **mounting)
    uvicorn.run(mounted, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
