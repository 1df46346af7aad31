# What the rules of transfers share: paths, slices and memory. No science.
from braid.transfer.memory import predict_transfer_mb

TRANSFERS = config["transfers"]
SIDES_OF_TRANSFER = ("source", "target")
OF_TRANSFERS = [*NETWORKS, *COMBINATIONS, *PAIRS]


def transferred(stage, side, ending="nc"):
    """Function of the wildcards that gives a file of the source or the target of a transfer."""

    def of_wildcards(wildcards):
        entry = TRANSFERS[wildcards.transfer]
        analysis, file = entry[side], f"sub-{wildcards.subject}.{ending}"
        if stage == "responses":
            return f"{RESULTS}/responses/{analysis}/{file}"
        if stage == "design" and side == "target" and "alignment" in entry:
            space = entry["from"]
            pair = f"{entry['alignment']}/{wildcards.model}"
            return f"{RESULTS}/aligned/{pair}/{analysis}/{space}/{file}"
        networks = study.transfer_networks(entry, config["alignments"], wildcards.model)
        model = networks[("source", "target").index(side)]
        return f"{RESULTS}/{stage}/{analysis}/{model}/{file}"

    return of_wildcards


def transfer_maps(wildcards):
    """Maps of a transfer between two feature spaces, else nothing."""
    entry = TRANSFERS[wildcards.transfer]
    if "alignment" not in entry:
        return []
    return f"{RESULTS}/alignments/{entry['alignment']}/{wildcards.model}.nc"


def transfer_slice(wildcards):
    """Folds, ridge and test of a transfer are those of its source analysis."""
    transfer = TRANSFERS[wildcards.transfer]
    entry = ANALYSES[transfer["source"]]
    settings = {key: entry[key] for key in ("folds", "ridge", "test")}
    return study.ordered(
        {
            **settings,
            "tuning": transfer["tuning"],
            "dimensions": transfer["dimensions"],
            "from": transfer.get("from", "n/a"),
        }
    )


def transfers_of_all():
    return transfer_tables("", lambda entry: True)


def transfer_files(wildcards):
    """Inputs of all that is made of a transfer: both designs, responses and fits, and the maps."""
    found = {
        f"{side}_{key}": transferred(stage, side, ending)(wildcards)
        for side in SIDES_OF_TRANSFER
        for key, stage, ending in (
            ("design", "design", "nc"),
            ("shape", "design", "json"),
            ("response", "responses", "nc"),
            ("fit", "fits", "nc"),
        )
    }
    return {**found, "maps": transfer_maps(wildcards)}


def transfer_ceilings(wildcards):
    """Ceilings of a transfer's analyses that have repeats, by side."""
    entry = TRANSFERS[wildcards.transfer]
    return {
        f"{side}_ceilings": f"{RESULTS}/ceilings/{entry[side]}/sub-{wildcards.subject}.tsv"
        for side in SIDES_OF_TRANSFER
        if ANALYSES[entry[side]].get("repeats")
    }


def matrix_slice(wildcards):
    """Settings of the source analysis, and those of the matrix."""
    entry = TRANSFERS[wildcards.transfer]
    source = ANALYSES[entry["source"]]
    return study.ordered(
        {
            **{key: source[key] for key in ("folds", "ridge", "test")},
            "from": entry.get("from", "n/a"),
            "draws": entry["matrix"]["draws"],
            "train": entry["source"],
            "test_on": entry["target"],
        }
    )


def transfer_tables(ending, chosen):
    """Tables with an ending of all transfers that are chosen.

    A subject takes part in a transfer that took part in both of its analyses.
    """
    return [
        f"{RESULTS}/transfers/{name}/{model}/sub-{subject}{ending}.tsv"
        for name, entry in TRANSFERS.items()
        if chosen(entry)
        for model in study.transfer_models(entry)
        for subject in subjects_in(entry["source"])
        if subject in subjects_in(entry["target"])
    ]


def matrices_of_all():
    return transfer_tables("_matrix", lambda entry: entry["matrix"])


def times_of_all():
    """Electrodes have windows, so that their transfers can go from time to time."""
    return transfer_tables("_times", lambda entry: entry["matrix"] and has_windows(entry))


def has_windows(entry):
    dataset = DATASETS[ANALYSES[entry["source"]]["dataset"]]
    return (
        dataset["kind"] == "ieeg" and ANALYSES[entry["source"]]["design"]["kind"] == "event_locked"
    )


def of_source(wildcards):
    return ANALYSES[TRANSFERS[wildcards.transfer]["source"]]


def transfer_memory(matrix=False):
    """Function that gives a transfer's memory in MB, planned from the sizes of both designs."""

    def of_job(wildcards, input, attempt):
        entry, source = TRANSFERS[wildcards.transfer], of_source(wildcards)
        a, b = (json.loads(Path(input[f"{side}_shape"]).read_text()) for side in SIDES_OF_TRANSFER)
        planned = predict_transfer_mb(
            n_source=a["samples"],
            n_target=b["samples"],
            p=max(a["features"], b["features"]),
            targets=max(a["targets"], b["targets"]),
            n_folds=study.n_folds(source["folds"], a["runs"]),
            n_runs=b["runs"],
            layers=(a["layers"], b["layers"]),
            alphas=source["ridge"]["alphas"]["n"],
            draws=entry["matrix"]["draws"] if matrix else source["test"]["n"],
            options=len(entry["tuning"]),
            memory_mb=source["ridge"]["memory_mb"],
            matrix=matrix,
            chunks=study.chunks_of(source["folds"]),
        )
        return (SNAKEMAKE_MB + planned) * attempt

    return of_job
