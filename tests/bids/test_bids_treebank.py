"""Brain Treebank: both importers end to end, on tiny data sets of the same layout."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import treebank_world as world
from treebank_world import CLEAN, FILM, RATE

from braid.bids import index_dataset, read_events, validate
from braid.bids.__main__ import main
from braid.bids.importers import Options, complete_treebank, import_treebank
from braid.bids.importers.brainvision import hdf5_blocks, write_in_blocks
from braid.common import InputError, read_json, read_table

pytest.importorskip(
    "cv2", reason="scene cuts: OpenCV needs the system's libGL", exc_type=ImportError
)

STEM = "sub-02/ieeg/sub-02_task-movie_run-01"
CONVERTED = ["LA1", "LA2x", "#RB1", "R_B2", "DC4", "TRIG1"]  # how the conversion writes LABELS


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    world.write_tiny_film(folder)
    return folder


@pytest.fixture(scope="module")
def imported(tmp_path_factory, films):
    """Native data set and what was made of it, with its film."""
    root = tmp_path_factory.mktemp("native")
    samples = world.write_native(root, extra=1)
    out = tmp_path_factory.mktemp("made") / "bids"
    report = import_treebank(root, out, Options(films=films))
    return root, out, samples, dict(zip(report["measure"], report["value"], strict=True))


@pytest.fixture
def metadata(tmp_path) -> Path:
    folder = tmp_path / "metadata"
    world.write_metadata(folder)
    return folder


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def recorded(root: Path) -> tuple[list[str], np.ndarray]:
    import mne

    raw = mne.io.read_raw(root / f"{STEM}_ieeg.vhdr", verbose="ERROR")
    assert raw.info["sfreq"] == RATE
    return raw.ch_names, raw.get_data() * 1e6


# the native layout ------------------------------------------------------------------------------


def test_the_result_is_valid_bids(imported):
    verdict = validate(imported[1])
    assert verdict["errors"] == []


def test_samples_are_the_original_microvolts(imported):
    _, out, samples, measures = imported
    names, data = recorded(out)
    assert names == CLEAN
    assert measures["datasets without a label, left out"] == 1
    np.testing.assert_allclose(data, samples, rtol=1e-6, atol=1e-5)
    assert "IEEE_FLOAT_32" in (out / f"{STEM}_ieeg.vhdr").read_text()


def test_channels_and_contacts(imported):
    _, out, _, measures = imported
    channels = read_table(out / f"{STEM}_channels.tsv").set_index("name")
    assert list(channels.index) == CLEAN
    assert list(channels["type"]) == ["SEEG"] * 4 + ["MISC", "TRIG"]
    assert list(channels["status"].fillna("n/a")) == ["good"] * 3 + ["bad", "n/a", "n/a"]
    assert list(channels["group"].fillna("n/a")) == ["LA", "LA", "RB", "RB", "n/a", "n/a"]
    contacts = read_table(out / "sub-02/ieeg/sub-02_electrodes.tsv").set_index("name")
    assert list(contacts.index) == CLEAN[:4]
    assert list(contacts.loc["RB1", ["x", "y", "z", "region_dkt"]]) == [70, 92, 122, "bankssts"]
    assert contacts["x"].isna().sum() == measures["contacts without a localization"] == 1
    assert contacts["region_desikan"].isna().sum() == 2  # one empty, one without a row
    assert measures["bad channels"] == 1
    assert measures["corrupted labels that no channel has"] == 1


def test_coordinates_claim_no_space(imported):
    out = imported[1]
    system = read_json(out / "sub-02/ieeg/sub-02_coordsystem.json")
    assert system["iEEGCoordinateSystem"] == "Other"
    assert system["iEEGCoordinateUnits"] == "n/a"
    assert not list(out.rglob("*space-*"))


def test_words_are_where_they_were_said(imported):
    _, out, _, measures = imported
    events = read_events(out / f"{STEM}_events.tsv")
    words = events[events["trial_type"] == "word"]
    truth = world.recorded_at(words["movie_time"])
    assert np.abs(words["onset"] - truth).max() <= 1.01 / RATE
    assert (words["sample"] == (words["onset"] * RATE).round()).all()
    np.testing.assert_allclose(words["duration"], 0.2, atol=1.01 / RATE)
    assert words["text"].tolist()[3:5] == ["null", 'so "NA"']
    assert words["sentence"].iloc[0] == "Sentence 0 of the film."
    assert {name: measures[name] for name in measures if name.startswith("words")} == {
        "words with empty cells, left out": 1,
        "words": 76,
        "words interrupted by a pause": 1,
        "words after the last trigger": 4,
    }
    assert len(words) == 76


def test_film_and_pause_are_on_the_recordings_clock(imported):
    events = read_events(imported[1] / f"{STEM}_events.tsv")
    shown = events[events["trial_type"].isin(["film", "pause"])]
    assert list(shown["trial_type"]) == ["film", "pause", "film"]
    onsets = [world.LEAD, world.LEAD + world.PAUSE_AT]
    onsets.append(onsets[1] + world.PAUSE)
    np.testing.assert_allclose(shown["onset"], onsets, atol=1.01 / RATE)
    np.testing.assert_allclose(shown["duration"].iloc[1], world.PAUSE, atol=1.01 / RATE)
    np.testing.assert_allclose(
        shown["stim_time"], [0, np.nan, world.PAUSE_AT], atol=2 / RATE, equal_nan=True
    )


def test_scene_cuts_come_from_the_film(imported):
    _, out, _, measures = imported
    events = read_events(out / f"{STEM}_events.tsv")
    cuts = events[events["trial_type"] == "scene_cut"]
    assert measures["origin of scene cuts"] == "PySceneDetect"
    np.testing.assert_allclose(cuts["stim_time"], world.CUTS, atol=0.5 / world.FRAMES)
    np.testing.assert_allclose(cuts["onset"], world.recorded_at(cuts["movie_time"]), atol=1e-3)
    # at 10 s sentence 3 is being said, sentence 4 begins at 10.3 s
    for column, number in (("sentence", 3), ("sentence_preceding", 3), ("sentence_following", 4)):
        assert cuts[column].iloc[0] == f"Sentence {number} of the film."


def test_the_film_was_checked(imported):
    measures = imported[3]
    assert measures["film: brightness r"] > 0.98
    assert abs(measures["film: frame shift"]) <= 1
    assert measures["film: frame rate"] == pytest.approx(world.FRAMES, abs=0.1)


def test_report_is_kept_with_the_data(imported):
    table = read_table(imported[1] / "code" / "sub-02_import.tsv").set_index("measure")
    assert table.loc["words", "value"] == "76"


def test_the_rooms_read_it(imported):
    from braid.stimuli import events_of

    out = imported[1]
    spec = {"root": out, "kind": "ieeg", "subjects": ["02"], "tasks": ["movie"], "runs": ["01"]}
    index = index_dataset("treebank", spec)
    assert index["n_targets"].iloc[0] == 6
    units = {"kind": "words", "context_words": 100, "sentence_column": "sentence_idx"}
    words = events_of(index, out, units)
    assert len(words) == 76 and words["frame_time"].notna().all()
    assert words["text"].iloc[4] == 'word0 word1 word2 null so "NA"'
    vision = {"kind": "words", "trial_types": ["scene_cut"], "text_column": "sentence"}
    cuts = events_of(index, out, {**vision, "context_words": 0})
    assert cuts["text"].iloc[0] == "Sentence 3 of the film."


@pytest.mark.parametrize("rule", ["nearest", "preceding", "following"])
def test_scene_cuts_find_the_sentences_that_the_importer_finds(imported, rule):
    from braid.stimuli import events_of

    out = imported[1]
    spec = {"root": out, "kind": "ieeg", "subjects": ["02"], "tasks": ["movie"], "runs": ["01"]}
    index = index_dataset("treebank", spec)
    units = {"kind": "scene_cuts", "sentence_match": rule, "sentence_column": "sentence_idx"}
    written = events_of(index, out, {**units, "sentence_text_column": "sentence"})
    rows = read_events(out / f"{STEM}_events.tsv")
    rows = rows[rows["trial_type"] == "scene_cut"]
    column = "sentence" if rule == "nearest" else f"sentence_{rule}"
    assert list(written["text"]) == list(rows[column])
    np.testing.assert_allclose(written["frame_time"], world.CUTS, atol=0.5 / world.FRAMES)
    # sentence 3 is one of five words
    joined = events_of(index, out, units)["text"]
    number = {"nearest": 3, "preceding": 3, "following": 4}[rule]
    assert joined.iloc[0] == " ".join(f"word{k}" for k in range(5 * number, 5 * number + 5))
    # stretches end where the film was paused
    first, last = world.LEAD + world.PAUSE_AT, world.LEAD + world.PAUSE_AT + world.PAUSE
    assert written["stretch_end"].iloc[0] == pytest.approx(first, abs=1.01 / RATE)
    assert written["stretch_start"].iloc[-1] == pytest.approx(last, abs=1.01 / RATE)
    assert written["stretch_end"].iloc[-1] == pytest.approx(world.RECORDED)


def test_a_second_import_adds_subjects_and_never_overwrites(imported, tmp_path):
    root = imported[0]
    out = tmp_path / "bids"
    import_treebank(root, out)
    with pytest.raises(InputError, match="sub-02: is there already; remove it"):
        import_treebank(root, out)
    with pytest.raises(InputError, match="no recording of subject 7; there are: 2"):
        import_treebank(root, out, Options(subjects=(7,)))
    with pytest.raises(InputError, match="is there and was not imported here"):
        import_treebank(root, tmp_path)
    with pytest.raises(InputError, match="which stays as it is"):
        import_treebank(root, root / "bids")


def test_without_films_there_are_words_and_no_pictures(imported, tmp_path):
    report = import_treebank(imported[0], tmp_path / "bids")
    events = read_events(tmp_path / "bids" / f"{STEM}_events.tsv")
    assert events["stim_file"].isna().all() and events["movie_time"].notna().sum() == 78
    assert "none" in set(report["value"]) and not (tmp_path / "bids" / "stimuli").exists()
    assert validate(tmp_path / "bids")["errors"] == []


def test_annotated_scenes_are_preferred_to_the_film(films, tmp_path):
    root = tmp_path / "native"
    root.mkdir()
    world.write_native(root)
    (root / "scene_annotations").mkdir()
    (root / "scene_annotations" / f"{FILM}.csv").write_text("start\n0\n12.5\n39.5\n")
    report = import_treebank(root, tmp_path / "bids", Options(films=films))
    events = read_events(tmp_path / "bids" / f"{STEM}_events.tsv")
    cuts = events[events["trial_type"] == "scene_cut"]
    assert list(cuts["movie_time"]) == [12.5]
    values = dict(zip(report["measure"], report["value"], strict=True))
    assert values["origin of scene cuts"] == "annotations"
    assert values["scene cuts after the last trigger"] == 1


def write_ramps(path: Path, n_samples: int, chunks: tuple[int] | None = None) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for number in range(3):
            ramp = np.arange(n_samples, dtype=float) + number
            file.create_dataset(f"data/electrode_{number}", data=ramp, chunks=chunks)


@pytest.mark.parametrize(
    ("chunks", "sizes"),
    [
        (None, [10_000, 10_000, 5_000]),
        ((4_000,), [8_000, 8_000, 8_000, 1_000]),  # blocks end where chunks end
        ((13_000,), [13_000, 12_000]),
    ],
)
def test_samples_are_written_block_by_block(tmp_path, chunks, sizes):
    write_ramps(tmp_path / "a.h5", 25_000, chunks)
    found = [block.shape for block in hdf5_blocks(tmp_path / "a.h5", 2, block=10_000)]
    assert found == [(2, size) for size in sizes]
    blocks = hdf5_blocks(tmp_path / "a.h5", 2, block=10_000)
    assert write_in_blocks(tmp_path, "a", ["x", "y"], 100.0, blocks) == 25_000
    stored = np.fromfile(tmp_path / "a.eeg", dtype="<f4").reshape(25_000, 2)
    assert (stored[:, 1] == np.arange(25_000) + 1).all()


def test_memory_does_not_grow_with_the_recording(tmp_path):
    import tracemalloc

    peaks = []
    for n_samples in (100_000, 800_000):
        write_ramps(tmp_path / "a.h5", n_samples, (5_000,))
        tracemalloc.start()
        blocks = hdf5_blocks(tmp_path / "a.h5", 3, block=10_000)
        write_in_blocks(tmp_path, f"n{n_samples}", list("xyz"), 100.0, blocks)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 3 * 100_000 * 4


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda file: file.__delitem__("data/electrode_1"), "no dataset data/electrode_1"),
        (lambda file: file.__delitem__("data"), "no dataset data/electrode_0"),
        (
            lambda file: (
                file.__delitem__("data/electrode_2"),
                file.create_dataset("data/electrode_2", data=np.zeros(7)),
            ),
            r"data/electrode_2 has the shape \(7,\)",
        ),
        (
            lambda file: file.create_dataset("data/electrode_6", data=np.zeros(98304)),
            None,  # one more than labels: allowed
        ),
        (
            lambda file: [
                file.create_dataset(f"data/electrode_{k}", data=np.zeros(98304)) for k in (6, 7)
            ],
            "has 8 datasets but electrode_labels.json 6 labels",
        ),
    ],
)
def test_recordings_that_do_not_fit_their_labels(tmp_path, edit, said):
    import h5py

    root = tmp_path / "native"
    root.mkdir()
    world.write_native(root)
    with h5py.File(root / "sub_2_trial000.h5", "a") as file:
        edit(file)
    if said is None:
        import_treebank(root, tmp_path / "bids")
    else:
        with pytest.raises(InputError, match=said):
            import_treebank(root, tmp_path / "bids")
        assert not (tmp_path / "bids").exists()


# the BIDS conversion ----------------------------------------------------------------------------


def complete(tmp_path: Path, metadata: Path, names=None, **options) -> tuple[Path, Path, dict]:
    source, out = tmp_path / "converted", tmp_path / "completed"
    world.write_converted(source, names or CONVERTED)
    before = digests(source)
    report = complete_treebank(source, metadata, out, Options(**options))
    assert digests(source) == before  # the original stays as it is
    return source, out, dict(zip(report["measure"], report["value"], strict=True))


def test_trap_1_events_are_built(tmp_path, metadata, imported, films):
    source, out, _ = complete(tmp_path, metadata, films=films)
    assert not list(source.rglob("*_events.tsv"))
    events = (out / f"{STEM}_events.tsv").read_bytes()
    assert events == (imported[1] / f"{STEM}_events.tsv").read_bytes()
    assert validate(out)["errors"] == []


def test_trap_2_labels_are_matched_without_their_marks(tmp_path, metadata):
    source, out, measures = complete(tmp_path, metadata)
    lost = read_table(source / "sub-02/ieeg/sub-02_electrodes.tsv")
    assert lost["x"].isna().sum() == 5
    contacts = read_table(out / "sub-02/ieeg/sub-02_electrodes.tsv").set_index("name")
    assert list(contacts["x"].dropna().index) == ["LA1", "LA2", "RB1"]
    assert contacts.loc["RB1", "region_dkt"] == "bankssts"
    assert measures["contacts without a localization"] == 1
    names, data = recorded(out)
    assert names == CLEAN
    np.testing.assert_allclose(data, recorded(source)[1], rtol=1e-12)


def test_trap_3_numbered_channels_get_their_labels_and_the_last_has_none(tmp_path, metadata):
    _, out, measures = complete(tmp_path, metadata, [f"iEEG{k:03d}" for k in range(7)])
    names, _ = recorded(out)
    assert names == [*CLEAN, "iEEG006"]
    channels = read_table(out / f"{STEM}_channels.tsv").set_index("name")
    assert list(channels.loc["iEEG006", ["type", "status_description"]]) == ["MISC", "has no label"]
    assert measures["channels without a label"] == 1
    contacts = read_table(out / "sub-02/ieeg/sub-02_electrodes.tsv")
    assert list(contacts["name"]) == CLEAN[:4] and contacts["x"].notna().sum() == 3
    assert validate(out)["errors"] == []


def test_trap_4_types_and_status_are_made_anew(tmp_path, metadata):
    source, out, _ = complete(tmp_path, metadata)
    old = read_table(source / f"{STEM}_channels.tsv").set_index("name")
    assert list(old.loc[["DC4", "R_B2"], "status"]) == ["bad", "good"]
    channels = read_table(out / f"{STEM}_channels.tsv").set_index("name")
    assert list(channels.loc[["DC4", "TRIG1"], "type"]) == ["MISC", "TRIG"]
    assert channels["status"].dropna().to_dict() == {
        "LA1": "good",
        "LA2": "good",
        "RB1": "good",
        "RB2": "bad",
    }
    sidecar = read_json(out / f"{STEM}_ieeg.json")
    counts = [sidecar[f"{kind}ChannelCount"] for kind in ("SEEG", "Misc", "Trigger")]
    assert counts == [4, 1, 1]


def test_trap_5_no_reference_no_space_no_age_is_claimed(tmp_path, metadata):
    _, out, _ = complete(tmp_path, metadata)
    assert read_json(out / f"{STEM}_ieeg.json")["iEEGReference"] == "unknown"
    system = read_json(out / "sub-02/ieeg/sub-02_coordsystem.json")
    assert system["iEEGCoordinateSystem"] == "Other" and "MNI" not in json.dumps(system)
    people = pd.read_csv(out / "participants.tsv", sep="\t", keep_default_na=False)
    assert people.to_dict("records") == [
        {"participant_id": "sub-02", "hand": "n/a", "age": "n/a", "sex": "n/a"}
    ]


@pytest.mark.parametrize("suffix", [".vhdr", ".eeg", ".vmrk"])
def test_trap_6_annexed_content_that_is_absent_is_named(tmp_path, metadata, suffix):
    import mne_bids

    source = tmp_path / "converted"
    world.write_converted(source, CONVERTED)
    path = source / f"{STEM}_ieeg{suffix}"
    path.unlink()
    path.symlink_to(f"../../.git/annex/objects/aa/bb/key/key{suffix}")
    with pytest.raises(
        InputError, match=rf"_ieeg\{suffix}: git-annex file whose content has not been"
    ):
        complete_treebank(source, metadata, tmp_path / "completed")
    assert not (tmp_path / "completed").exists()
    # why the recordings are not looked for by this: it finds none, and says nothing
    assert mne_bids.find_matching_paths(source, suffixes="ieeg", extensions=suffix) == []


def test_recordings_and_labels_of_different_versions(tmp_path, metadata):
    source, out = tmp_path / "converted", tmp_path / "completed"
    world.write_converted(source, ["LA1", "LA3", *CONVERTED[2:]])
    with pytest.raises(InputError, match=r"channel 2 is 'LA3' but label 2 .* is 'LA2\*'"):
        complete_treebank(source, metadata, out)
    with pytest.raises(InputError, match=r"lies in .*converted, which stays as it is"):
        complete_treebank(source, metadata, source / "derivatives" / "completed")


def test_recordings_are_linked_or_copied(tmp_path, metadata, films):
    _, out, _ = complete(tmp_path, metadata, films=films)
    assert (out / f"{STEM}_ieeg.eeg").is_symlink()
    assert (out / "stimuli" / f"{FILM}.mkv").is_symlink()
    copied = tmp_path / "copied"
    options = Options(films=films, copy=True)
    complete_treebank(tmp_path / "converted", metadata, copied, options)
    assert not [path for path in copied.rglob("*") if path.is_symlink()]
    assert validate(copied)["errors"] == []


# command line -----------------------------------------------------------------------------------


def test_command_line(tmp_path, metadata, capsys):
    source, out = tmp_path / "converted", tmp_path / "completed"
    world.write_converted(source, CONVERTED)
    command = ["import", "treebank-bids", str(source), "--metadata", str(metadata)]
    assert main([*command, "--out", str(out), "--subjects", "2", "--scenes", "none"]) == 0
    assert "\twords\t76\n" in capsys.readouterr().out
    assert main([*command, "--out", str(out)]) == 1
    assert "error: " in capsys.readouterr().err
    assert main([*command, "--out", str(out), "--film-offset", "x"]) == 1
    assert "give it as FILM=SECONDS" in capsys.readouterr().err
