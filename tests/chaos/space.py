"""A Gradio Space that paints by turning the colours round, after as many seconds as DELAY_S says."""

import os
import sys
import time

import gradio as gr
from PIL import ImageOps


def paint(prompt, spatial_img, height, width, seed, control_type):
    """One painting."""
    time.sleep(float(os.environ["DELAY_S"]))
    return ImageOps.invert(spatial_img.convert("RGB"))


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
    blocks.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), max_threads=200, show_error=True, quiet=True)
