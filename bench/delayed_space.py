"""A Gradio server that takes a set time for every call, however many there are: `delayed_space.py PORT SECONDS`.

Run by `worker_concurrency.py` with the interpreter of space/.venv.
"""

import asyncio
import sys

import gradio as gr

PORT, SECONDS = int(sys.argv[1]), float(sys.argv[2])


async def paint(prompt, spatial_img, height, width, seed, control_type):
    """Give the picture back after the set time."""
    await asyncio.sleep(SECONDS)
    return spatial_img


with gr.Blocks() as blocks:
    inputs = [
        gr.Textbox(),
        gr.Image(type="filepath"),
        gr.Slider(256, 1024, 768, step=16),
        gr.Slider(256, 1024, 768, step=16),
        gr.Number(42),
        gr.Dropdown(["Ghibli"]),
    ]
    gr.Button().click(paint, inputs, gr.Image(type="filepath"), api_name="paint", concurrency_limit=None)

if __name__ == "__main__":
    blocks.launch(server_name="127.0.0.1", server_port=PORT, max_threads=400, quiet=True)
