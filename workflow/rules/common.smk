# Names, paths and slices of the config that the rules share. No science.
import json
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# of this file, not of the main Snakefile: another workflow may use this one as a module
WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=False)).parent
LIBRARY = WORKFLOW / "scripts"
if not LIBRARY.is_dir():
    raise WorkflowError(
        f"braid: {WORKFLOW}: rules that are read from an address lack the library beside them; "
        'clone the repository and name the clone\'s Snakefile (README, section "Share")'
    )
sys.path.insert(0, str(LIBRARY))

from braid import config as study  # noqa: E402
from braid.common.errors import InputError  # noqa: E402
from braid.encoding.planner import (  # noqa: E402
    predict_bootstrap_mb,
    predict_bootstrap_minutes,
    predict_job_mb,
)

try:
    config = study.prepare(
        config,
        WORKFLOW / "schemas",
        where=", ".join(map(str, workflow.overwrite_configfiles)) or "config/config.yaml",
    )
    DATASETS = config["datasets"]
    ANALYSES = config["analyses"]
    SIMULATED = config.get("simulate", {})
    SUBJECTS = {
        name: study.subjects_of(name, entry, made=entry["root"] == SIMULATED.get("root"))
        for name, entry in DATASETS.items()
    }
except InputError as error:
    raise WorkflowError(f"braid: {error}") from None

RESULTS = f"{config['results']}/{config['study']}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
TABLES = "sites models regions comparisons nulls layers excluded quality timing".split()
SNAKEMAKE_MB = 300  # a cluster job runs Snakemake too, beside the script
GPU = 0 if config["device"] == "cpu" else 1
COMBINATIONS = sorted({name for entry in ANALYSES.values() for name in entry["combinations"]})
PROJECTED = sorted({name for entry in ANALYSES.values() for name in entry.get("projections", {})})
NETWORKS = sorted({name for entry in ANALYSES.values() for name in study.networks_of(entry)})
STIMULI = study.shared_stimuli(ANALYSES)
FITTED = {name: entry for name, entry in ANALYSES.items() if entry["fit"]}
INTEGRATIONS = config["integrations"]
BOOTSTRAPS = study.shared_bootstraps(INTEGRATIONS)
INTEGRATION_TABLES = (
    "sites counts regions subjects group models objectives times labels comparisons".split()
)


def check_roots():
    """Stop before any job where the BIDS root of a data set does not exist."""
    for name, entry in DATASETS.items():
        if entry["root"] != SIMULATED.get("root"):
            try:
                study.check_root(name, entry)
            except InputError as error:
                raise WorkflowError(f"braid: {error}") from None


def calm_scheduler():
    """Let the scheduler work only when a job starts or ends, unless a rate of jobs is asked for.

    Under the default rate (100 a second) of Snakemake 9 each pass of the scheduler books a further
    pass a second later, beside those that finished jobs ask for: they pile up until its process
    does nothing else, for the whole of a run.
    """
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def one_of(names):
    """Regular expression of a wildcard that takes one of these names, or nothing."""
    return "|".join(sorted(names)) or "(?!)"


def datasets_of_kind(kind):
    return [name for name, entry in DATASETS.items() if entry["kind"] == kind]


def dataset_slice(wildcards):
    """What indexing one subject of a data set depends on: not on who else is in it."""
    entry = {**DATASETS[wildcards.dataset], "subjects": [wildcards.subject]}
    entry.pop("validate")
    # of the preprocessing, indexing only asks whether different rates are made equal
    resample = entry.pop("preprocess").get("resample")
    return study.ordered({**entry, "preprocess": {"resample": resample}})


def preprocess_slice(wildcards):
    return study.ordered(DATASETS[wildcards.dataset]["preprocess"])


def root_of(name):
    return DATASETS[name]["root"]


def made_root(name):
    """The BIDS root as an input, where a rule of this workflow makes it."""
    return root_of(name) if SIMULATED and root_of(name) == SIMULATED["root"] else []


def analysis_slice(*keys):
    """Function of the wildcards that gives some keys of an analysis, and nothing else of it."""

    def of_wildcards(wildcards):
        entry = ANALYSES[wildcards.analysis]
        return study.ordered({key: entry[key] for key in keys})

    return of_wildcards


def of_analysis(wildcards, pattern):
    """Path of the data set that an analysis is asked of."""
    return pattern.format(
        results=RESULTS,
        dataset=ANALYSES[wildcards.analysis]["dataset"],
        subject="{subject}",
    )


def subjects_in(analysis):
    return SUBJECTS[ANALYSES[analysis]["dataset"]]


def fits_of(kind):
    """Paths of one kind of result for every analysis, model and subject."""
    return [
        f"{RESULTS}/{kind}".format(analysis=analysis, model=model, subject=subject)
        for analysis, entry in FITTED.items()
        for model in study.models_of(entry)
        for subject in subjects_in(analysis)
    ]


