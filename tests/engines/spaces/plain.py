"""A Space with the endpoint's newer form of eight parameters that answers at once with the picture, inverted."""

from common import inverted


def single_condition_generate_image(prompt, spatial_img, height, width, seed, control_type, use_zero_init, zero_steps):
    return inverted(spatial_img, f"{prompt}|{height}|{width}|{seed}|{control_type}|{use_zero_init}|{zero_steps}")
