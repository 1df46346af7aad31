"""The pairing probe: its units and shifts, its figures by hand, and a network that was trained."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter
from scipy.stats import binom

from braid.common import InputError
from braid.probe import PROBES_COLUMNS, load_matcher, pairing_of, probe_pairing
from braid.probe.pairing import compare_pairs

Tiny = Callable[[str], dict[str, Any]]
Film = tuple[Path, pd.DataFrame]
PARAMS = {"draws": 19, "min_shift": 12}


def test_figures_by_hand() -> None:
    true = np.array([3.0, 1, 2, 2])
    shifted = np.array([[1.0, 1, 0, 2], [1, 3, 2, 2]])
    found = compare_pairs(true, shifted)
    each = np.array([2.0, -1, 1, 0])
    assert found["n_units"] == 4 and found["n_draws"] == 2
    assert found["score_true"] == 2 and found["score_shifted"] == 1.5
    assert found["difference"] == pytest.approx(0.5)
    assert found["effect"] == pytest.approx(0.5 / each.std(ddof=1))
    assert found["share_higher"] == pytest.approx(2.5 / 4)
    assert found["null_sd"] == pytest.approx(0.5)
    assert found["p"] == pytest.approx(2 / 3)  # the second shift ties with the true pairing
    assert compare_pairs(true + 1, shifted)["p"] == pytest.approx(1 / 3)
    assert np.isnan(compare_pairs(np.ones(3), np.ones((2, 3)))["effect"])


def test_level_where_pictures_have_nothing_to_do_with_text() -> None:
    seconds = np.arange(300) * 1.0
    table = pd.DataFrame(
        {"unit": [f"u{k}" for k in range(300)], "stimulus": "film.mkv", "sha256": "none",
         "frame_time": seconds, "text": "something"}
    )  # fmt: skip
    p = []
    for seed in range(200):
        pairing = pairing_of(table, "nowhere", PARAMS, seed)
        rng = np.random.default_rng(seed)
        # slow, as films and stories are
        text, picture = lfilter([1], [1, -0.8], rng.standard_normal((2, 300, 3)), axis=1)
        score = text @ picture.T
        shifted = np.stack([score[np.arange(300), frames] for frames in pairing.shifted])
        p.append(compare_pairs(np.diag(score), shifted)["p"])
    assert np.sum(np.array(p) <= 0.05) <= binom.ppf(0.999, 200, 0.05)
    assert 0.4 < np.mean(p) < 0.6


def test_shifts_keep_their_distance(film: Film) -> None:
    root, table = film
    found = pairing_of(table.sample(frac=1, random_state=0), root, PARAMS, seed=1)
    assert [unit.name for unit in found.units] == list(table["unit"])
    assert found.shifted.shape == (19, 60)
    times = np.array([unit.frame_time for unit in found.units])
    assert np.abs(times[found.shifted] - times).min() >= 12
    assert (np.sort(found.shifted, axis=1) == np.arange(60)).all()
    assert len({tuple(rows) for rows in found.shifted}) == 19
    again, other = (pairing_of(table, root, PARAMS, seed=seed) for seed in (1, 2))
    assert np.array_equal(found.shifted, again.shifted)
    assert not np.array_equal(found.shifted, other.shifted)


def test_frames_stay_in_their_film(film: Film) -> None:
    root, table = film
    shutil.copy(root / "stimuli" / "film.mkv", root / "stimuli" / "second.mkv")
    second = table.assign(unit="v" + table["unit"], stimulus="stimuli/second.mkv")
    found = pairing_of(pd.concat([table, second]), root, PARAMS, seed=1)
    films = np.array([unit.stimulus for unit in found.units])
    assert (films[found.shifted] == films).all()


def test_units_that_cannot_be_paired_are_counted(
    film: Film, caplog: pytest.LogCaptureFixture
) -> None:
    root, table = film
    table = table.copy()
    table.loc[:4, "text"] = np.nan
    table.loc[3:9, "frame_time"] = np.nan
    with caplog.at_level(logging.INFO, "braid"):
        found = pairing_of(table, root, {**PARAMS, "units": 40}, seed=1)
    assert found.left_out == {"text": 5, "frame": 5, "limit": 10}
    assert "40 units; left out: 5 without text, 5 without a frame, 10 beyond" in caplog.text
    assert [found.units[k].name for k in (0, -1)] == ["u10", "u59"]
    with pytest.raises(InputError, match="none of 60 units has both a text and a frame"):
        pairing_of(table.assign(frame_time=np.nan), root, PARAMS, seed=1)


def test_film_too_short_for_the_shifts(film: Film) -> None:
    root, table = film
    with pytest.raises(
        InputError, match=r"too short to shift its frames by 45 s; lower 'min_shift"
    ):
        pairing_of(table, root, {**PARAMS, "min_shift": 45}, seed=1)


def trained_clip(
    entry: dict[str, Any], root: Path, table: pd.DataFrame, to: Path
) -> dict[str, Any]:
    """The tiny CLIP after contrastive training on half of the film's pairs."""
    import torch
    from safetensors.torch import save_file

    from braid.features.pictures import iter_pictures

    shutil.copytree(entry["path"], to)
    model = load_matcher("start", {**entry, "path": str(to)})
    units = pairing_of(table, root, PARAMS, seed=0).units[::2]
    text = model.collate(model.tokenize([unit.text for unit in units]))[0]["text"]
    image = torch.stack([model.see(p)["image"] for p in iter_pictures(units, root)])
    colour = torch.tensor([float("red" in unit.text) for unit in units])
    same = (colour[:, None] == colour[None]).float()
    network = model.module.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    torch.manual_seed(0)
    for _ in range(40):
        optimiser.zero_grad()
        cosine = network.encode_text(text, normalize=True) @ network.encode_image(
            image, normalize=True
        ).T  # fmt: skip
        torch.nn.functional.binary_cross_entropy_with_logits(10 * cosine, same).backward()
        optimiser.step()
    tensors = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, to / "open_clip_model.safetensors")
    return {**entry, "path": str(to)}


