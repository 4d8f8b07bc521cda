"""The palettes keep what their module promises: contrast, and distance for every kind of sight."""

import itertools

import numpy as np
import pytest

from rota.report import style

PAPER = {"light": "#ffffff", "dark": "#14171c"}
PALETTES = {"light": style.LIGHT, "dark": style.DARK}
# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    f = np.cbrt(np.clip(XYZ @ np.clip(rgb, 0, 1), 1e-9, None) / np.array([0.9505, 1, 1.089]))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", PALETTES)
def test_contrast_with_the_paper_is_three_to_one(theme):
    for colour in PALETTES[theme]:
        a, b = sorted((linear(c) @ XYZ[1]) + 0.05 for c in (colour, PAPER[theme]))
        assert b / a >= 3, colour


@pytest.mark.parametrize("theme", PALETTES)
@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_colours_can_be_told_apart(theme, sight):
    seen = [lab(SIGHT[sight] @ linear(colour)) for colour in PALETTES[theme]]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 12


def test_the_page_has_the_paper_these_tests_assume():
    css = style.__file__.replace("style.py", "page.css")
    with open(css, encoding="utf-8") as file:
        text = file.read()
    assert all(f"--paper: {colour}" in text for colour in PAPER.values())


def test_long_names_keep_both_ends():
    assert style.shortened("a" * 50 + "b" * 50, 11) == "aaaaaa…bbbb"
    assert style.shortened("short", 11) == "short"
