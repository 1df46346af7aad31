"""Motion energy and scene cuts, on films whose motion is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from films import grey_frames, write_film

from braid.common import InputError, sha256_of
from braid.features import extract, load_features
from braid.features.motion import energies, gabor_bank
from braid.features.windows import averaged, needed_blocks, stretches
from braid.models import load_model

RATE, SIZE = 24, 48
SETTINGS = {
    "window": 1.0, "rate": RATE, "size": SIZE, "spatial_frequencies": [2, 4],
    "temporal_frequencies": [0, 4], "directions": 8,
}  # fmt: skip


def _units(path: Path, root: Path, times: list[float]) -> pd.DataFrame:
    """Units that show a film at some times."""
    return pd.DataFrame(
        {
            "unit": [f"u{k}" for k in range(len(times))],
            "stimulus": path.relative_to(root).as_posix(),
            "sha256": sha256_of(path),
            "frame_time": times,
        }
    )


def _get(source: str, table: pd.DataFrame, root: Path, **settings: Any) -> np.ndarray:
    """Features of a source."""
    entry = {"source": source, "modality": "vision", "settings": settings}
    manifest = extract(load_model("mine", entry), table, root, root / "store")
    return next(iter(load_features(manifest, root / "store").values())).values


def _grating(frequency: float, speed: float, angle: float, seconds: float = 2.0) -> np.ndarray:
    """Frames of a grating of contrast 1 that drifts along `angle` at `speed` Hz."""
    y, x = np.meshgrid(*[(np.arange(SIZE) + 0.5) / SIZE] * 2, indexing="ij")
    along = x * np.cos(angle) + y * np.sin(angle)
    times = np.arange(int(seconds * RATE)) / RATE
    waves = 0.5 + 0.5 * np.cos(2 * np.pi * (frequency * along - speed * times[:, None, None]))
    return np.repeat((waves * 255).round().astype(np.uint8)[..., None], 3, axis=-1)


def _best(values: np.ndarray, angles: int = 4) -> tuple[str, int]:
    """Kind of motion and orientation of the strongest filter, of a bank of `_SETTINGS`."""
    bank = values.reshape(3, -1)
    kind, place = np.unravel_index(bank.argmax(), bank.shape)
    return ("still", "along", "against")[int(kind)], int(place % angles)


@pytest.mark.parametrize("frequency", [2.0, 4.0])
@pytest.mark.parametrize("orientation", [0, 1, 2, 3])
def test_filters_prefer_their_own_motion(
    tmp_path: Path, frequency: float, orientation: int
) -> None:
    angle = np.pi * orientation / 4
    found = {}
    for kind, speed in (("still", 0.0), ("along", 4.0), ("against", -4.0)):
        frames = _grating(frequency, speed, angle)
        path = write_film(tmp_path / "stimuli" / f"{kind}.mkv", frames, rate=RATE)
        found[kind] = _get("motion_energy", _units(path, tmp_path, [0.5]), tmp_path, **SETTINGS)[0]
        assert _best(found[kind]) == (kind, orientation)
        # a filter gives 1 for its own grating; what bleeds over the edge is less
        assert 0.8 < found[kind].max() < 1.1
    assert found["along"].reshape(3, -1)[2].max() < 0.1
    assert found["against"].reshape(3, -1)[1].max() < 0.1


def test_an_even_grey_has_no_energy(tmp_path: Path) -> None:
    path = write_film(tmp_path / "stimuli" / "grey.mkv", [grey_frames(20)[19]] * 48, rate=RATE)
    found = _get("motion_energy", _units(path, tmp_path, [0.0, 1.0]), tmp_path, **SETTINGS)
    assert np.abs(found).max() < 1e-5


def test_energy_in_time_is_the_filters_definition() -> None:
    random = np.random.default_rng(0)
    responses = random.standard_normal((30, 3)) + 1j * random.standard_normal((30, 3))
    found = energies(responses, [0.0, 4.0], RATE, 8)
    assert found.shape == (14, 9)
    steps = np.arange(-8, 9)
    envelope = np.exp(-((steps / RATE) ** 2) / 0.02)
    envelope /= envelope.sum()
    for k, frequency in enumerate((0.0, 4.0, -4.0)):
        kernel = envelope * np.exp(2j * np.pi * frequency * steps / RATE)
        for row in range(14):
            expected = np.abs(kernel @ responses[row : row + 17])
            np.testing.assert_allclose(found[row, 3 * k : 3 * k + 3], expected, rtol=1e-4)


def test_filters_cover_the_picture() -> None:
    bank = gabor_bank((48, 96), [2, 8], 4)
    rows = cols = 0
    for frequency in (2, 8):
        step = 3.5 * 0.56 / frequency
        rows, cols = max(1, int(1 / step)), max(1, int(2 / step))
        assert rows * cols * 4 in (8, 128)
    assert bank.shape == (8 + 128, 48 * 96)
    np.testing.assert_allclose(bank.sum(axis=1), 0, atol=1e-4)


def test_numbers_do_not_depend_on_company_or_order(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (96, SIZE, SIZE, 3), dtype=np.uint8)
    path = write_film(tmp_path / "stimuli" / "noise.mkv", frames, rate=RATE)
    times = [3.4, 0.0, 1.0, 1.3, 2.9, 1.0 / 3]
    table = _units(path, tmp_path, times)
    settings = {**SETTINGS, "window": 0.4}
    together = _get("motion_energy", table, tmp_path, **settings)
    # products of float32 over thousands of pixels round by sqrt(pixels) eps of the largest
    rounding = 1e-5 * together.max()
    for k in range(len(times)):
        alone = _get("motion_energy", table.iloc[k : k + 1], tmp_path, **settings)
        np.testing.assert_allclose(together[k], alone[0], rtol=0, atol=rounding)
    table.loc[2, "frame_time"] = np.nan
    without = _get("motion_energy", table, tmp_path, **settings)
    np.testing.assert_array_equal(without[2], 0)
    kept = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(without[kept], together[kept], rtol=0, atol=rounding)


def test_cuts_are_found_and_motion_is_not_one(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    scenes = [random.integers(low, low + 60, (SIZE, 2 * SIZE, 3)) for low in (0, 180)]
    # one second of each; within a scene the picture moves by a pixel per frame
    frames = [
        np.roll(scene, shift, axis=1)[:, :SIZE].astype(np.uint8)
        for scene in scenes
        for shift in range(RATE)
    ]
    path = write_film(tmp_path / "stimuli" / "cut.mkv", frames, rate=RATE)
    table = _units(path, tmp_path, [0.0, 0.4, 0.8, 1.2])
    found = _get("scene_cuts", table, tmp_path, window=0.4, rate=RATE)
    np.testing.assert_array_equal(found[:, 1], [0, 0, 1, 0])
    assert found[2, 0] == 1.0 and found[[0, 1, 3], 0].max() < 0.1
    # the cut belongs to the stretch in which the new scene begins
    edges = _units(path, tmp_path, [1.0 - 2 / RATE, 1.0])
    found = _get("scene_cuts", edges, tmp_path, window=2 / RATE, rate=RATE)
    np.testing.assert_array_equal(found[:, 1], [0, 1])


def test_stretches_and_blocks() -> None:
    spans = stretches(np.array([0.3, 0.0, 5.0]), 0.5, 10)
    np.testing.assert_array_equal(spans, [[3, 8], [0, 5], [50, 55]])
    assert needed_blocks(spans, 3) == [(0, 3), (3, 6), (6, 8), (50, 53), (53, 55)]
    np.testing.assert_array_equal(stretches(np.array([0.25]), 0.01, 10), [[3, 4]])


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize("longest", [1, 4, 1000])
def test_streaming_means_are_plain_means(how: str, longest: int) -> None:
    random = np.random.default_rng(3)
    samples = random.standard_normal((200, 2))
    first = random.integers(0, 180, 25)
    spans = np.column_stack([first, first + random.integers(1, 20, 25)])
    blocks = ((a, samples[a:b]) for a, b in needed_blocks(spans, longest))
    found = {int(rows[0]): values[0] for rows, values in averaged(spans, blocks, how)}
    assert sorted(found) == list(range(25))
    for k, (a, b) in enumerate(spans):
        expected = samples[a:b].mean(0) if how == "mean" else samples[a:b].max(0)
        np.testing.assert_allclose(found[k], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="end before the last stretch"):
        list(averaged(spans, [(0, samples[:10])], how))


def test_wrong_films_and_settings_are_named(tmp_path: Path) -> None:
    path = write_film(tmp_path / "stimuli" / "film.mkv", grey_frames(10), rate=10)
    table = _units(path, tmp_path, [0.0, 3.0])
    with pytest.raises(InputError, match=r"film\.mkv: a frame is asked for at 3\.000 s \(unit u1"):
        _get("motion_energy", table, tmp_path)
    with pytest.raises(InputError, match="unknown setting 'windw' of source scene_cuts; did you"):
        _get("scene_cuts", table, tmp_path, windw=1)
    with pytest.raises(InputError, match="setting window must be a positive number, not -1"):
        _get("scene_cuts", table, tmp_path, window=-1)
    with pytest.raises(InputError, match="no unit has a picture"):
        _get("motion_energy", table.assign(frame_time=np.nan), tmp_path)
    wide = np.zeros((10, 32, 128, 3), np.uint8)
    other = write_film(tmp_path / "stimuli" / "wide.mkv", wide, rate=10)
    both = pd.concat([_units(path, tmp_path, [0.0]), _units(other, tmp_path, [0.0])])
    with pytest.raises(InputError, match=r"wide\.mkv: it has another shape than the films bef"):
        _get("motion_energy", both.assign(unit=["a", "b"]), tmp_path, spatial_frequencies=[8])
