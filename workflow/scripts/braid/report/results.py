"""What a report reads: the files of one study, found by the names of the contract."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, read_json, read_table
from braid.config import models_of, transfer_models
from braid.report.words import is_untrained, noun_of, surface_of

_REQUIRED = {
    name: tuple(columns.split())
    for name, columns in {
        "sites": "analysis subject model site region x y z score p q significant",
        "models": "analysis model score_mean score_low score_high",
        "regions": "analysis model region n_subjects n_sites score_mean score_low score_high",
        "comparisons": "analysis subject comparison a b site score_a score_b q significant",
        "nulls": "analysis subject model null null_sd naive_sd n_draws distinct note",
        "excluded": "dataset subject target reason detail",
        "quality": "dataset subject run measure value unit",
        "timing": "analysis subject model lag seconds score n_targets",
        "alignments": "language_layer vision_layer direction r2 rank first rank_identity",
        "shared": "direction component share r p_refit p_spatial p q significant loso_r n_sites",
        "transfers": "subject site tuning worth score score_within significant",
        "matrix": "subject train test layer chosen region n_sites score null_mean null_sd q",
        "times": "subject region time_train time_test n_sites score q",
        "components": "component share null_mean null_sd p loso_share n_sites n_subjects n_draws "
        "layer",
        "units": "component end rank stimulus time text",
        "shown": "unit stimulus frame_time",
        "probes": "model weights n_units score_true score_shifted effect share_higher p n_draws",
        "evaluation": "stage measure value threshold pass",
    }.items()
}
"""Columns that a report reads of each table; of the study's tables, only that of sites has to be
there, and one that is absent is empty."""

_COUNTS = "test scope n_sites n_passes share low high n_default"
_INTEGRATION = {
    name: tuple(columns.split())
    for name, columns in {
        "sites": "subject site region x y z",
        "counts": _COUNTS,
        "regions": f"region n_subjects {_COUNTS}",
        "subjects": f"subject {_COUNTS}",
        "group": "test scope n_subjects share low high mixed_share mixed_low mixed_high",
        "models": "alignment model side objective n_sites n_enough score score_mean score_low "
        "score_high n_first n_first_tested n_trained n_trained_tested n_trained_default "
        "n_untrained gain",
        "objectives": "alignment objective rank n_models score_mean score_low score_high n_first "
        "n_first_tested",
        "times": "alignment comparison bin n_subjects effect low high",
        "labels": "scope n_passes null_mean null_high n_labellings p",
        "comparisons": "subject alignment comparison site a b score_a score_b effect status "
        "significant",
    }.items()
}
"""Columns that a report reads of each table of an integration; there may be others."""

# what a report never shows, and what makes the files large
_BULK = ("prediction", "weights", "score_fold")


@dataclass(frozen=True)
class Results:
    """The results of one study, read once; arrays are opened when a figure needs them.

    Attributes
    ----------
    root : pathlib.Path
        Folder of the study's results.
    config : mapping
        The study's config.
    sites, comparisons : pandas.DataFrame
        As in `workflow/README.md`; `comparisons` may be empty.
    summaries, regions, nulls : pandas.DataFrame
        The tables of models, regions and nulls; empty if absent.
    index : dict of str to pandas.DataFrame
        One row per recording, by dataset.
    validation : dict of str to dict
        The BIDS validator's verdict, by dataset.
    manifests : dict of (str, str) to dict
        Feature manifests by analysis and model.
    excluded, quality : pandas.DataFrame
        Tables of the preprocessing over all subjects; empty if absent.
    timing : pandas.DataFrame
        Scores by lag of the analyses that scan lags; empty if absent.
    transfers : pandas.DataFrame
        Sites of all transfers of the config, with `transfer` and `model`; empty if there are none.
    transfer_matrix, transfer_times : pandas.DataFrame
        Their scores by training and test analysis, layer and region, and by training and test
        time, likewise; empty if the files are absent.
    components, component_units : dict of str to pandas.DataFrame
        Principal components and the units at their ends, by name in the config; one that is
        absent has no entry.
    probes : dict of str to pandas.DataFrame
        By name in the config; one that is absent has no entry.
    alignments : dict of (str, str) to pandas.DataFrame
        Quality of the maps by alignment and pair; one that is absent has no entry.
    shared : dict of str to pandas.DataFrame
        Shared components by name in the config, likewise.
    shared_units : dict of (str, str) to pandas.DataFrame
        Units at their ends, by name and direction, likewise; those of the other analysis'
        stimuli have the direction with `_other`.
    integrations : dict of (str, str) to dict of str to pandas.DataFrame
        Tables of the integration tests by name in the config and profile; a table that is absent
        has no entry.
    evaluation : pandas.DataFrame or None
        Checks against planted truth or known figures, if there are any.
    versions : dict of str to str
        Version of each package, as the provenance of tables and arrays records it.
    """

    root: Path
    config: Mapping[str, Any]
    sites: pd.DataFrame
    comparisons: pd.DataFrame
    summaries: pd.DataFrame
    regions: pd.DataFrame
    nulls: pd.DataFrame
    index: dict[str, pd.DataFrame]
    validation: dict[str, dict[str, Any]]
    manifests: dict[tuple[str, str], dict[str, Any]]
    excluded: pd.DataFrame
    quality: pd.DataFrame
    transfers: pd.DataFrame
    components: dict[str, pd.DataFrame]
    component_units: dict[str, pd.DataFrame]
    probes: dict[str, pd.DataFrame]
    evaluation: pd.DataFrame | None
    alignments: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    shared: dict[str, pd.DataFrame] = field(default_factory=dict)
    shared_units: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    integrations: dict[tuple[str, str], dict[str, pd.DataFrame]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    timing: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(_REQUIRED["timing"]))
    )
    transfer_matrix: pd.DataFrame = field(default_factory=lambda: _empty("matrix"))
    transfer_times: pd.DataFrame = field(default_factory=lambda: _empty("times"))

    def further(self, key: str) -> Mapping[str, Mapping[str, Any]]:
        """Entries of the config under `transfers` or the like, which may be empty."""
        return self.config.get(key) or {}

    @property
    def analyses(self) -> list[str]:
        """Names of the config's analyses, in its order."""
        return list(self.config["analyses"])

    def analysis(self, name: str) -> Mapping[str, Any]:
        """Config of one analysis."""
        return self.config["analyses"][name]

    def test(self, name: str) -> Mapping[str, Any]:
        """Config of the test of one analysis."""
        return self.analysis(name).get("test") or {}

    def compare(self, name: str) -> Mapping[str, Sequence[str]]:
        """Comparisons of one analysis in the config, which may be empty."""
        return self.analysis(name).get("compare") or {}

    def dataset_of(self, analysis: str) -> str:
        """Name of the data set of an analysis."""
        return str(self.analysis(analysis)["dataset"])

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets that the analyses use, in the order of the analyses."""
        return list(dict.fromkeys(self.dataset_of(name) for name in self.analyses))

    def kind_of(self, analysis: str) -> str:
        """Kind of recording of an analysis: `ieeg`, `bold` or `parcels`."""
        return str(self.config["datasets"][self.dataset_of(analysis)]["kind"])

    def surface(self, analysis: str) -> str | None:
        """Surface whose vertices are the sites of an analysis (`space` entity), else None."""
        return surface_of(self.config["datasets"][self.dataset_of(analysis)])

    def noun_of(self, analysis: str) -> str:
        """Name a site of an analysis: electrode, voxel, vertex or parcel."""
        return noun_of(self.config["datasets"][self.dataset_of(analysis)])

    def models(self, analysis: str) -> list[str]:
        """Models of an analysis that have scores, in the order of the config."""
        present = set(self.sites.loc[self.sites["analysis"] == analysis, "model"])
        named = models_of(self.analysis(analysis))
        return [m for m in named if m in present] + sorted(present - set(named))

    def fitted(self, analysis: str) -> bool:
        """Whether the models of an analysis are fitted and tested by themselves."""
        return bool(self.analysis(analysis).get("fit", True))

    def sites_of(self, analysis: str, model: str | None = None) -> pd.DataFrame:
        """Rows of the table of sites of one analysis, and of one model if it is named."""
        rows = self.sites[self.sites["analysis"] == analysis]
        return rows if model is None else rows[rows["model"] == model]

    def trained_sites_of(self, analysis: str) -> pd.DataFrame:
        """Rows of the table of sites of one analysis, without those of untrained twins."""
        rows = self.sites_of(analysis)
        return rows[np.array([not is_untrained(model) for model in rows["model"]], bool)]

    def subjects(self, analysis: str) -> list[str]:
        """Subject labels of an analysis that have scores."""
        return sorted(set(self.sites_of(analysis)["subject"]))

    def coordinate_systems(self, dataset: str) -> list[str]:
        """Names of the spaces of electrodes that the preprocessing recorded; `n/a` is unknown."""
        return sorted(
            {_coordinate_system(path) for path in (self.root / "clean" / dataset).glob("sub-*.nc")}
        )

    def component_arrays(self, key: str, name: str, stem: str) -> xr.Dataset | None:
        """Open the arrays of one component analysis; None if they are absent.

        `key` is `components` or `shared_components`, `stem` the name of the file.
        """
        path = self.root / key / name / f"{stem}.nc"
        return _small_parts(path) if path.exists() else None

    def units(self, analysis: str) -> pd.DataFrame | None:
        """Units of stimulus of an analysis; None if their table is absent."""
        path = self.root / "units" / f"{analysis}.tsv"
        return read_table(path, _REQUIRED["shown"]) if path.exists() else None

    def fits(self, analysis: str, model: str) -> Iterator[tuple[str, xr.Dataset]]:
        """Open the fits of one model, subject by subject; those that are absent are left out."""
        yield from self._arrays(self.root / "fits" / analysis / model)

    @staticmethod
    def _arrays(folder: Path) -> Iterator[tuple[str, xr.Dataset]]:
        for path in sorted(folder.glob("sub-*.nc")):
            yield path.stem.removeprefix("sub-"), _small_parts(path)


def read_results(root: Path, config: Mapping[str, Any]) -> Results:
    """Read the tables of a study.

    Parameters
    ----------
    root : pathlib.Path
        Folder of the study's results.
    config : mapping
        The study's config, validated.

    Raises
    ------
    InputError
        If the config names no analysis, or the table of sites is absent, lacks a column, or holds
        an analysis that the config does not name.
    """
    if not config.get("analyses"):
        raise InputError(
            "config: key 'analyses' is missing or empty; a report needs at least one analysis"
        )
    sites_path = root / "tables" / "sites.tsv"
    sites = _with_flags(read_table(sites_path, _REQUIRED["sites"]))
    unknown = sorted(set(sites["analysis"]) - set(config["analyses"]))
    if unknown:
        raise InputError(
            f"{sites_path}: analysis '{unknown[0]}' is not in the config; "
            "remake the tables with this config"
        )
    sites["region"] = sites["region"].fillna("n/a")
    tables = {
        name: _optional(root, name)
        for name in (
            *("models", "regions", "comparisons", "nulls", "excluded", "quality", "timing"),
        )
    }
    return Results(
        root=root,
        config=config,
        sites=sites,
        comparisons=_with_flags(tables["comparisons"]),
        summaries=tables["models"],
        regions=tables["regions"].fillna({"region": "n/a"}),
        nulls=tables["nulls"],
        index={path.stem: read_table(path) for path in sorted((root / "index").glob("[!.]*.tsv"))},
        validation={
            path.stem: read_json(path) for path in sorted((root / "validation").glob("[!.]*.json"))
        },
        manifests={
            (path.parent.name, path.stem): read_json(path)
            for path in sorted((root / "features").glob("*/[!.]*.json"))
        },
        excluded=tables["excluded"],
        quality=tables["quality"],
        timing=tables["timing"],
        transfers=_transfers(root, config),
        components=_named(root, config, "components", "{}/components.tsv", _REQUIRED["components"]),
        component_units=_named(
            root,
            config,
            "components",
            "{}/components_units.tsv",
            _REQUIRED["units"],
            text=str,
            stimulus=str,
        ),
        probes=_named(root, config, "probes", "{}.tsv", _REQUIRED["probes"]),
        evaluation=_evaluation(root / "evaluation.tsv"),
        alignments=_alignments(root, config),
        shared={
            name: _with_flags(table)
            for name, table in _named(
                root,
                config,
                "shared_components",
                "{}/components.tsv",
                _REQUIRED["shared"],
            ).items()
        },
        shared_units=_shared_units(root, config),
        integrations=_integrations(root, config),
        versions=_versions(root),
        transfer_matrix=_beside_transfers(root, config, "matrix"),
        transfer_times=_beside_transfers(root, config, "times"),
    )


def flags(column: pd.Series) -> pd.Series:
    """Read a column of truth values as a table may hold it: booleans, 0 and 1, or words.

    Missing values count as false.
    """
    text = column.astype(str).str.strip().str.lower()
    return text.isin(["true", "1", "1.0", "yes", "pass"])


def _small_parts(path: Path) -> xr.Dataset:
    """Read a file without its bulk: predictions and weights are never loaded."""
    with xr.open_dataset(path, engine="h5netcdf", drop_variables=_BULK) as dataset:
        return dataset.load()


def _coordinate_system(path: Path) -> str:
    """Space of the electrodes of a cleaned signal, of which nothing else is read."""
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        return str(dataset["signal"].attrs.get("coordinate_system", "n/a"))


def _with_flags(table: pd.DataFrame) -> pd.DataFrame:
    table = table.copy()
    if "significant" in table:
        table["significant"] = flags(table["significant"]).to_numpy(bool)
    return table


def _optional(root: Path, name: str) -> pd.DataFrame:
    """Read one of the study's tables, which may be absent or have no rows."""
    path = root / "tables" / f"{name}.tsv"
    columns = _REQUIRED[name]
    return read_table(path, columns) if path.exists() else pd.DataFrame(columns=list(columns))


