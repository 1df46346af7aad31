"""Brain Treebank: films that users supply, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import treebank_world as world
from treebank_world import FILM

from braid.bids import read_events
from braid.bids.cuts import detect_cuts
from braid.bids.importers import Options, import_treebank
from braid.bids.importers.films import check_film, find_film, read_brightness
from braid.common import InputError

pytest.importorskip(
    "cv2", reason="scene cuts: OpenCV needs the system's libGL", exc_type=ImportError
)


@pytest.fixture
def native(tmp_path) -> Path:
    folder = tmp_path / "native"
    folder.mkdir()
    world.write_native(folder)
    return folder


def test_a_missing_film_is_named_with_its_place(native, tmp_path):
    with pytest.raises(InputError, match=rf"{FILM}\.mp4: the film 'Tiny' is not there"):
        import_treebank(native, tmp_path / "bids", Options(films=tmp_path))
    assert not (tmp_path / "bids").exists()
    with pytest.raises(InputError, match="no such folder; it must hold your copies"):
        import_treebank(native, tmp_path / "bids", Options(films=tmp_path / "none"))
    with pytest.raises(InputError, match="name their folder: --films"):
        import_treebank(native, tmp_path / "bids", Options(scenes="detect"))
    link = tmp_path / f"{FILM}.mkv"
    link.symlink_to(".git/annex/objects/aa/bb/x")
    with pytest.raises(InputError, match="git-annex file whose content has not been fetched"):
        find_film(tmp_path, FILM, "Tiny")


def checked(path: Path, offset: float = 0.0) -> dict[str, float]:
    words = world.words_table()
    return check_film(
        path,
        read_brightness(path),
        words["start"].to_numpy(),
        words["mean_pixel_brightness"].to_numpy(),
        world.LAST_TRIGGER,
        offset,
    )


def test_a_film_with_a_lead_is_found_out_and_can_be_used(tmp_path):
    path = world.write_tiny_film(tmp_path, late=1.5)
    with pytest.raises(InputError, match=rf"late throughout; .*{FILM}=1\.(4[6-9]|5[0-4])$"):
        checked(path)
    assert abs(checked(path, offset=1.5)["frame shift"]) <= 1


def test_an_offset_moves_times_in_the_film_and_nothing_else(native, tmp_path):
    world.write_tiny_film(tmp_path / "films", late=1.5)
    options = Options(films=tmp_path / "films", offsets={FILM: 1.5})
    import_treebank(native, tmp_path / "bids", options)
    events = read_events(tmp_path / "bids/sub-02/ieeg/sub-02_task-movie_run-01_events.tsv")
    placed = events[events["trial_type"] != "pause"]
    np.testing.assert_allclose(placed["stim_time"] - placed["movie_time"], 1.5, atol=1e-6)
    cuts = events[events["trial_type"] == "scene_cut"]  # the end of the black lead is none
    np.testing.assert_allclose(cuts["movie_time"], world.CUTS, atol=1 / world.FRAMES)
    np.testing.assert_allclose(cuts["onset"], world.recorded_at(cuts["movie_time"]), atol=1e-3)


def test_times_count_from_the_first_frame_whatever_the_container_says(tmp_path):
    import av

    path = tmp_path / "late.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=world.FRAMES)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        for number in range(12 * world.FRAMES):
            picture = world.picture(number / world.FRAMES + 1e-6)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number + 2 * world.FRAMES
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time == pytest.approx(2.0)
    seen = read_brightness(path)
    assert (seen.time[0], seen.duration) == (0.0, pytest.approx(12.0))
    assert detect_cuts(path) == pytest.approx([world.CUTS[0]])


def test_a_film_at_another_speed_is_found_out(tmp_path):
    path = world.write_tiny_film(tmp_path, speed=25 / 24)
    with pytest.raises(InputError, match="another speed"):
        checked(path)


def test_another_film_and_a_short_one_are_found_out(tmp_path):
    random = np.random.default_rng(1)
    frames = (np.full((36, 64, 3), random.integers(0, 255), np.uint8) for _ in range(45 * 24))
    path = world.write_film(tmp_path / "other.mkv", frames, 24)
    with pytest.raises(InputError, match="not those of the transcript"):
        checked(path)
    seen = read_brightness(world.write_tiny_film(tmp_path))
    with pytest.raises(InputError, match=r"lasts 42\.0 s but was shown up to 50\.0 s"):
        check_film(path, seen, np.zeros(0), np.zeros(0), 50.0, 0.0)
    with pytest.raises(InputError, match=r"the first word is said 3\.0 s before the film starts"):
        check_film(path, seen, np.array([1.0]), np.array([9.0]), 40.0, -4.0)
    (tmp_path / "broken.mkv").write_bytes(b"no film")
    with pytest.raises(InputError, match=r"broken\.mkv: the film cannot be decoded"):
        read_brightness(tmp_path / "broken.mkv")


def test_an_offset_of_an_unknown_film(native, tmp_path):
    with pytest.raises(InputError, match=f"no such film in this import; its films are: {FILM}"):
        import_treebank(native, tmp_path / "bids", Options(offsets={"cars-2": 1.0}))
