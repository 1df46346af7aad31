"""Write `config/README.md` from the schemas: every key, its type, default and meaning.

`python config/document.py` writes it; a test compares it with the schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
SCHEMAS = HERE.parent / "workflow" / "schemas"
INTRODUCTION = """\
# The configuration, key by key

<!-- Written by config/document.py from workflow/schemas: do not edit. -->

One study is one file. `config.yaml` is the embedded demo; `studies/` holds one file per study;
`models.yaml` is the registry of networks, [models.md](models.md) a table of them and of how their
weights are fetched. A study runs with

```bash
snakemake --cores all --configfile config/studies/STUDY.yaml
```

and any key can be set on the command line: `--config seed=1 data_root=FOLDER`. An unknown key stops
the run before anything else and names the nearest valid one. A rule depends only on its own slice
of the file: edit one network's entry, one grid of penalties or one threshold, and only what follows
from it runs again.
"""


def rows(schema: Mapping[str, Any], root: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Yield one table row per key of an object."""
    required = schema.get("required", [])
    for name, part in schema.get("properties", {}).items():
        full = resolve(part, root)
        default = "required" if name in required else ""
        if "default" in full:
            default = f"`{json.dumps(full['default'])}`"
        text = full.get("description", "").replace("|", "\\|")
        yield f"| `{prefix}{name}` | {kind(full)} | {default} | {text} |"
        documented = {name, part.get("$ref", "").rsplit("/", 1)[-1]} & set(SECTIONS)
        inner = full.get("properties", {})
        # keys without a description of their own are told of by that of the object
        told = full.get("type") == "object" or all("description" in part for part in inner.values())
        if "object" in full.get("type", "") and inner and told and not documented:
            yield from rows(full, root, f"{prefix}{name}.")


def kind(schema: Mapping[str, Any]) -> str:
    """Say in a word or two what a value may be."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "oneOf" in schema:
        return " or ".join(kind(option) for option in schema["oneOf"])
    if "$ref" in schema:
        return "list" if schema["$ref"].endswith("labels") else schema["$ref"].rsplit("/", 1)[-1]
    if schema.get("type") == "array":
        items = schema.get("items", {})
        return "list of " + kind(items) if "enum" in items else "list"
    return (
        " or ".join(schema["type"])
        if isinstance(schema.get("type"), list)
        else schema.get("type", "any")
    )


def resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference within the schema."""
    if "$ref" not in schema:
        return schema
    found = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    return {**resolve(found, root), **{k: v for k, v in schema.items() if k != "$ref"}}


SECTIONS = {
    "dataset": "A data set, `datasets.NAME`",
    "preprocess_ieeg": "Preprocessing of iEEG, `datasets.NAME.preprocess`",
    "preprocess_bold": "Preprocessing of BOLD, `datasets.NAME.preprocess`",
    "preprocess_parcels": "Parcel time series, `datasets.NAME.preprocess`",
    "analysis": "An analysis, `analyses.NAME`",
    "combination": "A learnt projection, `analyses.NAME.combinations.NAME`",
    "units_words": "Units, `analyses.NAME.units`: words",
    "units_frames": "Units: frames",
    "units_scene_cuts": "Units: scene cuts",
    "units_labels": "Units: labels",
    "annotation": "Annotations of a stimulus, each of `analyses.NAME.units.annotations`",
    "units_rows": "Units: rows",
    "design_event_locked": "Design, `analyses.NAME.design`: event-locked",
    "design_lanczos": "Design: Lanczos",
    "design_boxcar": "Design: box-cars",
    "design_rows": "Design: rows",
    "folds": "Folds, `analyses.NAME.folds`",
    "ridge": "Ridge, `analyses.NAME.ridge`",
    "test": "Tests, `analyses.NAME.test`",
    "transfer": "Transfers, `transfers.NAME`",
    "component": "Components, `components.NAME`",
    "integration": "Integration sites, `integrations.NAME`",
    "integration_settings": "Settings, `integrations.NAME.settings` and `.profiles.PROFILE`",
    "probe": "Probes, `probes.NAME`",
    "expectation": "Expectations, `expect.NAME`",
}
TABLE = "| key | value | default | meaning |\n|---|---|---|---|"


def document() -> str:
    """Return the whole page."""
    study = yaml.safe_load((SCHEMAS / "config.schema.yaml").read_text())
    models = yaml.safe_load((SCHEMAS / "models.schema.yaml").read_text())
    parts = [INTRODUCTION, "## The study\n", TABLE, *rows(study, study, "")]
    for name, title in SECTIONS.items():
        parts += ["", f"## {title}\n", TABLE, *rows(study["$defs"][name], study, "")]
    parts += ["", "## A network of the registry, `models.yaml`\n", TABLE]
    parts += rows(models["additionalProperties"], models, "")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    (HERE / "README.md").write_text(document(), encoding="utf-8")