def entry_of(wildcards):
    return config["registry"][study.base_of(wildcards.model)]


def registry_slice(wildcards):
    return study.features_slice(entry_of(wildcards))


def network_gpu(wildcards):
    """GPUs of a job that runs a network; features without one need none."""
    return GPU if study.is_network(entry_of(wildcards)) else 0


def network_memory(wildcards, attempt):
    """Memory in MB: 4 bytes for each weight, read from a file and put into a network."""
    return (3000 + round(2 * 4 * entry_of(wildcards).get("parameters", 0))) * attempt


def files_of_network(name):
    """Files of a network or a control: a change of theirs re-runs what depends on them."""
    entry = config["registry"][name]
    settings = [entry.get("settings", {}).get(key) for key in ("path", "keys", "table")]
    # FILE::DATASET
    files = [Path(str(value).split("::")[0]) for value in settings if value]
    folder = Path(str(entry.get("path", "")))
    if folder.parts and folder.is_dir():
        files += folder.iterdir()
    return sorted(str(path) for path in files if path.is_file())


def weight_files(wildcards):
    return files_of_network(study.base_of(wildcards.model))


def given_files(wildcards):
    """Files in the data set's root that a network or a control is given beside the stimuli."""
    entry, root = entry_of(wildcards), root_of(ANALYSES[wildcards.analysis]["dataset"])
    settings = entry.get("settings", {})
    named = [entry.get("regions"), *(settings.get(key) for key in ("path", "keys", "table"))]
    # FILE::DATASET
    paths = [Path(root) / str(value).split("::")[0] for value in named if value]
    return sorted({str(path) for path in paths if path.exists()})


def members_of(wildcards):
    """Networks of a combination."""
    return ANALYSES[wildcards.analysis]["combinations"][wildcards.model]


def combined_designs(ending):
    """Function of the wildcards that gives the designs of a combination's networks."""

    def of_wildcards(wildcards):
        return [
            f"{RESULTS}/design/{wildcards.analysis}/{model}/sub-{wildcards.subject}.{ending}"
            for model in members_of(wildcards)
        ]

    return of_wildcards


def projected_manifests(wildcards):
    return [
        f"{RESULTS}/features/{STIMULI[wildcards.analysis]}/{model}.json"
        for model in members_of(wildcards)
    ]


def learnt_projection(wildcards):
    """The projection of a combination that learns one, else nothing."""
    if study.projection_of(ANALYSES[wildcards.analysis], wildcards.model) is None:
        return []
    return f"{RESULTS}/projections/{wildcards.analysis}/{wildcards.model}.nc"


def projection_slice(wildcards):
    return study.ordered(study.projection_of(ANALYSES[wildcards.analysis], wildcards.model))


def projection_memory(wildcards, input, attempt):
    """Memory in MB: the features of the widest layers, three times, and their covariance, five."""
    manifests = [json.loads(Path(path).read_text()) for path in input.manifests]
    n = manifests[0]["n_units"]
    widths = [max(layer["n_features"] for layer in found["layers"]) for found in manifests]
    # features are taken in the space of the units where these are fewer
    spanned = sum(min(width, n) for width in widths)
    numbers = 3 * n * sum(widths) + 5 * spanned**2
    return (SNAKEMAKE_MB + 700 + round(8 * numbers / 1e6)) * attempt


def compared_slice(wildcards):
    """Comparisons of an analysis, how they are tested, and at which level."""
    entry = ANALYSES[wildcards.analysis]
    test = {**entry["swap"], "fdr": entry["test"]["fdr"]}
    return study.ordered({"compare": entry["compare"], "swap": test})


def compared_fits(wildcards):
    entry = ANALYSES[wildcards.analysis]
    return {
        model: f"{RESULTS}/fits/{wildcards.analysis}/{model}/sub-{wildcards.subject}.nc"
        for model in sorted({model for pair in entry["compare"].values() for model in pair})
    }


def compared_sites(wildcards):
    """Tested sites of the compared models, where only significant sites enter."""
    entry = ANALYSES[wildcards.analysis]
    if entry["swap"]["among"] == "all":
        return []
    return [
        f"{RESULTS}/tests/{wildcards.analysis}/{model}/sub-{wildcards.subject}.tsv"
        for model in sorted({model for pair in entry["compare"].values() for model in pair})
    ]


def comparisons_of_all():
    return [
        f"{RESULTS}/comparisons/{analysis}/sub-{subject}.tsv"
        for analysis, entry in FITTED.items()
        if entry["compare"]
        for subject in subjects_in(analysis)
    ]


def features_of_all():
    found = [
        f"{RESULTS}/features/{STIMULI[analysis]}/{model}.json"
        for analysis, entry in ANALYSES.items()
        for model in study.networks_of(entry)
    ]
    return list(dict.fromkeys(found))


def clean_of_all(ending):
    return [
        f"{RESULTS}/clean/{name}/sub-{subject}{ending}"
        for name in DATASETS
        for subject in SUBJECTS[name]
    ]


