"""From a matplotlib figure to files and to what the page embeds, in a light and a dark version."""

from __future__ import annotations

import base64
import colorsys
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import atomic_path
from braid.report.style import DPI

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas
    from PIL.Image import Image

FIXED = "_fixed"
"""Label of what stands on a colour that stays, and so keeps its own in the dark."""

_NO_COLOURS = ("none", "auto", "inherit", "face")
_DARK_PAPER = 0.105  # lightness of the page's background in dark mode
_LEAST_CONTRAST = 2.4  # of a full colour with it; of the palette two are below
_ALMOST = 24  # difference of two colours that look alike, sum over red, green and blue of 255
_LUMINANCE = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Attributes
    ----------
    name : str
        Stem of its files.
    caption : str
        What is shown, on how many targets, and how it was tested; plain text.
    alt : str
        The same for those who do not see it, in one or two sentences.
    light, dark : str
        PNG as `data:` addresses.
    width, height : int
        Size on the page, CSS pixels.
    """

    name: str
    caption: str
    alt: str
    light: str
    dark: str
    width: int
    height: int


@dataclass(frozen=True)
class Absent:
    """A sentence in place of a figure or table that cannot be made from these results."""

    reason: str


def finish(
    canvas: Canvas, folder: Path, name: str, caption: str, alt: str, photos: bool = False
) -> Figure:
    """Save a figure as PNG and SVG, and encode it for the page; the figure is closed.

    Parameters
    ----------
    canvas : matplotlib.figure.Figure
    folder : pathlib.Path
        Where the files go.
    name : str
        Stem of the files.
    caption, alt : str
        See `Figure`.
    photos : bool
        Whether it holds photographs, whose shades are then made by patterns of dots.
    """
    import matplotlib.pyplot as plt

    light = _png(canvas, photos)
    canvas.set_layout_engine("none")  # what is laid out stays where it is
    for suffix, content in ((".png", light), (".svg", _svg(canvas))):
        with atomic_path(folder / f"{name}{suffix}") as path:
            path.write_bytes(content)
    _darken(canvas)
    dark = _png(canvas, photos)
    width, height = (round(float(inches) * 96) for inches in canvas.get_size_inches())
    plt.close(canvas)
    return Figure(name, caption, alt, _address(light), _address(dark), width, height)


def _png(canvas: Canvas, photos: bool) -> bytes:
    """Draw as PNG with a palette of 256 colours, a third of the size of true colour."""
    from PIL import Image

    raw = io.BytesIO()
    canvas.savefig(
        raw,
        format="png",
        dpi=DPI,
        facecolor=canvas.get_facecolor(),
        pil_kwargs={"compress_level": 0},  # packed below
    )
    raw.seek(0)
    with Image.open(raw) as image:
        true = image.convert("RGB")
    small = true.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    if photos:
        small = _dotted(true, small)
    packed = io.BytesIO()
    small.save(packed, format="png", optimize=True)
    return packed.getvalue()


def _dotted(true: Image, small: Image) -> Image:
    """Make the shades of a picture by patterns of the few colours of another, on clean paper."""
    from PIL import Image as Pillow

    paper = np.asarray(true)[0, 0].astype(int)
    colours = np.array(small.getpalette(), int).reshape(-1, 3)
    # the nearest colour is found roughly: what is almost paper would be taken for it, and get dots
    far = np.abs(colours - paper).sum(axis=1)
    colours[far <= max(far.min(), _ALMOST)] = paper
    small.putpalette(colours.ravel().tolist())
    return true.quantize(palette=small, dither=Pillow.Dither.FLOYDSTEINBERG)


def _svg(canvas: Canvas) -> bytes:
    """Draw as SVG, so that equal figures are equal files: without the date, clip paths numbered.

    Their names are digests of bounds, whose last bits the solver of the layout gives as it likes.
    """
    raw = io.BytesIO()
    canvas.savefig(
        raw, format="svg", dpi=DPI, metadata={"Date": None}, facecolor=canvas.get_facecolor()
    )
    drawn = raw.getvalue()
    for number, name in enumerate(re.findall(rb'<clipPath id="(\w+)"', drawn)):
        drawn = drawn.replace(name, b"clip-%d" % number)
    return drawn


def _address(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def _darken(canvas: Canvas) -> None:
    """Turn greys and tints round - paper, ink, grid, untrained twins - and leave full colours."""
    for artist in _artists(canvas):
        for what in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            getter, setter = (
                getattr(artist, f"get_{what}", None),
                getattr(artist, f"set_{what}", None),
            )
            if getter is None or setter is None or _keeps_colours(artist):
                continue
            if what == "color" and hasattr(artist, "get_facecolor"):
                continue  # patches and collections: would set both colours at once
            colour = getter()
            # what has an opacity of its own would be filled with a colour that was not there
            if not _is_clear(colour):
                setter(_turned(colour))


def _artists(canvas: Canvas) -> list[Any]:
    """List what a figure draws, once each: boxes behind texts too, axes by their patches."""
    found: dict[int, Any] = {}
    for artist in canvas.findobj(include_self=False):
        box = getattr(artist, "get_bbox_patch", lambda: None)()
        own = None if hasattr(artist, "patch") else artist
        found |= {id(part): part for part in (own, box) if part is not None}
    return list(found.values())


def _keeps_colours(artist: Any) -> bool:
    """Tell whether an artist is `FIXED`, or takes its colours from values through a colour map."""
    array = getattr(artist, "get_array", None)
    return artist.get_label() == FIXED or (array is not None and array() is not None)


def _is_clear(colour: Any) -> bool:
    """Tell whether a colour, or each of an array of colours, is fully transparent."""
    from matplotlib.colors import to_rgba_array

    if isinstance(colour, str) and colour in _NO_COLOURS:
        return True
    return bool((to_rgba_array(colour)[:, 3] == 0).all())


def _turned(colour: Any) -> Any:
    """Turn one colour or an array of colours to their dark counterparts."""
    from matplotlib.colors import to_rgba, to_rgba_array

    if isinstance(colour, np.ndarray) and colour.ndim == 2:
        rgba = to_rgba_array(colour)
        return np.array([_turned_rgba(tuple(row)) for row in rgba]).reshape(rgba.shape)
    return _turned_rgba(to_rgba(colour))


def _lifted(red: float, green: float, blue: float) -> tuple[float, float, float]:
    """Lighten a full colour that would be lost on dark paper until it can be seen."""
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    colour = red, green, blue
    while _contrast(colour) < _LEAST_CONTRAST:
        lightness += 0.02
        colour = colorsys.hls_to_rgb(hue, lightness, saturation)
    return colour


def _contrast(colour: tuple[float, float, float]) -> float:
    """Contrast of a colour with dark paper, as the WCAG define it."""
    paper, own = (
        sum(share * _linear(part) for share, part in zip(_LUMINANCE, parts, strict=True))
        for parts in ((_DARK_PAPER,) * 3, colour)
    )
    return (own + 0.05) / (paper + 0.05)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def _turned_rgba(rgba: tuple[float, ...]) -> tuple[float, ...]:
    red, green, blue, alpha = rgba
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if max(red, green, blue) - min(red, green, blue) > 0.04:
        if lightness < 0.66:
            return (*_lifted(red, green, blue), alpha)
        # a tint recedes on dark paper only if it is darker than its colour
        return (*colorsys.hls_to_rgb(hue, 1.15 - lightness, 0.6 * saturation), alpha)
    dark = _DARK_PAPER + (0.93 - _DARK_PAPER) * (1 - lightness)
    return (*colorsys.hls_to_rgb(hue, dark, saturation), alpha)
