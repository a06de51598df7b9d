"""A Gradio Space that many machines share: it paints as slowly as a file says, and notes each call's token and times.

Started as `space.py HOST PORT FOLDER`: FOLDER/delay holds the seconds, FOLDER/calls.jsonl gets a line for each call.
"""

import json
import sys
import threading
import time
from pathlib import Path

import gradio as gr
from PIL import Image, ImageOps

HOST, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
_lock = threading.Lock()


def paint(prompt, spatial_img, height, width, seed, control_type, request: gr.Request):
    """One painting."""
    began_at = time.time()
    time.sleep(float((FOLDER / "delay").read_text()))
    token = request.headers.get("x-hf-authorization", "").removeprefix("Bearer ")
    line = json.dumps({"token": token, "began": began_at, "ended": time.time()})
    with _lock, (FOLDER / "calls.jsonl").open("a") as calls:
        calls.write(f"{line}\n")
    painted = ImageOps.invert(spatial_img.convert("RGB"))
    # Gradio names a file after its content, and two calls that wrote the same one at once would read half of it.
    painted.paste(Image.effect_noise((64, 64), 50), (0, 0))
    return painted


with gr.Blocks() as blocks:
    gr.Button().click(
        paint,
        [
            gr.Textbox(),
            gr.Image(type="pil"),
            gr.Slider(256, 1024, 768),
            gr.Slider(256, 1024, 768),
            gr.Number(42),
            gr.Textbox("Ghibli"),
        ],
        gr.Image(),
        api_name="single_condition_generate_image",
        concurrency_limit=None,
    )

if __name__ == "__main__":
    blocks.launch(server_name=HOST, server_port=PORT, max_threads=200, show_error=True, quiet=True)
