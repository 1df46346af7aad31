"""Networks of timm: its folders (config.json and weights), or an architecture and a weight file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid.common import InputError
from braid.models.digests import config_digest, digest, tensors_digest, weights_digest
from braid.models.layers import resolve_layers
from braid.models.loaded import Inputs, LoadedModel
from braid.models.loading import seeded
from braid.models.messages import first_line
from braid.models.preparing import see_one
from braid.models.registry import model_folder, nearest, weight_files

if TYPE_CHECKING:
    from torch import nn


def load_timm(name: str, entry: Mapping[str, Any], init: int | None, device: str) -> LoadedModel:
    """Load a network of timm (see `braid.models.load_model`).

    Parameters
    ----------
    name : str
    entry : mapping
        With its defaults. Without `architecture` the folder is in timm's own format, with a
        config.json. `architecture` is a name of timm, with its tag (`convnext_base.fb_in22k`), or
        a mapping of `name` and of options of `timm.create_model` (`num_classes`, `img_size`).
        Pictures are prepared as the checkpoint's configuration says (`processor` overrides its
        `input_size`, `crop_pct`, `interpolation`, `mean`, `std`, ...).
    init : int or None
        Seed of the untrained twin; None loads the weights.
    device : str

    Returns
    -------
    LoadedModel
        Its one named output, `output`, is what the network returns: the scores of the classes,
        or the pooled features where it has no classifier.
    """
    if entry["modality"] != "vision":
        raise InputError(
            f"model '{name}': networks of timm only see; set 'modality' to vision, not "
            f"{entry['modality']}"
        )
    folder, revision = model_folder(name, entry)
    files = weight_files(name, entry) if init is None else []
    module = _build(name, folder, entry, files, init)
    pictures = _pictures(name, module, entry["processor"])
    from timm.data import create_transform

    return LoadedModel(
        name=name,
        source="timm",
        modality="vision",
        layers=resolve_layers(
            name, entry, [path for path, _ in module.named_modules()], ("output",)
        ),
        weights=tensors_digest(module) if init is not None else weights_digest(files),
        revision=revision,
        architecture=config_digest(
            [] if entry.get("architecture") else [folder / "config.json"],
            {"architecture": entry.get("architecture")},
        ),
        processor=digest(pictures),
        context={},
        precision=str(entry["precision"]),
        untrained=init,
        device=device,
        entry=entry,
        module=module.to(device).eval(),
        see=partial(see_one, create_transform(**pictures, is_training=False)),
        forward=partial(_run, module),
    )


def _build(
    name: str, folder: Path, entry: Mapping[str, Any], files: list[Path], init: int | None
) -> nn.Module:
    """Build the network, with its weights unless it is the untrained twin."""
    import timm

    made_as, options = _architecture(name, folder, entry)
    overlay = None
    if init is None:
        # names the file, so that what is read is what is digested, and nothing is downloaded
        overlay = {
            "source": "file", "file": str(files[0]), "custom_load": False, **_classes(options),
        }  # fmt: skip
    try:
        with seeded(init or 0):
            return timm.create_model(
                made_as, pretrained=init is None, pretrained_cfg_overlay=overlay, **options
            )
    except Exception as error:  # the library raises many kinds; all mean an unusable folder
        raise InputError(
            f"model '{name}': {folder} cannot be loaded by timm as {made_as} "
            f"({type(error).__name__}: {first_line(error)}); fetch the checkpoint again or "
            "correct the entry"
        ) from error


def _architecture(name: str, folder: Path, entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Tell what `timm.create_model` is asked for, and with which options."""
    import timm

    wanted = entry.get("architecture")
    if wanted is None:
        if not (folder / "config.json").is_file():
            raise InputError(
                f"model '{name}': {folder} has no config.json; correct its key `path`, or set "
                "`architecture` to timm's name of the network"
            )
        return f"local-dir:{folder}", {}
    options = dict(wanted) if isinstance(wanted, Mapping) else {"name": wanted}
    made_as = str(options.pop("name", ""))
    if not timm.is_model(made_as):
        raise InputError(
            f"model '{name}': timm has no architecture '{made_as}'"
            f"{nearest(made_as.split('.')[0], timm.list_models())}"
        )
    return made_as, options


def _classes(options: Mapping[str, Any]) -> dict[str, Any]:
    """Say that the file has the network's classes, so that timm leaves no tensor out."""
    return {"num_classes": options["num_classes"]} if "num_classes" in options else {}


def _pictures(name: str, module: nn.Module, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Read and override the settings of the preparation of pictures."""
    from timm.data import resolve_model_data_config

    settings = resolve_model_data_config(module)
    for key in overrides:
        if key not in settings:
            raise InputError(
                f"model '{name}': unknown key '{key}' of 'processor'{nearest(key, list(settings))}"
            )
    return {**settings, **overrides}


def _run(module: nn.Module, text: Inputs | None, image: Inputs | None) -> dict[str, Any]:
    """Run the network."""
    return {"output": module(image["image"])} if image is not None else {}
