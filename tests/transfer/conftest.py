"""Two analyses of one subject: a film and a story, seen through the same network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from two_analyses import Analysis, make


@pytest.fixture(scope="session")
def analysis() -> Callable[..., Analysis]:
    return make


@pytest.fixture(scope="session")
def film_and_story() -> tuple[Analysis, Analysis]:
    """Targets 0-9 shared, 10-19 inverted in the story, 20-49 with other weights, 50-79 silent."""
    rng = np.random.default_rng(5)
    # weights of few dimensions agree with others by chance: the null would leave no power
    film = rng.standard_normal((30, 80)) / np.sqrt(30)
    story = film.copy()
    story[:, 10:20] *= -1
    story[:, 20:50] = rng.standard_normal((30, 30)) / np.sqrt(30)
    # what the film's weights say of the story must be nothing, not something by chance
    unit = film[:, 20:50] / np.linalg.norm(film[:, 20:50], axis=0)
    story[:, 20:50] -= unit * np.sum(unit * story[:, 20:50], axis=0)
    film[:, 50:] = story[:, 50:] = 0
    return make("film", film, 1, (300, 280)), make("story", story, 2, (200, 260))
