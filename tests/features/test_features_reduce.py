"""Sparse random projection: its law, its seed, and what it is applied to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from braid.common import InputError
from braid.features import FeatureStore, extract, load_features
from braid.features.reduce import johnson_lindenstrauss, projection_matrix, reduction_of
from braid.models import Layer, load_model
from braid.models.registry import read_registry

Tiny = Callable[[str], dict[str, Any]]
Film = tuple[Path, np.ndarray]


def test_dimension_is_the_published_bound() -> None:
    found = [johnson_lindenstrauss(n, 0.1) for n in (1000, 5000, 8000, 10_000)]
    assert found == [5920, 7300, 7703, 7894]


def test_matrix_is_that_of_the_paper() -> None:
    width, dim = 10_000, 400
    matrix = projection_matrix(width, dim, 3)
    density = 1 / np.sqrt(width)
    assert matrix.shape == (dim, width) and matrix.dtype == np.float32
    # 40,000 entries are expected; five standard deviations of a binomial
    assert abs(matrix.nnz - density * matrix.shape[0] * width) < 5 * 200
    np.testing.assert_allclose(np.abs(matrix.data), 1 / np.sqrt(density * dim), rtol=1e-6)
    assert abs((matrix.data > 0).mean() - 0.5) < 0.0125
    # entries are spread evenly over rows and columns
    for axis, expected in ((0, density * dim), (1, density * width)):
        counts = np.diff(matrix.tocsc().indptr if axis == 0 else matrix.indptr)
        assert abs(counts.mean() - expected) < 0.05 * expected
        assert 0.8 < counts.var() / (expected * (1 - density)) < 1.25
    again = projection_matrix(width, dim, 3)
    assert (again != matrix).nnz == 0
    assert (projection_matrix(width, dim, 4) != matrix).nnz > matrix.nnz


def test_distances_are_kept_within_the_bound() -> None:
    n, eps = 30, 0.3
    dim = johnson_lindenstrauss(n, eps)
    points = np.random.default_rng(0).standard_normal((n, 20_000)) ** 3
    projected = (projection_matrix(20_000, dim, 0) @ points.T).T
    a, b = np.triu_indices(n, 1)
    before = ((points[a] - points[b]) ** 2).sum(1)
    after = ((projected[a] - projected[b]) ** 2).sum(1)
    assert dim == 377
    assert (np.abs(after / before - 1) < eps).all()


def _extract(
    entry: dict[str, Any], units: pd.DataFrame, film: Film, store: Path
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Keys and features."""
    manifest = extract(load_model("mine", entry), units, film[0], store)
    keys = [layer["key"] for layer in manifest["layers"]]
    return keys, {name: v.values.copy() for name, v in load_features(manifest, store).items()}


