"""Films: nearest frames, order, memory, and damaged files."""

from __future__ import annotations

import numpy as np
import pytest
from films import grey_frames, write_film

from braid.common import InputError
from braid.stimuli import iter_frames, open_film
from braid.stimuli.films import _Decoder


def shown(path, times) -> list[int]:
    """Number of each frame, read from its grey."""
    return [round((float(frame.mean()) - 10) / 4) for frame in iter_frames(path, times)]


def test_duration_and_rate(film):
    found = open_film(film)
    assert found.duration == pytest.approx(5.0) and found.rate == pytest.approx(10.0)


def test_every_frame_in_order(film):
    frames = list(iter_frames(film, np.arange(50) / 10))
    assert all(frame.dtype == np.uint8 and frame.shape == (32, 32, 3) for frame in frames)
    assert [round((float(frame.mean()) - 10) / 4) for frame in frames] == list(range(50))


def test_nearest_frame_whatever_the_order_of_the_times(film):
    times = np.random.default_rng(0).uniform(0, 4.9, 200)
    times = np.concatenate([times, times[:20], [0.0, 4.99, 5.05, -0.05]])
    expected = np.clip(np.abs(times[:, None] - np.arange(50) / 10).argmin(axis=1), 0, 49)
    assert shown(film, times) == list(expected)


def test_repeated_times_share_one_picture(film):
    first, second, third = iter_frames(film, [1.0, 1.01, 2.0])
    assert first is second and third is not first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0


def test_nothing_asked_nothing_decoded(tmp_path):
    assert list(iter_frames(tmp_path / "none.mp4", [])) == []


def test_still_picture(tmp_path):
    from PIL import Image

    path = tmp_path / "scene.png"
    Image.fromarray(np.full((8, 6, 3), 77, np.uint8)).save(path)
    assert open_film(path).duration == np.inf
    frames = list(iter_frames(path, [0.0, 12.0]))
    assert frames[0].shape == (8, 6, 3) and int(frames[1][0, 0, 0]) == 77


@pytest.mark.parametrize("time", [5.2, -0.5, np.nan])
def test_times_outside_the_film(film, time):
    with pytest.raises(InputError, match=r"cinema\.mp4: a frame is asked for at"):
        list(iter_frames(film, [0.0, time]))


def test_film_that_cannot_be_decoded(film, tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"not a film" * 1000)
    for attempt in (lambda: open_film(path), lambda: list(iter_frames(path, [0.0]))):
        with pytest.raises(InputError, match=r"broken\.mp4: the film cannot be decoded"):
            attempt()
    path.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    with pytest.raises(InputError, match="cannot be decoded"):
        open_film(path)


def test_sound_without_pictures(tmp_path):
    import wave

    path = tmp_path / "story.mp4"
    with wave.open(str(path), "wb") as stream:
        stream.setparams((1, 2, 8000, 0, "NONE", "n/a"))
        stream.writeframes(bytes(16000))
    with pytest.raises(InputError, match="it has no video stream"):
        open_film(path)


def test_missing_or_unfetched_film(tmp_path):
    with pytest.raises(InputError, match=r"none\.mp4: no such film"):
        list(iter_frames(tmp_path / "none.mp4", [0.0]))
    path = tmp_path / "annexed.mp4"
    path.symlink_to(".git/annex/objects/x/y/z.mp4")
    with pytest.raises(InputError, match=r"annexed\.mp4: git-annex file"):
        open_film(path)


def test_film_cut_off_in_a_streamable_container(tmp_path):
    """What is left can be read, but the film is as long as its packets, not as its header says."""
    path = tmp_path / "long.mkv"
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), dtype=np.uint8)
    write_film(path, noise, 10, "libx264")
    assert open_film(path).duration == pytest.approx(6.0, abs=0.01)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    left = open_film(path).duration
    assert 1.0 < left < 5.0
    with pytest.raises(InputError, match="the film ends at"):
        list(iter_frames(path, [5.9]))


def test_times_count_from_the_first_frame_whatever_the_container_says(tmp_path):
    path = tmp_path / "cinema.avi"
    write_film(path, grey_frames(40), 10, "mpeg4", bf="2")
    # AVI holds decoding times: frames come one late, and the stream says that it begins at zero
    assert open_film(path).duration == pytest.approx(4.0, abs=0.01)
    assert np.abs(np.array(shown(path, [0.0, 1.0, 2.0])) - [0, 10, 20]).max() == 0


def test_a_film_whose_frames_have_no_order(tmp_path):
    path = tmp_path / "cinema.avi"
    write_film(path, grey_frames(40, size=64), 10, "libx264")
    with pytest.raises(InputError, match=r"cinema\.avi: .*frame \d+ is out of its time\); copy"):
        shown(path, [0.0, 1.0])


@pytest.mark.parametrize(("told", "count"), [("1", 1), ("3", 3), ("2,1", 2)])
def test_decoding_takes_the_threads_of_the_job(film, monkeypatch, told, count):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    with _Decoder(film) as decoder:
        assert sum(1 for _ in decoder) == 50
        assert decoder.stream.codec_context.thread_count == count
