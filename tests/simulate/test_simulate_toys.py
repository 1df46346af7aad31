"""The toy networks: what they learn from, how they are saved, and those that ship."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from braid.common import InputError
from braid.simulate import World, make_world, train_toys
from braid.simulate.toys_data import Bank, draw_caption, draw_matching, draw_narration, make_bank

NAMES = ("toy-vit", "toy-bert", "toy-clip", "toy-vilt")
TEXT = "the crimson disc that moves"


@pytest.fixture(scope="module")
def tiny(root: Path) -> World:
    """A world whose networks are trained for a few steps only."""
    spec = yaml.safe_load((root / "resources" / "world.yaml").read_text())
    spec["film"]["films"] = {"cinema": 60}
    spec["story"]["stories"] = {}
    steps = dict.fromkeys(NAMES, 4)
    spec["toys"] |= {"depth": 2, "pictures": 64, "batch": 16, "threads": 1, "steps": steps}
    return make_world(spec, 3)


@pytest.fixture(scope="module")
def bank(tiny: World) -> Bank:
    return make_bank(tiny, 60, "test")


@pytest.fixture(scope="module")
def trained(tiny: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    out = tmp_path_factory.mktemp("toys")
    train_toys(tiny, out, NAMES, 3)
    return out


def told(bank: Bank, text: str) -> dict[str, set[str]]:
    """Values that a text says of each attribute."""
    said: dict[str, set[str]] = {}
    for attribute, values in bank.grammar.meanings.items():
        for value, words in values.items():
            if set(words) & set(text.split()):
                said.setdefault(attribute, set()).add(value)
    return said


def test_captions_are_true(bank: Bank):
    generator = np.random.default_rng(0)
    for index in range(60):
        said = told(bank, draw_caption(bank, index, generator, whole=0.5))
        assert said
        assert all(values == {bank.values[index][name]} for name, values in said.items())


def test_matching_texts_are_what_they_claim(bank: Bank):
    generator = np.random.default_rng(0)
    wrong, lengths = [], {True: [], False: []}
    for repeat in range(20):
        for index in range(60):
            text, true = draw_matching(bank, index, generator)
            said = told(bank, text)
            false = [name for name in said if said[name] != {bank.values[index][name]}]
            assert bool(false) != true, (repeat, text)
            lengths[true].append(len(text.split()))
            if false:
                wrong.append(len(false) / len(said))
    # true and false texts are equally frequent and equally long, so that only pictures tell
    share = len(lengths[True]) / 1200
    assert abs(share - 0.5) < 3 * np.sqrt(0.25 / 1200)
    means = [np.mean(lengths[true]) for true in (True, False)]
    error = np.sqrt(sum(np.var(lengths[true]) / len(lengths[true]) for true in (True, False)))
    assert abs(means[0] - means[1]) < 3.5 * error
    # most negatives are hard: most of what they say is true
    assert np.mean([share < 1 for share in wrong]) > 0.5


def test_narration_repeats_only_what_it_means(bank: Bank):
    generator = np.random.default_rng(0)
    texts = [draw_narration(bank, generator) for _ in range(300)]
    assert all(len(values) == 1 for text in texts for values in told(bank, text).values())
    assert np.mean([" or " in text for text in texts]) > 0.5


def test_the_same_seed_gives_the_same_weights(tiny: World, trained: Path, tmp_path: Path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train_toys(tiny, tmp_path, ["toy-vilt"], 3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    again = load_file(tmp_path / "toy-vilt" / "model.safetensors")
    before = load_file(trained / "toy-vilt" / "model.safetensors")
    assert set(again) == set(before)
    # trained alone or beside the others, in the same process or not: the same numbers
    assert all(torch.equal(again[name], before[name]) for name in again)
    assert [path.name for path in tmp_path.iterdir()] == ["toy-vilt"]


def test_training_moves_every_weight_that_is_used(tiny: World, trained: Path, tmp_path: Path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    other = copy.deepcopy(dict(tiny.spec))
    other["toys"] |= {"steps": dict.fromkeys(NAMES, 1)}
    train_toys(make_world(other, 3), tmp_path, ["toy-vit", "toy-bert"], 3)
    for name in ("toy-vit", "toy-bert"):
        one = load_file(tmp_path / name / "model.safetensors")
        four = load_file(trained / name / "model.safetensors")
        still = [key for key in one if torch.equal(one[key], four[key])]
        assert not [key for key in still if "token_type" not in key], still


def test_transformers_load_them_without_missing_weights(trained: Path):
    transformers = pytest.importorskip("transformers")
    for name, classes in {
        "toy-vit": ("ViTModel", "ViTImageProcessor"),
        "toy-bert": ("BertForMaskedLM", "BertTokenizer"),
        "toy-vilt": ("ViltForImageAndTextRetrieval", "ViltProcessor"),
    }.items():
        _, info = getattr(transformers, classes[0]).from_pretrained(
            trained / name, output_loading_info=True
        )
        assert not info["missing_keys"], name
        assert not info["unexpected_keys"], name
        _, info = transformers.AutoModel.from_pretrained(trained / name, output_loading_info=True)
        assert {key.split(".")[0] for key in info["missing_keys"]} <= {"pooler"}, name
        assert getattr(transformers, classes[1]).from_pretrained(trained / name)


def test_the_saved_processor_gives_what_training_saw(bank: Bank, trained: Path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from braid.simulate.toys_training import pixels_of

    wanted = pixels_of(bank.images[:5])
    for name in ("toy-vit", "toy-vilt"):
        processor = transformers.AutoImageProcessor.from_pretrained(trained / name)
        pixels = processor(images=list(bank.images[:5]), return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(pixels, wanted, atol=1e-5, rtol=0)


def test_vilt_sees_in_training_what_it_sees_in_use(bank: Bank, trained: Path):
    """The shortcut of training equals the network's own path from pixels."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from braid.simulate.toys_training import encode, pixels_of, vilt_inputs

    network = transformers.ViltForImageAndTextRetrieval.from_pretrained(trained / "toy-vilt").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained / "toy-vilt")
    batch = encode(tokenizer, [TEXT, "a ring", "up"])
    pixels = pixels_of(bank.images[:3])
    with torch.inference_mode():
        short = network.vilt(**batch, **vilt_inputs(network, pixels)).pooler_output
        own = network.vilt(
            **batch, pixel_values=pixels, pixel_mask=torch.ones(3, 64, 64, dtype=torch.long)
        ).pooler_output
    torch.testing.assert_close(short, own, atol=1e-5, rtol=1e-5)