def _evaluation(path: Path) -> pd.DataFrame | None:
    """Read the checks; values and thresholds stay as they are written."""
    if not path.exists():
        return None
    return read_table(path, _REQUIRED["evaluation"], value=str, threshold=str)


def _transfers(root: Path, config: Mapping[str, Any]) -> pd.DataFrame:
    """Join the tables of all transfers that the config names."""
    tables = [
        read_table(path, _REQUIRED["transfers"]).assign(transfer=name, model=model)
        for name, entry in (config.get("transfers") or {}).items()
        for model in transfer_models(entry)
        for path in sorted((root / "transfers" / name / model).glob("sub-*.tsv"))
        if "_" not in path.stem  # the matrix and the times lie beside them
    ]
    if not tables:
        return _empty("transfers")
    return _with_flags(pd.concat(tables, ignore_index=True))


def _empty(what: str) -> pd.DataFrame:
    """Give a table of transfers without rows."""
    return pd.DataFrame(columns=["transfer", "model", *_REQUIRED[what]])


def _beside_transfers(root: Path, config: Mapping[str, Any], what: str) -> pd.DataFrame:
    """Join what lies beside the tables of transfers: their `matrix`, or their `times`."""
    tables = [
        read_table(path, _REQUIRED[what], train=str).assign(transfer=name, model=model)
        for name, entry in (config.get("transfers") or {}).items()
        for model in transfer_models(entry)
        for path in sorted((root / "transfers" / name / model).glob(f"sub-*_{what}.tsv"))
    ]
    if not tables:
        return _empty(what)
    table = pd.concat(tables, ignore_index=True)
    if "chosen" in table:
        table["chosen"] = flags(table["chosen"]).to_numpy(bool)
    return table.fillna({"region": "n/a"})


