"""Speed of feature extraction beside the bare network and other tools: `make bench`.

    python tests/bench/extraction.py                          # results/bench/extraction.json, .txt
    python tests/bench/extraction.py --thingsvision PYTHON    # also thingsvision, in its own
                                                              # environment, by its interpreter

Networks of real size with random weights: ViT-B/16 (timm) on pictures of 500 x 375 in JPEG files,
BERT-base (transformers) on texts of 4 to 32 words. `bare` is the forward pass alone on batches that
are decoded, prepared and on the device already, nothing kept. `braid` is `extract` into an empty
store: reading, decoding, preparing or tokenising, all 12 layers pooled, checked and written. They
take turns; rates are medians over the turns, in units per second. `share` is braid's rate over the
bare one; `share_cpu` is the same from the CPU time of all threads, which other load on the machine
disturbs least.

The tools are given one batch of the same pictures, one after the other; their CPU seconds compare
them, for load on the machine comes and goes. torchvision's `create_feature_extractor` gives one
layer per call here, as tools built around it work; a call stops after its layer, so that all layers
cost half of as many full passes. It gets batches that are decoded already and keeps the mean over
tokens in memory. thingsvision reads the same files, with its own loader, the same architecture and
number of threads, and keeps whole layers in memory: the last by itself, and all in one call, which
is its best setting. Means over tokens would have to be taken afterwards.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.common import sha256_of
from braid.features import extract
from braid.models import LoadedModel, load_model

LAYERS = 12
AIM = 0.9
WORDS = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in ("r", "s", "t", "n", "la")]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def pictures(root: Path, count: int) -> pd.DataFrame:
    """Write JPEG files and make their units table."""
    from PIL import Image

    rng = np.random.default_rng(0)
    rows = []
    (root / "stimuli").mkdir(parents=True)
    for k in range(count):
        coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
        path = root / "stimuli" / f"{k:04d}.jpg"
        Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
        rows.append((f"u{k}", f"stimuli/{path.name}", sha256_of(path), 0.0, "n/a"))
    return pd.DataFrame(rows, columns=["unit", "stimulus", "sha256", "frame_time", "text"])


def texts(count: int) -> pd.DataFrame:
    """Make the units table of texts."""
    rng = np.random.default_rng(1)
    made = [" ".join(rng.choice(WORDS, rng.integers(4, 33))) for _ in range(count)]
    return pd.DataFrame({"unit": [f"t{k}" for k in range(count)], "text": made})


def vit(folder: Path, device: str, layers: str = "blocks.{0..11}") -> LoadedModel:
    """ViT-B/16 of timm, some of its blocks, mean over tokens."""
    entry = {
        "source": "timm",
        "path": str(folder),
        "architecture": "vit_base_patch16_224",
        "modality": "vision",
        "layers": [layers],
    }
    return load_model("vit-b16", entry, untrained=True, device=device)


def bert(folder: Path, device: str) -> LoadedModel:
    """BERT-base of transformers, all blocks, mean over tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, PreTrainedTokenizerFast

    vocabulary = {word: k for k, word in enumerate([*SPECIAL, *WORDS])}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=inner, model_max_length=512, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    BertConfig().save_pretrained(folder)
    entry = {
        "source": "transformers",
        "path": str(folder),
        "modality": "language",
        "layers": ["encoder.layer.{0..11}"],
    }
    return load_model("bert-base", entry, untrained=True, device=device)


def prepared(model: LoadedModel, table: pd.DataFrame, root: Path, size: int) -> list[Any]:
    """Batches as the network takes them, on its device; texts from long to short, as `extract`."""
    import torch
    from PIL import Image

    batches: list[Any] = []
    if model.sees:
        assert model.see is not None
        shown = [
            model.see(np.asarray(Image.open(root / name).convert("RGB")))
            for name in table["stimulus"]
        ]
        for k in range(0, len(shown), size):
            part = shown[k : k + size]
            image = {key: torch.stack([one[key] for one in part]) for key in part[0]}
            batches.append((None, {key: value.to(model.device) for key, value in image.items()}))
        return batches
    assert model.tokenize is not None and model.collate is not None
    tokens = sorted(model.tokenize(list(table["text"])), key=len, reverse=True)
    for k in range(0, len(tokens), size):
        text, _ = model.collate(tokens[k : k + size])
        batches.append(({key: value.to(model.device) for key, value in text.items()}, None))
    return batches


def bare(model: LoadedModel, batches: Sequence[Any]) -> None:
    """Run the network and keep nothing."""
    import torch

    assert model.forward is not None
    with torch.inference_mode():
        for text, image in batches:
            model.forward(text, image)
    if model.device.startswith("cuda"):
        torch.cuda.synchronize()


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of wall time and of CPU time over all threads."""
    start, used = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - used


def against_bare(
    model: LoadedModel, table: pd.DataFrame, root: Path, size: int, turns: int
) -> dict[str, Any]:
    """Extraction beside the bare network."""
    batches = prepared(model, table, root, size)
    bare(model, batches[:1])
    seconds: dict[str, list[tuple[float, float]]] = {"bare": [], "braid": []}
    for _ in range(turns):
        seconds["bare"].append(timed(lambda: bare(model, batches)))
        with tempfile.TemporaryDirectory() as store:
            seconds["braid"].append(
                timed(lambda store=store: extract(model, table, root, store, batch_size=size))
            )
    wall = {name: statistics.median(w for w, _ in found) for name, found in seconds.items()}
    cpu = {name: statistics.median(c for _, c in found) for name, found in seconds.items()}
    return {
        "network": model.name,
        "device": model.device,
        "units": len(table),
        "batch": size,
        "layers": len(model.layers),
        "bare_rate": len(table) / wall["bare"],
        "braid_rate": len(table) / wall["braid"],
        "share": wall["bare"] / wall["braid"],
        "share_cpu": cpu["bare"] / cpu["braid"],
        "seconds": seconds,
    }


def one_call_per_layer(model: LoadedModel, batches: Sequence[Any], numbers: range) -> None:
    """Run torchvision's extractor for some layers, a call each, and take means over tokens."""
    import torch
    from torchvision.models.feature_extraction import create_feature_extractor

    assert model.module is not None
    for number in numbers:
        network = create_feature_extractor(model.module, [f"blocks.{number}.add_1"])
        with torch.inference_mode():
            for _, image in batches:
                (found,) = network(image["image"]).values()
                found.mean(1).cpu().numpy()