def dropped_of_all():
    return [
        f"{RESULTS}/responses/{analysis}/sub-{subject}_dropped.tsv"
        for analysis in ANALYSES
        for subject in subjects_in(analysis)
    ]


def truth_slice():
    """What the evaluation has to know of the analyses: kinds, roles of models, comparisons."""
    keys = ("models", "untrained", "combinations", "compare", "test", "tasks")
    return {
        name: study.ordered(
            {
                **{key: entry[key] for key in keys},
                "kind": DATASETS[entry["dataset"]]["kind"],
            }
        )
        for name, entry in FITTED.items()
    }


def of_component(pattern):
    """Function of the wildcards that gives the files of all subjects of a component analysis."""

    def of_wildcards(wildcards):
        entry = config["components"][wildcards.component]
        names = {
            "analysis": entry["analysis"],
            "stimuli": STIMULI[entry["analysis"]],
            "model": entry["model"],
        }
        path = f"{RESULTS}/{pattern}"
        if "{subject}" not in pattern:
            return path.format(**names)
        return [path.format(**names, subject=subject) for subject in subjects_in(entry["analysis"])]

    return of_wildcards


def component_slice(wildcards):
    """Settings of a component analysis, and of its analysis what refitting needs."""
    entry = config["components"][wildcards.component]
    analysis = ANALYSES[entry["analysis"]]
    return study.ordered(
        {
            "n": entry["n"],
            "draws": entry["draws"],
            **{key: analysis[key] for key in ("folds", "ridge")},
            "test": {"min_shift": analysis["test"]["min_shift"]},
            "standardize_features": analysis["design"].get("standardize_features", False),
        }
    )


def components_of_all():
    return [f"{RESULTS}/components/{name}/components.tsv" for name in config["components"]]


def probed(wildcards):
    return config["probes"][wildcards.probe]


def probed_weights(wildcards):
    return files_of_network(probed(wildcards)["model"])


def probes_of_all():
    return [f"{RESULTS}/probes/{name}.tsv" for name in config["probes"]]


def factor_store(wildcards, resources):
    """Where decompositions are kept, and how much of them.

    No number depends on it: a change runs nothing again, as Snakemake does not compare params
    that are functions of `resources`.
    """
    return {"root": config["factor_store"], "limit_gb": config["factor_store_gb"]}


def rooms(*names):
    """Digest of rooms of the library: a rule re-runs when the code it uses has changed."""
    return study.digest_of_rooms(LIBRARY / "braid", *names)


def memory(mb):
    """Memory of a job in MB; more of it at each retry."""
    return lambda wildcards, attempt: mb * attempt


def ridge_memory(analysis_of, *shapes, draws=False):
    """Function that gives a ridge job's memory in MB, planned from the sizes of its designs.

    Designs are made by other jobs: until they are, Snakemake lists the memory as to be determined.
    """

    def of_job(wildcards, input, attempt):
        entry, total = analysis_of(wildcards), SNAKEMAKE_MB
        for name in shapes:
            shape = json.loads(Path(input[name]).read_text())
            total += predict_job_mb(
                n=shape["samples"],
                p=shape["features"],
                targets=shape["targets"],
                layers=shape["layers"],
                n_folds=study.n_folds(entry["folds"], shape["runs"]),
                chunks=study.chunks_of(entry["folds"]),
                alphas=entry["ridge"]["alphas"]["n"],
                memory_mb=entry["ridge"]["memory_mb"],
                draws=entry["test"]["n"] * len(entry["test"]["nulls"]) if draws else 0,
            )
        return total * attempt

    return of_job


def of_this_analysis(wildcards):
    return ANALYSES[wildcards.analysis]


def ridge_gpu(analysis_of):
    """Function of the wildcards that gives the GPUs of a ridge job."""

    def of_wildcards(wildcards):
        return 0 if analysis_of(wildcards)["ridge"]["device"] == "cpu" else 1

    return of_wildcards


def ridge_environment(analysis_of):
    """Function of the wildcards that gives a ridge job's environment: torch only for GPUs."""

    def of_wildcards(wildcards):
        on_cpu = analysis_of(wildcards)["ridge"]["device"] == "cpu"
        return "../../envs/statistics.yaml" if on_cpu else "../../envs/accelerated.yaml"

    return of_wildcards


wildcard_constraints:
    dataset=one_of(DATASETS),
    analysis=one_of(ANALYSES),
    subject="[A-Za-z0-9]+",
    model=one_of([*NETWORKS, *COMBINATIONS]),
    table=one_of([*TABLES, *INTEGRATION_TABLES]),
    integration=one_of(INTEGRATIONS),
    profile=one_of({profile for entry in INTEGRATIONS.values() for profile in entry["profiles"]}),
    alignment=one_of({name for entry in INTEGRATIONS.values() for name in entry["alignments"]}),