def test_a_trained_network_uses_the_pairing(tiny: Tiny, film: Film, tmp_path: Path) -> None:
    root, table = film
    entry = trained_clip(tiny("clip"), root, table, tmp_path / "trained")
    pairing = pairing_of(table, root, PARAMS, seed=1)
    rows = [
        probe_pairing(load_matcher("mine", entry, untrained, seed=3), pairing, root).iloc[0]
        for untrained in (False, True)
    ]
    assert [row["weights"] for row in rows] == ["trained", "untrained"]
    trained, untrained = rows
    assert trained["p"] == 1 / 20 and trained["share_higher"] > 0.95 and trained["effect"] > 1
    assert trained["difference"] == pytest.approx(
        trained["score_true"] - trained["score_shifted"], abs=1e-9
    )
    assert trained["difference"] > 5 * trained["null_sd"]
    assert abs(untrained["difference"]) < 0.1 * trained["difference"]


def test_a_fused_network_gives_one_row(tiny: Tiny, film: Film) -> None:
    root, table = film
    pairing = pairing_of(table, root, {"draws": 5, "min_shift": 12, "units": 40}, seed=1)
    model = load_matcher("mine", tiny("vilt_with_head"))
    found, again = (probe_pairing(model, pairing, root) for _ in range(2))
    assert list(found.columns) == list(PROBES_COLUMNS) and len(found) == 1
    assert found.equals(again)
    assert found.loc[0, "n_units"] == 40 and found.loc[0, "n_draws"] == 5
    # texts and frames are the same in every pairing, so that an additive score cannot differ
    assert 1 / 6 <= found.loc[0, "p"] <= 1


def test_changed_film_is_refused(tiny: Tiny, film: Film, tmp_path: Path) -> None:
    root, table = film
    pairing = pairing_of(table, root, PARAMS, seed=1)
    model = load_matcher("mine", tiny("clip"))
    with pytest.raises(InputError, match="no such file"):
        probe_pairing(model, pairing, tmp_path)