THINGSVISION = """
import json, sys, time, torch
from thingsvision import get_extractor
from thingsvision.utils.data import DataLoader, ImageDataset
root, out, size, threads, count = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
torch.set_num_threads(threads)
extractor = get_extractor(
    model_name="vit_base_patch16_224", source="timm", device="cpu", pretrained=False
)
names = [f"blocks.{k}" for k in range(count)]
dataset = ImageDataset(
    root=root, out_path=out, backend="pt", transforms=extractor.get_transformations()
)
def run(**which):
    batches = DataLoader(dataset=dataset, batch_size=size, backend="pt")
    start, used = time.perf_counter(), time.process_time()
    extractor.extract_features(batches=batches, flatten_acts=False, output_type="ndarray", **which)
    return time.perf_counter() - start, time.process_time() - used
run(module_name=names[0])
print(json.dumps({"one": run(module_name=names[-1]), "all": run(module_names=names)}))
"""


def thingsvision(python: str, root: Path, size: int, threads: int) -> dict[str, Any]:
    """Seconds of thingsvision in its own environment, after a warm-up."""
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(
            [python, "-c", THINGSVISION, str(root), out, *map(str, (size, threads, LAYERS))],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": ""},
        )
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def against_tools(
    made: Path, table: pd.DataFrame, args: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Seconds for the last layer (`one`) and for all layers (`all`), one tool after the other."""
    root = made / "data"
    found: dict[str, dict[str, Any]] = {"braid": {}, "torchvision": {}}
    network = vit(made, args.device)
    batches = prepared(network, table, root, args.batch)
    for what, numbers in (("one", range(LAYERS - 1, LAYERS)), ("all", range(LAYERS))):
        chosen = vit(made, args.device, f"blocks.{{{numbers[0]}..{numbers[-1]}}}")
        with tempfile.TemporaryDirectory() as store:
            found["braid"][what] = timed(
                lambda chosen=chosen, store=store: extract(
                    chosen, table, root, store, batch_size=args.batch
                )
            )
        found["torchvision"][what] = timed(
            lambda numbers=numbers: one_call_per_layer(network, batches, numbers)
        )
    if args.thingsvision:
        found["thingsvision"] = thingsvision(
            args.thingsvision, root / "stimuli", args.batch, args.threads
        )
    return found


def table_of(cases: Sequence[dict[str, Any]], tools: dict[str, Any]) -> str:
    """Text for people."""
    lines = []
    if cases:
        lines.append(
            "network     device  units  batch  layers   bare/s  braid/s   share  CPU share   aim"
        )
    for one in cases:
        lines.append(
            f"{one['network']:10s}  {one['device']:6s} {one['units']:6d} {one['batch']:6d}"
            f" {one['layers']:7d} {one['bare_rate']:8.2f} {one['braid_rate']:8.2f}"
            f" {100 * one['share']:6.0f} % {100 * one['share_cpu']:8.0f} % {100 * AIM:4.0f} %"
        )
    if tools:
        lines.append(
            f"{'tool':14s} one layer: s  CPU s   all {LAYERS}: s  CPU s   CPU s over braid's"
        )
    for name, seconds in tools.items():
        if "failed" in seconds:
            lines.append(f"{name}: FAILED: {seconds['failed']}")
            continue
        (one, one_cpu), (every, every_cpu) = seconds["one"], seconds["all"]
        braid = tools["braid"]
        lines.append(
            f"{name:14s} {one:12.1f} {one_cpu:6.1f} {every:11.1f} {every_cpu:6.1f}"
            f"   {one_cpu / braid['one'][1]:4.1f} x one, {every_cpu / braid['all'][1]:4.1f} x all"
        )
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Versions of what takes part."""
    names = ("numpy", "torch", "torchvision", "timm", "transformers", "tokenizers", "pillow")
    return {name: importlib.metadata.version(name) for name in names}


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--thingsvision", metavar="PYTHON", help="interpreter that has it")
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    started = time.perf_counter()
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        table = pictures(made / "data", args.pictures)
        few = table[: args.batch]
        network = vit(made, args.device)
        cases.append(against_bare(network, table, made / "data", args.batch, args.turns))
        print(table_of(cases, {}), flush=True)
        for name in table["stimulus"][args.batch :]:
            # thingsvision takes all that lies in the folder
            (made / "data" / name).unlink()
        tools = against_tools(made, few, args)
        print(table_of([], tools), flush=True)
        network = bert(made / "bert", args.device)
        cases.append(against_bare(network, texts(args.texts), made, args.batch, args.turns))
    result = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": time.perf_counter() - started,
        "machine": {"processor": platform.machine(), "threads": args.threads},
        "versions": versions(),
        "aim": AIM,
        "cases": cases,
        "tools": {"units": len(few), **tools},
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "extraction.json").write_text(json.dumps(result, indent=1) + "\n")
    text = f"{result['when']}, {result['versions']}\n{table_of(cases, tools)}\n"
    (args.out / "extraction.txt").write_text(text)
    print(f"\n{text}{args.out / 'extraction.json'} written in {result['seconds']:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