def test_only_layers_that_are_too_wide_are_projected(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    flat = {"module": "layers.0", "pooling": "flatten", "name": "wide"}
    entry = {**tiny("vit"), "layers": [flat, "layers.1"]}
    _, plain = _extract(entry, units, film, tmp_path)
    keys, found = _extract({**entry, "reduce": {"dim": 40, "seed": 7}}, units, film, tmp_path)
    width = plain["wide"].shape[1]
    assert width == 17 * 16 and found["wide"].shape == (10, 40)
    expected = (projection_matrix(width, 40, 7) @ plain["wide"].T).T
    np.testing.assert_allclose(found["wide"], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["layers.1"], plain["layers.1"])
    assert FeatureStore(tmp_path).describe(keys[0])["fields"]["reduce"] == {
        "method": "srp", "dim": 40, "seed": 7,
    }  # fmt: skip


def test_tokens_of_texts_side_by_side(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    """Every text is padded to the same length, as the library pads it, and then projected."""
    torch, library = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tiny("bert")["path"]
    flat = {"module": "encoder.layer.1", "pooling": "flatten"}
    entry = {**tiny("bert"), "layers": [flat], "max_tokens": 9}
    texts = units["text"].tolist()
    words = library.AutoTokenizer.from_pretrained(folder)
    text = words(texts, padding="max_length", max_length=9, return_tensors="pt")
    assert text["attention_mask"].sum(1).unique().numel() > 2
    network = library.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        state = network(**text, output_hidden_states=True).hidden_states[2]
    expected = state.flatten(1).numpy()
    for name, rows in (("all", slice(None)), ("some", slice(1, 4))):
        _, found = _extract(entry, units.iloc[rows], film, tmp_path / name)
        np.testing.assert_allclose(found["encoder.layer.1"], expected[rows], rtol=0, atol=1e-6)
    _, found = _extract({**entry, "reduce": {"dim": 50}}, units, film, tmp_path)
    wanted = (projection_matrix(expected.shape[1], 50, 0) @ expected.T).T
    np.testing.assert_allclose(found["encoder.layer.1"], wanted, atol=1e-5)
    del entry["max_tokens"]
    with pytest.raises(InputError, match=r"encoder\.layer\.1 lays the tokens .* set 'max_tokens'"):
        load_model("mine", entry)


def test_fused_tokens_side_by_side(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    """A unit's tokens are the same whatever the length of the others' texts."""
    module = "text_encoder.bert.encoder.layer.1"
    flat = {"module": module, "tokens": "text", "pooling": "flatten"}
    entry = {**tiny("albef"), "layers": [flat], "max_tokens": 9}
    _, found = _extract(entry, units, film, tmp_path / "all")
    assert found[module].shape == (10, 9 * 16)
    for row in (1, 2):
        _, alone = _extract(entry, units.iloc[[row]], film, tmp_path / str(row))
        np.testing.assert_allclose(alone[module][0], found[module][row], rtol=0, atol=2e-6)


def test_what_the_study_of_seeg_reduces(root: Path) -> None:
    """The last layers that the study's table lists as projected, and no others."""
    registry = read_registry(root / "config" / "models.yaml")
    study = yaml.safe_load((root / "config" / "studies" / "seeg_integration.yaml").read_text())
    for analysis in study["analyses"].values():
        assert analysis["layers"] == "last"
        dims = {}
        for name in analysis["models"]:
            last = registry[name]["layers"][-1]
            last = {"module": last} if isinstance(last, str) else last
            label = str(last.get("module", last.get("output")))
            pooling = last.get("pooling") or registry[name].get("pooling", "mean")
            layer = Layer(label, label, None, "text", pooling)
            if reduced := reduction_of(name, registry[name], layer, 8000):
                assert pooling == "flatten"
                dims[name] = reduced["dim"]
        projected = ("slip-combo-language", "slip-clip-language", "albef-fusion", "blip-fusion")
        assert dims == dict.fromkeys(projected, 7703)


def test_reduction_is_part_of_the_key(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    flat = {"module": "layers.0", "pooling": "flatten"}
    entry = {**tiny("vit"), "layers": [flat]}
    asked: list[dict[str, Any]] = [
        {}, {"dim": 40}, {"dim": 41}, {"dim": 40, "seed": 1}, {"eps": 0.9}, {"eps": 0.95},
    ]  # fmt: skip
    keys = [_extract({**entry, "reduce": reduce}, units, film, tmp_path)[0][0] for reduce in asked]
    assert len(set(keys)) == len(asked)
    none = [{"method": "none"}, {"dim": 40, "layers": ["other*"]}]
    plain = _extract(entry, units, film, tmp_path)[0]
    # `{}` asks for nothing, as does a method none, and a list without this layer
    assert plain == [keys[0]]
    for reduce in none:
        assert _extract({**entry, "reduce": reduce}, units, film, tmp_path)[0] == plain


def test_wrong_reductions_are_named(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    for reduce, message in (
        ({"methd": "srp"}, "unknown key 'methd' of reduce; did you mean 'method'"),
        ({"method": "pca"}, "method 'pca' of reduce must be srp or none"),
        ({"dim": 0}, "dim of reduce must be auto or a positive whole number, not 0"),
        ({"eps": 1.5}, "eps 1.5 of reduce must lie between 0 and 1"),
    ):
        with pytest.raises(InputError, match=message):
            _extract({**tiny("vit"), "reduce": reduce}, units, film, tmp_path)