def test_open_clip_loads_the_folder(bank: Bank, trained: Path):
    torch = pytest.importorskip("torch")
    open_clip = pytest.importorskip("open_clip")
    from PIL import Image

    from braid.simulate.toys_training import pixels_of

    where = f"local-dir:{trained / 'toy-clip'}"
    network, _, preprocess = open_clip.create_model_and_transforms(where)
    tokenizer = open_clip.get_tokenizer(where)
    pixels = preprocess(Image.fromarray(bank.images[0]))
    torch.testing.assert_close(pixels, pixels_of(bank.images[:1])[0], atol=1e-5, rtol=0)
    ids = tokenizer([TEXT, "zebra"])
    assert ids.shape == (2, tiny_text_length(trained))
    words = tokenizer.tokenizer.convert_ids_to_tokens(ids[0].tolist())
    assert words[:7] == ["[CLS]", *TEXT.split(), "[SEP]"]
    # the summary is read at [SEP]: what stands behind it, padding, has no influence
    with torch.inference_mode():
        network.eval()
        whole = network.encode_text(ids[:1])
        padded = ids[:1].clone()
        padded[:, 10:] = 5
        torch.testing.assert_close(network.encode_text(padded), whole)
        other = ids[:1].clone()
        other[:, 3] = 6
        assert not torch.allclose(network.encode_text(other), whole, atol=1e-4)


def tiny_text_length(folder: Path) -> int:
    config = json.loads((folder / "toy-clip" / "open_clip_config.json").read_text())
    return config["model_cfg"]["text_cfg"]["context_length"]


def test_others_may_read_the_files(trained: Path):
    modes = {path.stat().st_mode & 0o777 for path in trained.glob("*/*")}
    assert len(modes) == 1, "weights are as readable as the settings beside them"


def test_accuracies_are_recorded(trained: Path):
    for name in NAMES:
        training = json.loads((trained / name / "training.json").read_text())
        assert training["seed"] == 3
        assert training["settings"]["steps"] == 4
        assert all(0 <= value <= 1 for value in training["accuracy"].values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"toys": None}, "section 'toys' is missing"),
        ({"width": None}, "key 'toys.width' is missing"),
        ({"wdith": 3}, "unknown key 'toys.wdith'"),
        ({"patch": 7}, "toys.patch is 7; give a divisor of picture.size"),
        ({"steps": {"toy-vit": 1}}, "key 'toys.steps.toy-bert' is missing"),
    ],
)
def test_bad_settings_are_named(tiny: World, tmp_path: Path, change: dict, message: str):
    spec = copy.deepcopy(dict(tiny.spec))
    if "toys" in change:
        del spec["toys"]
    else:
        merged = {**spec["toys"], **change}
        spec["toys"] = {key: value for key, value in merged.items() if value is not None}
    with pytest.raises(InputError, match=message):
        train_toys(make_world(spec, 3), tmp_path, ["toy-vit"], 3)
    assert not list(tmp_path.iterdir())


def test_unknown_network_is_named(tiny: World, tmp_path: Path):
    with pytest.raises(InputError, match="no toy network 'toy-vti'; there are toy-vit, toy-bert"):
        train_toys(tiny, tmp_path, ["toy-vti"], 3)
