"""Sound: tones and pulses whose spectrum and time are known, in films and in recordings."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from films import grey_frames, write_film

from braid.common import InputError, sha256_of
from braid.features import extract, load_features
from braid.features.sound import iter_sound, mel_filters
from braid.models import load_model
from braid.stimuli import events_of, units_of
from braid.stimuli.units import unit_digest


def _write(path: Path, sound: np.ndarray, rate: int, codec: str = "pcm_s16le") -> Path:
    """Write float sound (sample, channel) to a file whose suffix tells the container."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    layout = "mono" if sound.shape[1] == 1 else "stereo"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        samples = np.ascontiguousarray((sound * 32767).round().astype(np.int16).reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.format, layout=layout, rate=rate)
        for piece in resampler.resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode())
    return path


def _tone(frequency: float, seconds: float, rate: int = 44_100, channels: int = 1) -> np.ndarray:
    """A tone of amplitude 0.5."""
    wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


def _units(path: Path, root: Path, times: list[float]) -> pd.DataFrame:
    """Units of a story: times in a sound, no pictures."""
    return pd.DataFrame(
        {
            "unit": [f"u{k}" for k in range(len(times))],
            "stimulus": path.relative_to(root).as_posix(),
            "sha256": sha256_of(path),
            "stimulus_time": times,
            "frame_time": np.nan,
        }
    )


def _get(source: str, table: pd.DataFrame, root: Path, **settings: Any) -> np.ndarray:
    """Features of a source."""
    entry = {"source": source, "modality": "given", "settings": settings}
    manifest = extract(load_model("mine", entry), table, root, root / "store")
    return next(iter(load_features(manifest, root / "store").values())).values


@pytest.mark.parametrize("channels", [1, 2])
def test_envelope_follows_the_sound(tmp_path: Path, channels: int) -> None:
    silence = np.zeros((44_100, channels))
    sound = np.concatenate([silence, _tone(440, 1, channels=channels), silence])
    path = _write(tmp_path / "stimuli" / "beep.wav", sound, 44_100)
    times = [2.5, 0.0, 1.1, 1.9]
    found = _get("sound_envelope", _units(path, tmp_path, times), tmp_path, window=0.2)
    level = (0.5 / np.sqrt(2)) ** 0.6
    assert found.shape == (4, 1)
    np.testing.assert_allclose(found[[0, 1, 2], 0], [0, 0, level], atol=0.005)
    # half of this stretch is silent
    assert abs(found[3, 0] - level / 2) < 0.03 * level


def test_mel_bands_hold_their_tones(tmp_path: Path) -> None:
    tones = (300.0, 1000.0, 4000.0)
    sound = np.concatenate([_tone(frequency, 0.5) for frequency in tones])
    path = _write(tmp_path / "stimuli" / "tones.wav", sound, 44_100)
    table = _units(path, tmp_path, [0.1, 0.6, 1.1])
    found = _get("mel_spectrogram", table, tmp_path, window=0.3, bands=24, low=100, high=8000)
    mel = np.linspace(*[2595 * np.log10(1 + f / 700) for f in (100, 8000)], 26)
    centres = 700 * (10 ** (mel / 2595) - 1)[1:-1]
    for row, frequency in enumerate(tones):
        assert found[row].argmax() == np.abs(centres - frequency).argmin()
    # ten times the amplitude is 20 dB more
    _write(tmp_path / "stimuli" / "quiet.wav", sound / 10, 44_100)
    quiet = _units(tmp_path / "stimuli" / "quiet.wav", tmp_path, [0.1, 0.6, 1.1])
    softer = _get("mel_spectrogram", quiet, tmp_path, window=0.3, bands=24, low=100, high=8000)
    best = found.argmax(axis=1)
    np.testing.assert_allclose(found[range(3), best] - softer[range(3), best], 20, atol=0.05)


def test_filters_are_triangles_of_unit_sum() -> None:
    filters = mel_filters(20, 100, 8000)
    assert filters.shape == (20, 257)
    np.testing.assert_allclose(filters.sum(axis=1), 1)
    assert (filters >= 0).all() and (np.diff(filters.argmax(axis=1)) > 0).all()
    with pytest.raises(InputError, match=r"200 bands from 50 to 8000 Hz are narrower than"):
        mel_filters(200, 50, 8000)


def test_times_are_exact_and_streaming_changes_nothing(tmp_path: Path) -> None:
    # a click every second, for longer than a block of ten seconds
    sound = np.zeros((16_000 * 25, 1))
    sound[8000::16_000] = 0.9
    path = _write(tmp_path / "stimuli" / "clicks.wav", sound, 16_000)
    times = np.arange(0, 25, 0.01)
    table = _units(path, tmp_path, times.tolist())
    found = _get("sound_envelope", table, tmp_path, window=0.01)[:, 0]
    np.testing.assert_array_equal(np.flatnonzero(found > 0.01), np.arange(25) * 100 + 50)
    order = np.random.default_rng(0).permutation(len(table))[:40]
    some = _get("sound_envelope", table.iloc[order], tmp_path, window=0.01)[:, 0]
    np.testing.assert_allclose(some, found[order], atol=1e-7)


def test_resampling_gives_the_same_sound(tmp_path: Path) -> None:
    path = _write(tmp_path / "stimuli" / "tone.wav", _tone(500, 1, rate=48_000), 48_000)
    sound = np.concatenate(list(iter_sound(path)))
    assert abs(len(sound) - 16_000) <= 32
    expected = _tone(500, 1, rate=16_000)[:, 0]
    middle = slice(500, 15_000)
    np.testing.assert_allclose(sound[middle], expected[middle], atol=0.01)