def _named(
    root: Path,
    config: Mapping[str, Any],
    key: str,
    pattern: str,
    required: tuple[str, ...],
    **dtypes: Any,
) -> dict[str, pd.DataFrame]:
    """Read one table for each entry of the config under a key; those that are absent are left out.

    `pattern` gives the path below the folder of that name.
    """
    paths = {name: root / key / pattern.format(name) for name in config.get(key) or {}}
    return {
        name: read_table(path, required, **dtypes) for name, path in paths.items() if path.exists()
    }


def _alignments(root: Path, config: Mapping[str, Any]) -> dict[tuple[str, str], pd.DataFrame]:
    """Read what the maps of all alignments that the config names are worth."""
    paths = {
        (name, pair): root / "alignments" / name / f"{pair}.tsv"
        for name, entry in (config.get("alignments") or {}).items()
        for pair in entry["pairs"]
    }
    return {
        key: read_table(path, _REQUIRED["alignments"])
        for key, path in paths.items()
        if path.exists()
    }


def _shared_units(root: Path, config: Mapping[str, Any]) -> dict[tuple[str, str], pd.DataFrame]:
    """Read the units at the ends of shared components, by name and direction."""
    paths = {
        (name, side): root / "shared_components" / name / f"units_{side}.tsv"
        for name in config.get("shared_components") or {}
        for side in ("language", "vision", "language_other", "vision_other")
    }
    return {
        key: read_table(path, _REQUIRED["units"], text=str, stimulus=str)
        for key, path in paths.items()
        if path.exists()
    }


