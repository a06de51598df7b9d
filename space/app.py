"""A Gradio Space that paints photographs without a model; run by Hugging Face, by the process manager or by hand.

It offers one endpoint, `/single_condition_generate_image`, with the parameters of the EasyControl Ghibli
Space, so that a caller reaches either of them with the same request. The picture is painted by classical
image processing on the processor (package `painter`): no model, no weights, nothing leaves this machine.

The address comes from GRADIO_SERVER_NAME and GRADIO_SERVER_PORT (127.0.0.1:7860 when they are not set). Temporary
files live in a private folder below GRADIO_TEMP_DIR (or the system's) that is removed when the Space stops.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import environment  # Before Gradio and the painter: they read it while they are imported.
import gradio as gr
import numpy as np
from painter.paint import LOOK_NAMES, paint
from painter.photo import cover_crop, to_srgb
from PIL import Image

SMALLEST_SIDE, LARGEST_SIDE = 256, 1024
"""Pixels: the range of the two size sliders."""
SMALLEST_PHOTO = 16
"""Pixels: photographs with a shorter side are refused."""
MOST_PIXELS = 64_000_000
"""Photographs with more pixels are refused before they are decoded (a decompression bomb costs memory)."""
WEBP_QUALITY = 92
SECONDS_TO_STOP = 1
"""How long open connections may take to end when the Space stops."""
DEFAULT_PROMPT = "Ghibli Studio style, Charming hand-drawn anime-style illustration"
STYLES = {"Ghibli": "meadow", "golden": "golden", "night": "night", "watercolour": "watercolour"}
"""`control_type` as callers know it, and the painter's name for the look."""


class Easel:
    """The one place to paint at: one render at a time, with every core.

    Numba's threads must not be entered by two Python threads at once, and two renders side by side
    would only make both late.
    """

    def __init__(self) -> None:
        self._free = threading.Lock()
        self.warm = False

    def warm_up(self) -> None:
        """Paint small pictures in every look, so that Numba compiles (or loads) everything before it is needed."""
        with self._free:
            sample = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
            for look in LOOK_NAMES:
                paint(sample, look, 0)
            self.warm = True

    def paint(self, rgb: np.ndarray, look: str, seed: int, progress: gr.Progress) -> np.ndarray:
        """Wait for the easel, then paint; `progress` receives true stages."""
        if not self.warm:
            progress(0, desc="Mixing the paints (first start only)")
        with self._free:
            return paint(rgb, look, seed, lambda share, stage: progress(share, desc=stage))


easel = Easel()


def refused(sentence: str) -> gr.Error:
    """An error whose sentence is meant for the caller; it is no fault, so the log gets no traceback."""
    return gr.Error(sentence, print_exception=False)


@contextmanager
def reading_a_picture() -> Iterator[None]:
    """Turns whatever Pillow raises over a file that is no picture, or half of one, into a sentence."""
    try:
        yield
    except gr.Error:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise refused("This file is not a picture that can be read.") from error


def with_clear_errors(photo: gr.Image) -> gr.Image:
    """The same input, which refuses a file that cannot be opened with a sentence instead of an internal error.

    The method is replaced on this one object: Gradio takes a subclass for a custom component with its own front end.
    """
    preprocess = photo.preprocess

    def preprocess_clearly(payload: object) -> object:
        with reading_a_picture():
            return preprocess(payload)

    photo.preprocess = preprocess_clearly
    return photo


def open_photo(path: str | None) -> Image.Image:
    """The uploaded photograph as an upright sRGB picture without transparency.

    Raises gr.Error with a sentence for people when there is no picture, or when it cannot be used.
    """
    if path is None:
        raise refused("There is no picture. Please choose a photograph first.")
    with reading_a_picture(), Image.open(path) as photo:
        if photo.width * photo.height > MOST_PIXELS:
            raise refused(f"The picture is too large: at most {MOST_PIXELS // 1_000_000} megapixels, please.")
        if min(photo.size) < SMALLEST_PHOTO:
            raise refused(f"The picture is too small: each side needs at least {SMALLEST_PHOTO} pixels.")
        return to_srgb(photo)


def whole_number(value: float | None, name: str) -> int:
    """The value as an integer; gr.Error when it is missing or not whole."""
    if value is None or not np.isfinite(value) or value != int(value):
        raise refused(f"The {name} must be a whole number.")
    return int(value)


