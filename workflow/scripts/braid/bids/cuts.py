"""Scene cuts: finding them in a film, and the sentences that go with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braid.common import BraidError, InputError


def detect_cuts(path: Path) -> np.ndarray:
    """Find scene cuts with PySceneDetect's content detector in its default setting.

    Returns
    -------
    numpy.ndarray
        float64, s from the first frame, ascending, without the start of the film.

    Raises
    ------
    BraidError
        If PySceneDetect is not installed.
    InputError
        If the film cannot be read.
    """
    try:
        from scenedetect import ContentDetector, SceneManager, VideoOpenFailure, open_video
    except ImportError as error:
        raise BraidError(
            f"scene cuts: PySceneDetect cannot be used here ({error}); install scenedetect, with "
            "opencv-python-headless in the place of opencv-python where there is no libGL, or do "
            "without: give the cuts as rows of events.tsv, or the importer --scenes annotations or "
            "none"
        ) from None
    try:
        video = open_video(str(path), backend="pyav")
    except VideoOpenFailure as error:
        raise InputError(f"{path}: the film cannot be decoded ({error}); copy it again") from None
    manager = SceneManager()
    manager.add_detector(ContentDetector())
    manager.detect_scenes(video)
    scenes = manager.get_scene_list()
    return np.array([start.seconds for start, _ in scenes[1:]], dtype=float)


def match_sentences(times: np.ndarray, start: np.ndarray, end: np.ndarray) -> dict[str, np.ndarray]:
    """Sentences that go with moments of a film, by three rules.

    Parameters
    ----------
    times : numpy.ndarray
        s.
    start, end : numpy.ndarray
        Of the sentences, s, sorted by start.

    Returns
    -------
    dict of str to numpy.ndarray
        Positions of the sentences: `preceding` (the last that began by then), `following` (the
        first that begins later), each the outermost one where there is none, and `nearest` (the one
        being said, else the smallest gap; of equals the first).
    """
    after = np.searchsorted(start, times, side="right")
    gaps = [np.maximum(np.maximum(start - time, time - end), 0.0) for time in times]
    return {
        "preceding": np.maximum(after - 1, 0),
        "following": np.minimum(after, len(start) - 1),
        "nearest": np.array([int(np.argmin(gap)) for gap in gaps], dtype=int),
    }
