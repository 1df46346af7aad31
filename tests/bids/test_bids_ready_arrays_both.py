"""Popham et al. 2021: stories and films of the same voxels."""

from __future__ import annotations

import numpy as np
import pytest
import ready_arrays_world as world

from braid.bids import index_dataset, read_events, validate
from braid.bids.__main__ import main
from braid.bids.importers import ArrayOptions, import_popham2021, import_shortclips, popham2021
from braid.common import InputError, read_json, read_table

WORDS = {"kind": "words", "context_words": 3, "sentence_column": "none"}
FRAMES = {"kind": "frames", "step": 0.5}


@pytest.fixture
def parts(tmp_path):
    """The release, and where stories and films are."""
    arrays = world.write_popham(tmp_path / "source")
    world.write_stories(tmp_path / "stories")
    world.write_films(tmp_path / "films")
    options = ArrayOptions(stories=tmp_path / "stories", films=tmp_path / "films")
    return tmp_path / "source", tmp_path / "out", arrays, options


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    root = tmp_path_factory.mktemp("popham")
    arrays = world.write_popham(root / "source")
    world.write_stories(root / "stories")
    world.write_films(root / "films")
    out = root / "out"
    told = ["--stories", str(root / "stories"), "--films", str(root / "films")]
    assert main(["import", "popham2021", str(root / "source"), "--out", str(out), *told]) == 0
    return out, arrays


def test_the_result_is_valid_bids(imported):
    assert validate(imported[0])["errors"] == []


def test_both_tasks_have_the_voxels_that_are_finite_in_both(imported):
    out, arrays = imported
    mask = np.load(out / "sub-01" / "sub-01_mask.npy")
    expected = np.ones((2, 3, 4), dtype=bool)
    expected[0, 0] = False
    expected[1, 2, [0, 3]] = False
    np.testing.assert_array_equal(mask, expected)
    labels = read_table(out / "sub-01" / "sub-01_labels.tsv")
    whole = arrays["moviedata/test"]
    name = "sub-01_task-film_acq-test_run-01_desc-voxels_timeseries.npy"
    values = np.load(out / "sub-01" / "func" / name)
    by_index = whole[:, labels["k"], labels["j"], labels["i"]]
    np.testing.assert_array_equal(values, by_index)
    np.testing.assert_array_equal(values, whole[:, mask])
    report = read_table(out / "sub-01" / "sub-01_import.tsv").set_index(["run", "measure"])["value"]
    measure = "voxels that are finite here alone, left out"
    for run in ("task-story_acq-alpha", "task-film_acq-test_run-01"):
        assert report[f"sub-01_{run}", measure] == 1 and report[f"sub-01_{run}", "voxels"] == 18


def test_training_films_are_runs_of_their_own(imported):
    out, arrays = imported
    index = index_dataset("films", world.spec(out, "film"))
    assert list(index["run"]) == [
        "task-film_acq-test_run-01", "task-film_acq-train_run-01", "task-film_acq-train_run-02",
    ]  # fmt: skip
    mask = np.load(out / "sub-01" / "sub-01_mask.npy")
    second = np.load(out / index["path"].iloc[2])
    np.testing.assert_array_equal(second, arrays["moviedata/train"][8:, mask])
    events = read_events(out / index["events"].iloc[2])
    assert list(events["stim_file"]) == ["train_01.mp4"] and list(events["duration"]) == [16.0]


def test_it_runs_through_with_the_same_targets(imported):
    out, _ = imported
    stories, story_design, _, _ = world.run_through(out, "story", "01", WORDS, {"kind": "lanczos"})
    films, film_design, _, _ = world.run_through(out, "film", "01", FRAMES, {"kind": "lanczos"})
    np.testing.assert_array_equal(stories["target"].values, films["target"].values)
    for axis in "ijk":
        np.testing.assert_array_equal(stories[axis].values, films[axis].values)
    assert stories["k"].values.max() == 1 and np.isnan(stories["x"].values).all()
    assert story_design.sizes["sample"] == 30 + 25 and film_design.sizes["sample"] == 22
    assert stories.attrs["repetition_time"] == 2.0045 and films.attrs["repetition_time"] == 2.0


