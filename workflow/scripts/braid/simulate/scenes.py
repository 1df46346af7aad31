"""What is seen: objects, their looks and their motion, drawn with anti-aliased distance fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

Array = np.ndarray


def _disc(u: Array, v: Array) -> Array:
    return np.hypot(u, v) - 1.0


def _square(u: Array, v: Array) -> Array:
    return np.maximum(np.abs(u), np.abs(v)) - 0.85


def _triangle(u: Array, v: Array) -> Array:
    slant = np.abs(u) * (np.sqrt(3) / 2) - v * 0.5
    return np.maximum(v, slant) - 0.6


def _ring(u: Array, v: Array) -> Array:
    return np.abs(np.hypot(u, v) - 0.76) - 0.24


#: Signed distance to the outline in units of the radius, negative inside; v points down.
SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "ring": _ring,
}
#: Red, green, blue, 0 to 1.
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.14, 0.14),
    "green": (0.16, 0.68, 0.22),
    "blue": (0.16, 0.30, 0.88),
    "yellow": (0.93, 0.83, 0.16),
}
#: No shape extends further than this from its centre, in radii.
_REACH = 1.25
#: Radius as a share of the picture's side.
SIZES: dict[str, float] = {"small": 0.13, "medium": 0.19, "large": 0.27}
#: Direction of motion (x to the right, y down).
MOTIONS: dict[str, tuple[float, float]] = {
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
}
#: Position of the trail's ghosts, in radii behind the object, and their opacity.
_TRAIL = ((0.9, 0.15), (0.6, 0.25), (0.3, 0.35))
#: How much brighter the front of a moving object is than its middle, and its back darker.
_LIGHT = 0.5


@dataclass(frozen=True)
class Distractor:
    """A small object that nobody speaks about."""

    shape: str
    x: float
    y: float
    radius: float
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """All that is needed to draw one picture.

    Positions and radii are shares of the picture's side; (0, 0) is the upper left corner.
    """

    values: Mapping[str, str]  # attribute -> value of the protagonist
    x: float
    y: float
    radius: float
    colour: tuple[float, float, float]
    distractors: tuple[Distractor, ...]
    texture: int  # seed of the background


@dataclass(frozen=True)
class Scene:
    """A shot between two cuts: a look, and where its protagonist goes."""

    start: float  # s
    stop: float  # s
    look: Look  # at the start
    velocity: tuple[float, float]  # sides per second

    def look_at(self, time: float) -> Look:
        """Look at a time of the film, in s."""
        elapsed = time - self.start
        return replace(
            self.look,
            x=self.look.x + self.velocity[0] * elapsed,
            y=self.look.y + self.velocity[1] * elapsed,
        )


def draw_look(values: Mapping[str, str], generator: np.random.Generator, distractors: int) -> Look:
    """Draw at random what the attributes leave open: place, shade, distractors, background.

    Parameters
    ----------
    values : mapping of str to str
        Value of each of shape, colour, size and motion.
    generator : numpy.random.Generator
    distractors : int
        Number of small objects beside the protagonist.
    """
    radius = SIZES[values["size"]] * generator.uniform(0.93, 1.07)
    x, y = generator.uniform(0.38, 0.62, size=2)
    others = tuple(_distractor(generator) for _ in range(distractors))
    return Look(
        values=dict(values),
        x=float(x),
        y=float(y),
        radius=float(radius),
        colour=_shade(COLOURS[values["colour"]], generator),
        distractors=others,
        texture=int(generator.integers(2**31)),
    )


def make_scene(
    values: Mapping[str, str],
    start: float,
    stop: float,
    generator: np.random.Generator,
    distractors: int,
) -> Scene:
    """Make a scene whose protagonist is half-way along its path in the middle of the scene."""
    look = draw_look(values, generator, distractors)
    speed = generator.uniform(0.015, 0.03)
    step = tuple(float(speed * part) for part in MOTIONS[values["motion"]])
    half = (stop - start) / 2
    look = replace(look, x=look.x - step[0] * half, y=look.y - step[1] * half)
    return Scene(start, stop, look, (step[0], step[1]))


def render(look: Look, size: int) -> Array:
    """Draw a picture.

    Motion shows in a still picture: the front of the object is lit, its back in shade, and paler
    copies trail behind it, as in a long exposure.

    Parameters
    ----------
    look : Look
    size : int
        Side in pixels.

    Returns
    -------
    numpy.ndarray
        uint8, (size, size, 3).
    """
    canvas = _scenery(look.texture, look.distractors, size).copy()
    axis = _axis(size)
    outline = SHAPES[look.values["shape"]]
    dx, dy = MOTIONS[look.values["motion"]]
    for behind, opacity in _TRAIL:
        back = behind * look.radius
        _paint(
            canvas, axis, outline, look.x - dx * back, look.y - dy * back, look.radius,
            look.colour, opacity,
        )  # fmt: skip
    _paint(canvas, axis, outline, look.x, look.y, look.radius, look.colour, 1.0, (dx, dy))
    return np.clip(canvas * 255.0 + 0.5, 0, 255).astype(np.uint8)


def _axis(size: int) -> Array:
    """Centres of the pixels, as shares of the picture's side."""
    return (np.arange(size, dtype=np.float32) + 0.5) / size


