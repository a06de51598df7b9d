"""A Space that paints one picture at a time, lets nobody wait, and takes itself for another host."""

import os
import time

import gradio as gr
from common import inputs, painted, serve


def slow(prompt, spatial_img, height, width, seed, control_type):
    """Takes as many tenths of a second as the seed says."""
    time.sleep(seed / 10)
    return painted(spatial_img, "", os.environ["SPACE_FOLDER"])


with gr.Blocks() as blocks:
    gr.Button().click(slow, inputs(["Ghibli"], zero=False), gr.Image(), api_name="slow", concurrency_limit=1)
blocks.queue(max_size=1)

if __name__ == "__main__":
    # What a Space behind a proxy is told of its own address; nobody can reach this one.
    serve(blocks, root_path="https://painter.example/elsewhere")
