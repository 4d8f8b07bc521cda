"""Colours and layout that every chart shares.

The two palettes were found by a search over CIELAB: eight hues, at least 3:1 against their background, with the least
distance between any two as large as it gets for normal sight and for simulated deuteranopia, protanopia and tritanopia
(matrices of Machado et al., 2009). The page exchanges one for the other when the reader's system is dark.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LIGHT = ("#7990c5", "#884f14", "#17a65d", "#613a8c", "#969300", "#006670", "#841030", "#3d30c5")
DARK = ("#61a9f6", "#fd9800", "#729e7e", "#a976ac", "#fad495", "#78effe", "#fe3539", "#8c6eff")
DASHES = ("solid", "dash", "dot", "dashdot")
HATCHES = ("", "/", "x", "-")
GRID = "rgba(128,134,145,0.25)"
INK = "#6b7280"


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in order; they repeat after eight."""
    return {name: LIGHT[i % len(LIGHT)] for i, name in enumerate(names)}


def dashes(names: Iterable[str]) -> dict[str, str]:
    """A dash for each name: neighbours differ by more than colour, and two names of one colour differ by dash."""
    return {name: DASHES[(i + i // len(LIGHT)) % len(DASHES)] for i, name in enumerate(names)}


def hatches(names: Iterable[str]) -> dict[str, str]:
    """A hatch for each name: none for the first eight, then one that tells two names of a colour apart."""
    return {name: HATCHES[(i // len(LIGHT)) % len(HATCHES)] for i, name in enumerate(names)}


def layout(**more: Any) -> dict[str, Any]:
    """Keywords for a Plotly layout: transparent, quiet grid, readable on white and on black; `more` is laid over it."""
    axis = {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": GRID,
        "ticks": "outside",
        "tickcolor": GRID,
        "automargin": True,
    }
    base: dict[str, Any] = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "margin": {"l": 56, "r": 24, "t": 40, "b": 48},
        "hoverlabel": {"font": {"family": "system-ui, sans-serif"}},
        "xaxis": axis,
        "yaxis": axis,
    }
    return {**base, **{k: {**base[k], **v} if isinstance(v, dict) and k in base else v for k, v in more.items()}}


def label(name: str, limit: int = 40) -> str:
    """A name as it may stand in a Plotly figure: at most `limit` signs, and none that Plotly reads as HTML."""
    return escape(shortened(name, limit))


def escape(text: str) -> str:
    """Text that Plotly, which reads a little HTML in its labels, shows as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shortened(text: str, limit: int) -> str:
    """A name of at most `limit` signs, its middle left out where it is longer."""
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"
