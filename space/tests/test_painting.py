"""The paintings themselves: what must be true of them, with tolerances, because processors differ in the last bits."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from painter.colour import from_oklab, to_oklab
from painter.paint import LOOK_NAMES, paint
from painter.planes import luma
from painter.skin import skin_mask
from painter.sky import find_sky
from painter.tone import open_shadows

SKIN_TONES = ("f3e7db", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a")
"""Seven steps of the Monk skin tone scale, from light to dark."""

NOBODY = np.zeros((8, 8), np.float32)
"""A skin mask of a picture without people."""


def as_float(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float32) / 255


def lab_mean(rgb: np.ndarray) -> np.ndarray:
    """Mean OKLab colour of a uint8 picture."""
    return to_oklab(as_float(rgb)).reshape(-1, 3).mean(axis=0)


def hue(lab: np.ndarray) -> float:
    return float(np.degrees(np.arctan2(lab[2], lab[1])) % 360)


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of two lumas (Wang et al. 2004), 1 for equal pictures."""
    x, y = (luma(as_float(picture)) for picture in (one, other))

    def mean(plane: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(plane, (0, 0), 1.5)

    mx, my = mean(x), mean(y)
    vx, vy, covariance = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    index = (2 * mx * my + 1e-4) * (2 * covariance + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    return float(index.mean())


@pytest.mark.parametrize("look", LOOK_NAMES)
def test_every_look_paints_a_landscape(photograph, look):
    """A painting has the photograph's size, still shows the same things, and is clearly not the photograph."""
    photo = photograph("china.jpg")
    painting = paint(photo, look, 1)
    assert painting.shape == photo.shape
    assert painting.dtype == np.uint8
    correlation = np.corrcoef(luma(as_float(photo)).ravel(), luma(as_float(painting)).ravel())[0, 1]
    assert correlation > 0.5
    assert similarity(photo, painting) < 0.75


def test_leaves_become_brush_strokes(photograph):
    """In foliage the photograph's pixel-sized noise gives way to patches: less of it remains in the painting."""
    photo = photograph("china.jpg")
    painting = paint(photo, "meadow", 1)

    def noise(rgb: np.ndarray) -> float:
        light = luma(as_float(rgb[560:, 560:900]))
        return float(np.abs(light - cv2.medianBlur(light, 5)).mean() / light.std())

    assert noise(painting) < 0.6 * noise(photo)


def test_the_looks_differ_as_their_names_say(photograph):
    """Golden is warmer than the meadow, night is darker and bluer, watercolour leaves white paper around."""
    photo = photograph("china.jpg", 640)
    paintings = {look: paint(photo, look, 1) for look in LOOK_NAMES}
    means = {look: lab_mean(painting) for look, painting in paintings.items()}
    assert means["golden"][2] > means["meadow"][2] + 0.02
    assert means["night"][0] < means["meadow"][0] - 0.20
    assert means["night"][2] < means["meadow"][2] - 0.02
    assert paintings["watercolour"][:3].mean() > 235


def test_a_blue_sky_is_found_and_repainted(photograph):
    """The sky over the pagoda is found where it is, not on the trees, and its top becomes a deeper blue."""
    photo = photograph("china.jpg")
    mask = find_sky(open_shadows(as_float(photo)), NOBODY).mask
    assert mask[:40, :200].mean() > 0.95
    assert mask[620:].mean() < 0.02
    corner = np.s_[:60, :120]
    before, after = lab_mean(photo[corner]), lab_mean(paint(photo, "meadow", 1)[corner])
    assert after[2] < before[2] - 0.03
    assert 225 < hue(after) < 265


def test_a_studio_wall_is_no_sky(photograph):
    """Behind a portrait there is a pale wall; nothing of it is taken for sky."""
    photo = open_shadows(as_float(photograph("astronaut.png", 1000)))
    assert find_sky(photo, skin_mask(photo)).mask.max() == 0


def test_a_black_and_white_photograph_keeps_its_sky(photograph):
    """A photograph without colour gets no blue sky."""
    photo = cv2.cvtColor(cv2.cvtColor(photograph("china.jpg"), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    assert not find_sky(as_float(photo), NOBODY).exists


@pytest.mark.parametrize("look", ["meadow", "golden", "watercolour"])
def test_a_face_stays_recognisable(photograph, look):
    """Eyes, mouth and outline of a face survive the brush."""
    photo = photograph("astronaut.png", 1000)
    face = np.s_[150:380, 360:540]
    assert similarity(photo[face], paint(photo, look, 1)[face]) > 0.62


@pytest.mark.parametrize("look", ["meadow", "golden", "watercolour"])
def test_hair_does_not_turn_green(photograph, look):
    """Blond hair keeps a warm hue though it lies near the greens that are repainted."""
    hair = paint(photograph("astronaut.png", 1000), look, 1)[60:110, 400:520]
    assert hue(lab_mean(hair)) < 95


def test_black_stays_calm(photograph):
    """A black area does not sparkle with dabs."""
    black = paint(photograph("astronaut.png", 1000), "meadow", 1)[580:640, 860:980]
    assert as_float(black).std(axis=(0, 1)).max() < 0.015


@pytest.mark.parametrize("look", ["meadow", "golden", "watercolour"])
def test_skin_keeps_its_tone(look):
    """Light and dark skin come out about as light as they are, in the same order, and never grey, green or blue."""
    tones = [np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.uint8) for code in SKIN_TONES]
    photo = np.full((640, 1120, 3), (96, 104, 118), np.uint8)
    for index, tone in enumerate(tones):
        cv2.ellipse(photo, (80 + 160 * index, 320), (66, 210), 0, 0, 360, tone.tolist(), -1)
    painting = paint(photo, look, 1)
    before, after = (
        [lab_mean(picture[250:390, 50 + 160 * index : 110 + 160 * index]) for index in range(len(tones))]
        for picture in (photo, painting)
    )
    lightness = [lab[0] for lab in after]
    assert lightness == sorted(lightness, reverse=True)
    assert max(abs(a[0] - b[0]) for a, b in zip(after, before, strict=True)) < 0.09
    assert all(10 < hue(lab) < 100 for lab in after)


def test_a_darkened_portrait_keeps_its_tone(photograph):
    """A brown face, made by darkening a light one in OKLab, is not painted lighter than it is."""
    lab = to_oklab(as_float(photograph("astronaut.png", 1000)))
    lab[..., 0] *= 0.62
    brown = (np.clip(from_oklab(lab), 0, 1) * 255).astype(np.uint8)
    cheek = np.s_[250:330, 390:500]
    assert abs(lab_mean(paint(brown, "meadow", 1)[cheek])[0] - lab_mean(brown[cheek])[0]) < 0.06


def test_the_seed_decides_the_strokes(photograph):
    """The same seed paints the same picture twice, bit by bit; another seed sets other strokes."""
    photo = photograph("flower.jpg", 512)
    first, again, other = paint(photo, "meadow", 5), paint(photo, "meadow", 5), paint(photo, "meadow", 6)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", [0, -1, 2**31, 2**63])
def test_every_whole_seed_is_accepted(photograph, seed):
    """A negative or a huge seed paints as well as any other."""
    assert paint(photograph("flower.jpg", 64), "night", seed).any()


NOISE = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
GREY = np.dstack([np.tile(np.linspace(0, 255, 400).astype(np.uint8), (300, 1))] * 3)


@pytest.mark.parametrize("look", LOOK_NAMES)
@pytest.mark.parametrize(
    "photo",
    [
        pytest.param(np.zeros((200, 300, 3), np.uint8), id="black"),
        pytest.param(np.full((200, 300, 3), 255, np.uint8), id="white"),
        pytest.param(np.full((200, 300, 3), (200, 30, 40), np.uint8), id="red"),
        pytest.param(NOISE, id="noise"),
        pytest.param(GREY, id="grey"),
        pytest.param(np.ascontiguousarray(np.resize(NOISE, (40, 1500, 3))), id="strip"),
        pytest.param(np.ascontiguousarray(np.resize(NOISE, (1500, 40, 3))), id="tall-strip"),
        pytest.param(np.ascontiguousarray(NOISE[:16, :16]), id="smallest"),
    ],
)
def test_odd_pictures_are_painted(photo, look):
    """Whatever the picture, there is a painting of its size; one plain colour stays plain."""
    painting = paint(photo, look, 1)
    assert painting.shape == photo.shape
    if photo.std(axis=(0, 1)).max() == 0 and look != "watercolour":
        assert painting.std(axis=(0, 1)).max() < 9


@pytest.mark.parametrize(
    ("photo", "look"),
    [
        pytest.param(np.zeros((15, 400, 3), np.uint8), "meadow", id="too-small"),
        pytest.param(np.zeros((64, 64), np.uint8), "meadow", id="no-colours"),
        pytest.param(np.zeros((64, 64, 3), np.float32), "meadow", id="wrong-type"),
        pytest.param(np.zeros((64, 64, 3), np.uint8), "cubist", id="unknown-look"),
    ],
)
def test_what_is_no_photograph_is_refused(photo, look):
    """Input that cannot be painted raises ValueError instead of giving a strange picture."""
    with pytest.raises(ValueError, match=r"photograph|look"):
        paint(photo, look, 1)


def test_a_large_photograph_is_painted_small_and_enlarged(photograph):
    """Two megapixels come back as two megapixels, and cost hardly more than one."""
    photo = photograph("china.jpg", 1740)
    assert paint(photo, "meadow", 1).shape == photo.shape


def test_progress_is_told_in_order(photograph):
    """The stages come with a growing share that ends at 1, and each has a name."""
    told: list[tuple[float, str]] = []
    paint(photograph("china.jpg", 320), "golden", 1, lambda share, stage: told.append((share, stage)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len({stage for _, stage in told}) == len(told) >= 8


def test_one_megapixel_stays_in_its_budget(photograph):
    """One megapixel takes about one second of processor time; three leave room for slower machines."""
    photo = photograph("china.jpg", 1224)
    times = []
    for _ in range(3):
        start = time.process_time()
        paint(photo, "meadow", 1)
        times.append(time.process_time() - start)
    assert min(times) < 3.0