def single_condition_generate_image(
    prompt: str,
    spatial_img: str | None,
    height: int,
    width: int,
    seed: float,
    control_type: str,
    use_zero_init: bool = False,
    zero_steps: int = 1,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 - this default is how Gradio hands the tracker over.
) -> str:
    """Paint the photograph `spatial_img` in the look `control_type`, exactly `width` x `height` pixels.

    A photograph of another shape is cropped around its centre, never stretched. `prompt`, `use_zero_init` and
    `zero_steps` steer the diffusion Space; this painter accepts them and has no use for them.
    """
    look = STYLES.get(control_type)
    if look is None:
        raise refused(f"The style must be one of: {', '.join(STYLES)}.")
    size = whole_number(width, "width"), whole_number(height, "height")
    strokes = whole_number(seed, "seed")
    photo = cover_crop(open_photo(spatial_img), *size)
    painted = easel.paint(np.asarray(photo), look, strokes, progress)
    target = environment.TEMPORARY / uuid.uuid4().hex / "painted.webp"
    target.parent.mkdir()
    Image.fromarray(painted).save(target, quality=WEBP_QUALITY, method=2)
    return str(target)


def size_for(path: str | None) -> tuple[int, int]:
    """Height and width that keep the photograph's own shape, for the person who uses this page."""
    photo = open_photo(path)
    scale = LARGEST_SIDE / max(photo.size)
    width, height = (round(side * scale / 16) * 16 for side in photo.size)
    return max(height, SMALLEST_SIDE), max(width, SMALLEST_SIDE)


ABOUT = """# A painter without a model
Give it a photograph and it paints it in about a second, with brush strokes, a repainted sky and a painter's
colours. It is classical image processing, not artificial intelligence: it cannot invent anything, so a
close-up face becomes a painted portrait, not an animated character. Landscapes, towns and gardens suit it best."""


def build() -> gr.Blocks:
    """The page and its endpoint."""
    with gr.Blocks(title="A painter without a model", delete_cache=(600, 3600), analytics_enabled=False) as page:
        gr.Markdown(ABOUT)
        with gr.Row():
            with gr.Column():
                spatial_img = with_clear_errors(
                    gr.Image(type="filepath", image_mode=None, label="Photograph", sources=["upload", "clipboard"])
                )
                control_type = gr.Dropdown(list(STYLES), value="Ghibli", label="Style")
                height = gr.Slider(SMALLEST_SIDE, LARGEST_SIDE, value=768, step=16, label="Height")
                width = gr.Slider(SMALLEST_SIDE, LARGEST_SIDE, value=768, step=16, label="Width")
                seed = gr.Number(value=42, label="Seed", info="The same number places the same brush strokes.")
                prompt = gr.Textbox(value=DEFAULT_PROMPT, label="Prompt", visible=False)
                use_zero_init = gr.Checkbox(value=False, label="Use zero init", visible=False)
                zero_steps = gr.Number(value=1, label="Zero init steps", visible=False)
                button = gr.Button("Paint it", variant="primary")
            painted = gr.Image(format="webp", label="Painting", interactive=False)
        spatial_img.upload(size_for, spatial_img, [height, width], api_visibility="private", queue=False)
        button.click(
            single_condition_generate_image,
            [prompt, spatial_img, height, width, seed, control_type, use_zero_init, zero_steps],
            painted,
            api_name="single_condition_generate_image",
            concurrency_limit=1,
        )
    return page


def main() -> None:
    """Serve until SIGTERM or SIGINT, then stop and leave nothing behind."""
    page = build()
    threading.Thread(target=easel.warm_up, name="warm-up", daemon=True).start()
    try:
        page.launch(
            server_name=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
            server_port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
            theme=gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
            prevent_thread_lock=True,
            show_error=True,
            ssr_mode=False,
        )
        threading.Event().wait()
    except (KeyboardInterrupt, SystemExit):
        if page.is_running:
            page.server.config.timeout_graceful_shutdown = SECONDS_TO_STOP
            page.close()
        environment.remove_temporary_files()
        sys.stdout.flush()
        # A render that still runs cannot be interrupted, and taking Gradio and Numba apart would take seconds.
        os._exit(0)


if __name__ == "__main__":
    main()