def test_sound_of_a_film(tmp_path: Path) -> None:
    import av

    path = tmp_path / "stimuli" / "film.mkv"
    path.parent.mkdir()
    sound = np.concatenate([np.zeros((44_100, 1)), _tone(440, 1)])
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=10)
        video.pix_fmt, video.width, video.height = "bgr0", 32, 32
        audio = container.add_stream("pcm_s16le", rate=44_100, layout="mono")
        for frame in grey_frames(20):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        samples = (sound * 32767).astype(np.int16).reshape(1, -1)
        heard = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        heard.sample_rate, heard.pts, heard.time_base = 44_100, 0, Fraction(1, 44_100)
        container.mux(audio.encode(heard))
        for stream in (video, audio):
            container.mux(stream.encode())
    table = _units(path, tmp_path, [0.2, 1.2]).assign(frame_time=[0.2, 1.2])
    found = _get("sound_envelope", table, tmp_path, window=0.5)
    np.testing.assert_allclose(found[:, 0], [0, (0.5 / np.sqrt(2)) ** 0.6], atol=0.005)


def test_units_without_sound_are_zero_and_what_is_wrong_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "stimuli" / "tone.wav", _tone(440, 1), 44_100)
    table = _units(path, tmp_path, [0.1, 0.2])
    silent = table.copy()
    silent.loc[1, "stimulus"] = "n/a"
    found = _get("sound_envelope", silent, tmp_path)
    assert found[0, 0] > 0.3 and found[1, 0] == 0
    with pytest.raises(InputError, match=r"tone\.wav: sound is asked for at 4\.000 s \(unit u1"):
        _get("sound_envelope", table.assign(stimulus_time=[0.1, 4.0]), tmp_path)
    film = write_film(tmp_path / "stimuli" / "mute.mkv", grey_frames(5), rate=10)
    with pytest.raises(InputError, match=r"mute\.mkv: it has no sound"):
        _get("sound_envelope", _units(film, tmp_path, [0.0]), tmp_path)
    with pytest.raises(InputError, match="no unit has a stimulus and a time in it"):
        _get("sound_envelope", table.assign(stimulus_time=np.nan), tmp_path)
    with pytest.raises(InputError, match="low 5000 Hz and high 4000 Hz must rise between"):
        _get("mel_spectrogram", table, tmp_path, low=5000, high=4000)
    (tmp_path / "stimuli" / "broken.wav").write_bytes(b"RIFF and nothing")
    broken = _units(tmp_path / "stimuli" / "broken.wav", tmp_path, [0.0])
    with pytest.raises(InputError, match=r"broken\.wav: its sound cannot be decoded"):
        _get("sound_envelope", broken, tmp_path)


def _story(root: Path, sound: str) -> pd.DataFrame:
    """Events of a run in which one word is said four times, in the same context."""
    rows = [f"{k + 0.5}\t0.2\tword\tha\t{sound}\t{k + 0.2}" for k in range(4)]
    table = "\n".join(["onset\tduration\ttrial_type\ttext\tstim_file\tstim_time", *rows])
    (root / "run_events.tsv").write_text(table + "\n")
    run = {"subject": "01", "run": "task-story", "path": "x", "events": "run_events.tsv"}
    index = pd.DataFrame([{**run, "sampling_frequency": 100.0, "n_samples": 1000}])
    return events_of(index, root, {"kind": "words", "context_words": 0})


def test_a_word_said_again_is_heard_where_it_is_said_again(tmp_path: Path) -> None:
    # the second and the fourth word are silent
    sound = np.concatenate([_tone(440, 1), np.zeros((44_100, 1))] * 2)
    _write(tmp_path / "stimuli" / "story.wav", sound, 44_100)
    events = _story(tmp_path, "story.wav")
    units = units_of([events])
    found = _get("sound_envelope", units, tmp_path, window=0.3)[:, 0]
    heard = pd.Series(found, index=units["unit"])[events["unit"]].to_numpy()
    level = (0.5 / np.sqrt(2)) ** 0.6
    np.testing.assert_allclose(heard, [level, 0, level, 0], atol=0.005)
    # a subject who hears it another time hears the same units
    again = events.assign(onset=events["onset"] + 3)
    assert units_of([events, again]).equals(units)


def test_a_word_that_is_read_again_is_the_same_unit(tmp_path: Path) -> None:
    (tmp_path / "stimuli").mkdir()
    (tmp_path / "stimuli" / "story.tsv").write_text("word\nha\n")
    assert _story(tmp_path, "story.tsv")["unit"].nunique() == 1


def test_names_of_other_units_stay_so_that_stores_keep_their_use() -> None:
    seen = {"sha256": "ab", "frame_time": 1.25, "stimulus_time": 1.25}
    read = {"sha256": "n/a", "frame_time": np.nan, "stimulus_time": 3.5}
    text = {"text": "the red", "target_start": 4, "target_end": 7}
    assert unit_digest({**seen, **text}) == "65578d361d5b"
    assert unit_digest({**read, **text}) == "c2566621ba6c"


def test_the_key_depends_on_times_and_settings(tmp_path: Path) -> None:
    path = _write(tmp_path / "stimuli" / "tone.wav", _tone(440, 2), 44_100)
    table = _units(path, tmp_path, [0.1, 0.2])
    later = table.assign(stimulus_time=[0.1, 0.3])

    def key(source: str, units: pd.DataFrame, **settings: Any) -> str:
        entry = {"source": source, "modality": "given", "settings": settings}
        model = load_model("mine", entry)
        return extract(model, units, tmp_path, tmp_path / "store")["layers"][0]["key"]

    keys = {
        key("sound_envelope", table), key("sound_envelope", later),
        key("sound_envelope", table, window=1.0), key("mel_spectrogram", table),
    }  # fmt: skip
    assert len(keys) == 4
    assert key("sound_envelope", table, window=0.5) in keys