@lru_cache(maxsize=4)  # the frames of a scene share it
def _scenery(texture: int, distractors: tuple[Distractor, ...], size: int) -> Array:
    """Draw what stands still: the background and the distractors; to be copied, not painted on."""
    canvas = _background(texture, size)
    for other in distractors:
        outline = SHAPES[other.shape]
        _paint(canvas, _axis(size), outline, other.x, other.y, other.radius, other.colour, 1.0)
    return canvas


def _distractor(generator: np.random.Generator) -> Distractor:
    shapes, colours = list(SHAPES), list(COLOURS.values())
    shape = shapes[int(generator.integers(len(shapes)))]
    x, y = generator.uniform(0.05, 0.95, size=2)
    radius = generator.uniform(0.03, 0.05)
    colour = _shade(colours[int(generator.integers(len(colours)))], generator)
    return Distractor(shape, float(x), float(y), float(radius), colour)


def _shade(
    colour: tuple[float, float, float], generator: np.random.Generator
) -> tuple[float, float, float]:
    """Vary a colour a little."""
    red, green, blue = np.clip(np.array(colour) + generator.uniform(-0.07, 0.07, size=3), 0, 1)
    return float(red), float(green), float(blue)


def _background(seed: int, size: int) -> Array:
    """Smooth tinted blobs and fine grain, float32 (size, size, 3)."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0.0, 1.0, size=(7, 7, 1)) * 0.25
    coarse = coarse + generator.uniform(0.0, 1.0, size=(7, 7, 3)) * 0.12
    position = np.linspace(0, 6, size)
    knots = np.arange(7)
    weights = np.clip(1 - np.abs(position[:, None] - knots[None, :]), 0, None)
    smooth = np.einsum("iy,yxc,jx->ijc", weights, coarse, weights, optimize=True)
    base = generator.uniform(0.2, 0.5)
    grain = generator.normal(0.0, 0.02, size=(size, size, 1))
    return (base + smooth + grain).astype(np.float32)


def _paint(
    canvas: Array,
    axis: Array,
    outline: Callable[[Array, Array], Array],
    x: float,
    y: float,
    radius: float,
    colour: tuple[float, float, float],
    opacity: float,
    light: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Paint one object, lit from the direction `light`, over the canvas, in place."""
    edge = radius * len(axis)  # pixels per unit of distance
    reach = _REACH * radius + 1.0 / len(axis)
    columns, rows = _near(axis, x, reach), _near(axis, y, reach)
    u, v = (axis[None, columns] - x) / radius, (axis[rows, None] - y) / radius
    canvas = canvas[rows, columns]
    cover = np.clip(0.5 - outline(u, v) * edge, 0.0, 1.0)[..., None].astype(np.float32) * opacity
    lit = np.clip(1.0 + _LIGHT * (light[0] * u + light[1] * v), 0.3, 1.6)[..., None]
    canvas += cover * (lit.astype(np.float32) * np.asarray(colour, dtype=np.float32) - canvas)


def _near(axis: Array, centre: float, reach: float) -> slice:
    """Pixels of an axis that lie within reach of a centre."""
    first, last = np.searchsorted(axis, (centre - reach, centre + reach))
    return slice(int(first), int(last))