def test_onsets_where_the_cut_is_told(parts):
    source, out, _, options = parts
    (options.stories / "respdict.json").unlink()
    with pytest.raises(InputError, match="say with --story-start"):
        import_popham2021(source, out, options)
    told = ArrayOptions(stories=options.stories, films=options.films, story_start=6.0)
    import_popham2021(source, out, told)
    stem = out / "sub-01" / "func" / "sub-01_task-story_acq-alpha"
    events = read_events(f"{stem}_events.tsv")
    assert events["onset"].iloc[0] == -6.0
    sidecar = read_json(f"{stem}_desc-voxels_timeseries.json")
    assert sidecar["NumberOfVolumesDiscardedByUser"] == 3
    world.run_through(out, "story", "01", WORDS, {"kind": "lanczos"})


def test_pieces_make_no_difference(imported, parts, monkeypatch):
    source, out, _, options = parts
    monkeypatch.setattr(popham2021, "BLOCK", 200)  # two volumes
    import_popham2021(source, out, options)
    for path in sorted(imported[0].rglob("*.npy")):
        assert (out / path.relative_to(imported[0])).read_bytes() == path.read_bytes()


def edit(path, change):
    np.save(path, change(np.load(path)))


def all_nan(source):
    edit(source / "moviedata/S1/test.npy", lambda y: y * np.nan)


def apart(source):
    def only(rows):
        def change(y):
            y[:, :, rows] = np.nan
            return y

        return change

    for path in source.glob("storydata/S1/*.npy"):
        edit(path, only([0, 1]))
    for path in source.glob("moviedata/S1/*.npy"):
        edit(path, only([2]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (all_nan, r"moviedata/S1/test\.npy: every voxel is NaN at some time"),
        (apart, "no voxel is finite in all arrays of this subject"),
        (
            lambda source: edit(source / "storydata/S1/alpha.npy", lambda y: y[1:]),
            r"alpha\.npy: has 29 volumes, but the scan of 'alpha' had 50",
        ),
        (
            lambda source: edit(source / "moviedata/S1/train.npy", lambda y: y[:-1]),
            r"train\.npy: training run 2 has 7 volumes but train_01\.hdf lasts 8",
        ),
        (
            lambda source: edit(source / "moviedata/S1/train.npy", lambda y: np.r_[y, y]),
            r"train_02\.hdf: the film is not there",
        ),
        (
            lambda source: edit(source / "moviedata/S1/test.npy", lambda y: y[..., 0]),
            r"test\.npy: has shape \(6, 2, 3\)",
        ),
        (
            lambda source: edit(source / "moviedata/S1/test.npy", lambda y: y[..., 1:]),
            r"its volumes are \(2, 3, 3\) but those of",
        ),
        (
            lambda source: (source / "moviedata/S1/test.npy").write_bytes(b"x" * 2000),
            r"test\.npy: not a plain NumPy array",
        ),
    ],
)
def test_what_is_wrong_is_named(parts, change, message):
    source, out, _, options = parts
    change(source)
    with pytest.raises(InputError, match=message):
        import_popham2021(source, out, options)
    assert not (out / "sub-01").exists()


def test_what_the_release_lacks_must_be_told(parts):
    source, out, _, options = parts
    with pytest.raises(InputError, match=r"holds no words; give a folder with TextGrids/alpha"):
        import_popham2021(source, out, ArrayOptions(films=options.films))
    with pytest.raises(InputError, match="holds no films; give the folder"):
        import_popham2021(source, out, ArrayOptions(stories=options.stories))
    with pytest.raises(InputError, match="no subject in it"):
        import_popham2021(options.films, out, options)


def test_two_data_sets_do_not_mix(parts, tmp_path):
    source, out, _, options = parts
    import_popham2021(source, out, options)
    world.write_shortclips(tmp_path / "shortclips")
    with pytest.raises(InputError, match="holds another data set, 'Popham"):
        import_shortclips(tmp_path / "shortclips", out)
