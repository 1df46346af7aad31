"""Layers of a network, named by the path of their module, never by a counter."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from braid.common import InputError
from braid.models.registry import POOLINGS, TOKENS, nearest

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_KEYS = ("module", "output", "tokens", "pooling", "normalize", "batch_axis", "name")
_SHOWN = 12


@dataclass(frozen=True)
class Layer:
    """One layer whose activity becomes features.

    Attributes
    ----------
    name : str
        Unique within the network; the module's path or the output's name unless set.
    module, output : str or None
        Path of a module whose output is taken, or the name of an output of the whole network.
    tokens : str
        What the second axis holds: `text`, `image`, or `fused` (the tokens of both, in the
        network's order); `fused.text` and `fused.image` keep one part.
    pooling : str
        How tokens become one vector.
    normalize : bool
        Scale the pooled vector to length 1.
    batch_axis : int
        Position of the batch axis in the module's output, 0 or 1.
    """

    name: str
    module: str | None
    output: str | None
    tokens: str
    pooling: str
    normalize: bool = False
    batch_axis: int = 0


def resolve_layers(
    name: str, entry: Mapping[str, Any], modules: Sequence[str], outputs: Sequence[str]
) -> tuple[Layer, ...]:
    """Resolve an entry's layer patterns against a network's modules and outputs.

    Parameters
    ----------
    name : str
        Name of the entry, used in messages.
    entry : mapping
        Its `layers` is a list, shallow to deep, of patterns or of mappings with `module` (a
        pattern, or a list of patterns of which the first that fits is used and which are named
        after the first) or `output`, and optional `tokens`, `pooling`, `normalize`, `batch_axis`
        and `name`. In a pattern `{0..3}` counts, and `*` stands for anything within one part
        between dots.
    modules : sequence of str
        Paths of all modules, in the order of the network.
    outputs : sequence of str
        Names of the outputs that the whole network gives; empty if they are not known beforehand.

    Returns
    -------
    tuple of Layer
        Where a module occurs twice, tokens and pooling are added to its name.

    Raises
    ------
    InputError
        If a pattern fits nothing (names the layers that exist, nearest first), or an option is
        unknown.
    """
    layers: list[Layer] = []
    for item in entry["layers"]:
        layers += _resolve_item(name, entry, item, modules, outputs)
    counts = Counter(layer.name for layer in layers)
    layers = [
        replace(layer, name=f"{layer.name}@{layer.tokens}.{layer.pooling}")
        if counts[layer.name] > 1
        else layer
        for layer in layers
    ]
    for layer_name, count in Counter(layer.name for layer in layers).items():
        if count > 1:
            raise InputError(f"model '{name}': layer {layer_name} is listed {count} times")
    return tuple(layers)


def expand(pattern: str) -> list[str]:
    """Write out the ranges `{a..b}` (both ends included) of a pattern."""
    found = _RANGE.search(pattern)
    if not found:
        return [pattern]
    first, last = int(found[1]), int(found[2])
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return [f"{head}{k}{rest}" for k in range(first, last + 1) for rest in expand(tail)]


def match(pattern: str, modules: Sequence[str]) -> list[str]:
    """Modules that fit a pattern without ranges, in the order of the network."""
    if not any(sign in pattern for sign in "*?["):
        return [pattern] if pattern in modules else []
    parts = pattern.split(".")
    return [
        module
        for module in modules
        if len(module.split(".")) == len(parts)
        and all(map(fnmatch.fnmatchcase, module.split("."), parts))
    ]


def nearest_first(wanted: str, existing: Sequence[str]) -> list[str]:
    """Names that exist, those most like the wanted one first."""
    return sorted(
        (entry for entry in existing if entry),
        key=lambda entry: -difflib.SequenceMatcher(None, wanted, entry).ratio(),
    )


def _resolve_item(
    name: str,
    entry: Mapping[str, Any],
    item: str | Mapping[str, Any],
    modules: Sequence[str],
    outputs: Sequence[str],
) -> list[Layer]:
    """Layers of one item of the list."""
    options: Mapping[str, Any] = {"module": item} if isinstance(item, str) else item
    for key in options:
        if key not in _KEYS:
            raise InputError(f"model '{name}': unknown key '{key}' of a layer{nearest(key, _KEYS)}")
    if ("module" in options) == ("output" in options):
        raise InputError(f"model '{name}': a layer needs either 'module' or 'output' ({item})")
    template = Layer(
        name="",
        module=None,
        output=None,
        tokens=_tokens(name, entry, options),
        pooling=_option(name, "pooling", options.get("pooling") or entry.get("pooling") or "mean"),
        normalize=bool(options.get("normalize", False)),
        batch_axis=int(options.get("batch_axis", 0)),
    )
    if "output" in options:
        output = str(options["output"])
        if outputs and output not in outputs:
            raise _absent(name, output, outputs, "output")
        return [replace(template, name=str(options.get("name", output)), output=output)]
    named = _find(name, options["module"], modules)
    if "name" in options and len(named) > 1:
        raise InputError(
            f"model '{name}': name '{options['name']}' cannot stand for {len(named)} layers; "
            "leave it out, or list the layers one by one"
        )
    return [
        replace(template, name=str(options.get("name", label)), module=module)
        for label, module in named
    ]


def _find(name: str, module: str | Sequence[str], modules: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of layer name and module path for the first pattern that fits."""
    patterns = [module] if isinstance(module, str) else list(module)
    if not patterns:
        raise InputError(f"model '{name}': a layer has an empty list of patterns")
    labels = expand(patterns[0])
    failed = ""
    for pattern in patterns:
        found = [(part, match(part, modules)) for part in expand(pattern)]
        missing = [part for part, fits in found if not fits]
        if missing:
            failed = failed or missing[0]
            continue
        flat = [fit for _, fits in found for fit in fits]
        # a second interface's paths keep the first one's names, so that results are comparable
        return list(zip(labels if len(labels) == len(flat) else flat, flat, strict=True))
    raise _absent(name, failed, modules, "layer")


def _absent(name: str, wanted: str, existing: Sequence[str], what: str) -> InputError:
    """Error that lists what exists, nearest first."""
    ranked = nearest_first(wanted, existing)
    shown = ", ".join(ranked[:_SHOWN])
    more = f" and {len(ranked) - _SHOWN} more" if len(ranked) > _SHOWN else ""
    return InputError(f"model '{name}': {what} '{wanted}' does not exist; there are: {shown}{more}")


def _tokens(name: str, entry: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Tell what the tokens of a layer are; clear from the modality except for joint networks."""
    default = {"vision": "image", "language": "text"}.get(str(entry["modality"]))
    value = options.get("tokens", default)
    if value is None:
        if str(options.get("pooling") or entry.get("pooling")) == "none" or "output" in options:
            return "fused"
        raise InputError(
            f"model '{name}': layer {options.get('module')} of a vision-language network needs "
            f"'tokens' (one of: {', '.join(TOKENS)})"
        )
    return _option(name, "tokens", str(value))


def _option(name: str, key: str, value: str) -> str:
    """Check the value of an option of a layer."""
    valid = {"pooling": POOLINGS, "tokens": TOKENS}[key]
    if value not in valid:
        raise InputError(f"model '{name}': {key} '{value}' is unknown{nearest(value, valid)}")
    return value