def _integrations(
    root: Path, config: Mapping[str, Any]
) -> dict[tuple[str, str], dict[str, pd.DataFrame]]:
    """Read the tables of all integrations and profiles that the config names."""
    found = {}
    for name, entry in (config.get("integrations") or {}).items():
        for profile in entry["profiles"]:
            folder = root / "integration" / name / profile
            paths = {table: folder / f"{table}.tsv" for table in _INTEGRATION}
            found[name, profile] = {
                table: _with_flags(read_table(path, _INTEGRATION[table])).fillna({"region": "n/a"})
                for table, path in paths.items()
                if path.exists()
            }
    return found


def _versions(root: Path) -> dict[str, str]:
    """Join the versions that results carry, stage by stage; several of one package are listed.

    Names with a leading dot are what a killed job had begun to write.
    """
    sidecars = [
        *(root / "tables").glob("[!.]*.json"),
        *(root / "clean").glob("*/[!.]*_quality.json"),
        *(root / "features").glob("*/[!.]*.json"),
    ]
    texts = [read_json(path).get("braid_versions") for path in sorted(sidecars)]
    # all fits of a study are made by the same environment
    for path in sorted((root / "fits").glob("*/*/sub-*.nc"))[:1]:
        texts.append(_small_parts(path).attrs.get("braid_versions"))
    found: dict[str, set[str]] = {}
    for text in texts:
        for package, version in json.loads(text or "{}").items():
            found.setdefault(package, set()).add(str(version))
    return {package: ", ".join(sorted(found[package])) for package in sorted(found)}
