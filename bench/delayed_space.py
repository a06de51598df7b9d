"""A Gradio server that takes a set time for every call, however many there are: `delayed_space.py PORT FOLDER`.

Run by `bench.site` with the interpreter of space/.venv. The seconds stand in FOLDER/delay and are read at every call;
FOLDER/calls gets a line for each: the prompt's last word, when the call began and when it ended, by the machine's
monotonic clock. The answer is always the same picture of about 73 kB.
"""

import asyncio
import sys
import time
from pathlib import Path

import gradio as gr
from PIL import Image

PORT, FOLDER = int(sys.argv[1]), Path(sys.argv[2])
SCENE = Path(__file__).resolve().parent.parent / "docs/photographs/china.jpg"
SIZE = (1024, 688)
QUALITY = 42

answer = FOLDER / "answer.jpg"
with Image.open(SCENE) as scene:
    scene.convert("RGB").resize(SIZE).save(answer, quality=QUALITY)
calls = (FOLDER / "calls").open("a", buffering=1)


async def paint(prompt, spatial_img, height, width, seed, control_type, use_zero_init, zero_steps):
    """Give the picture after the set time."""
    began = time.monotonic()
    await asyncio.sleep(float((FOLDER / "delay").read_text()))
    calls.write(f"{(prompt.split() or ['-'])[-1]} {began} {time.monotonic()}\n")
    return str(answer)


with gr.Blocks() as blocks:
    inputs = [
        gr.Textbox(),
        gr.Image(type="filepath"),
        gr.Slider(256, 1024, 768, step=16),
        gr.Slider(256, 1024, 768, step=16),
        gr.Number(42),
        gr.Dropdown(["Ghibli"]),
        gr.Checkbox(),
        gr.Number(1),
    ]
    gr.Button().click(
        paint,
        inputs,
        gr.Image(type="filepath"),
        api_name="single_condition_generate_image",
        concurrency_limit=None,
    )

if __name__ == "__main__":
    blocks.launch(server_name="127.0.0.1", server_port=PORT, max_threads=400, quiet=True, allowed_paths=[str(FOLDER)])
