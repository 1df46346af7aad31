"""The study of an archive: its file as written, and with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid.config import check, lock_file, prepare, read_yaml, subjects_of

SCHEMAS = Path("workflow/schemas")


@dataclass(frozen=True)
class Study:
    """A study that was run in this clone.

    Attributes
    ----------
    file : pathlib.Path
        Its file as written.
    config : dict
        With overrides, defaults and the subjects of `subjects: all`; it runs as it is.
    results : pathlib.Path
        Folder of its results.
    data : tuple of pathlib.Path
        Roots of its data sets.
    """

    file: Path
    config: dict[str, Any]
    results: Path
    data: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Name of the study."""
        return str(self.config["study"])

    @property
    def registry(self) -> dict[str, Path]:
        """The registry of networks, and its lock if there is one, by their names in an archive."""
        models = Path(self.config["models"])
        named = {"config/models.yaml": models, "config/models.lock.yaml": lock_file(models)}
        return {name: path for name, path in named.items() if path.is_file()}


def read_study(file: Path, overrides: Mapping[str, Any]) -> Study:
    """Read a study file as a run of it does; the working directory is the root of the clone.

    Parameters
    ----------
    file : pathlib.Path
    overrides : mapping
        Keys that take the place of those of the file, as `snakemake --config` does.

    Raises
    ------
    InputError
        If it is no valid study (see `braid.config.prepare`).
    """
    merged = {**read_yaml(file), **overrides}
    config = check(merged, read_yaml(SCHEMAS / "config.schema.yaml"), str(file))
    placed = prepare(merged, SCHEMAS, str(file))
    made = placed.get("simulate", {}).get("root")
    for name, entry in placed["datasets"].items():
        # who takes part is part of the study, not of the folder it finds elsewhere
        config["datasets"][name]["subjects"] = subjects_of(name, entry, made=entry["root"] == made)
    roots = [
        part["root"]
        for entry in placed["datasets"].values()
        for part in (entry, entry.get("derivative", {}))
        if "root" in part
    ]
    return Study(
        file=file,
        config=config,
        results=Path(placed["results"]) / placed["study"],
        data=tuple(Path(root) for root in dict.fromkeys(roots)),
    )
