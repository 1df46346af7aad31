# What the rules of the integration sites share: paths, roles and slices. No science.
def roles_of(name):
    return study.integration_roles(INTEGRATIONS[name], ANALYSES, config["registry"])


def integration_slice(only=(), without=()):
    """Function of the wildcards that gives some settings of an integration's profile."""

    def of_wildcards(wildcards):
        entry = INTEGRATIONS[wildcards.integration]
        settings = study.integration_settings(entry, wildcards.profile)
        keys = set(only or settings) - set(without)
        return study.ordered({key: settings[key] for key in keys})

    return of_wildcards


def compared_roles(wildcards):
    """Models by role, without what only the tables show."""
    roles = roles_of(wildcards.integration)
    return study.ordered({role: names for role, names in roles.items() if role != "objectives"})


def integration_layer(wildcards):
    return study.integration_layer(INTEGRATIONS[wildcards.integration], wildcards.model)


def bootstraps(what):
    """Function of the wildcards that gives a file of every model of a subject and alignment.

    Profiles that bootstrap alike share the files.
    """

    def of_wildcards(wildcards):
        name = wildcards.integration
        profile = BOOTSTRAPS[name][wildcards.profile]
        analysis = INTEGRATIONS[name]["alignments"][wildcards.alignment]
        return [
            f"{RESULTS}/bootstraps/{name}/{profile}/{analysis}/{model}/"
            f"sub-{wildcards.subject}_{what}.nc"
            for model in study.integration_models(roles_of(name))
        ]

    return of_wildcards


def resampled_draws(wildcards):
    """Replicates of every model, where comparisons draw from them."""
    entry = INTEGRATIONS[wildcards.integration]
    settings = study.integration_settings(entry, wildcards.profile)
    return bootstraps("draws")(wildcards) if settings["events"] == "resampled" else []


def permuted_bins(wildcards):
    """Permutation tests of every model, where these say which bins count."""
    name = wildcards.integration
    settings = study.integration_settings(INTEGRATIONS[name], wildcards.profile)
    if settings["bin_filter"] != "perm_fdr":
        return []
    analysis = INTEGRATIONS[name]["alignments"][wildcards.alignment]
    return [
        f"{RESULTS}/tests/{analysis}/{model}/sub-{wildcards.subject}.nc"
        for model in study.integration_models(roles_of(name))
    ]


def integration_subjects(name):
    """Subjects of an integration: those of the data set of its analyses."""
    return subjects_in(next(iter(INTEGRATIONS[name]["alignments"].values())))


def compared_integrations(ending):
    """Function of the wildcards that gives a file of every alignment and subject."""

    def of_wildcards(wildcards):
        name = wildcards.integration
        return [
            f"{RESULTS}/integration/{name}/{wildcards.profile}/comparisons/{alignment}/"
            f"sub-{subject}{ending}"
            for alignment in INTEGRATIONS[name]["alignments"]
            for subject in integration_subjects(name)
        ]

    return of_wildcards


def integrations_of_all(*tables):
    return [
        f"{RESULTS}/integration/{name}/{profile}/{table}.tsv"
        for name, entry in INTEGRATIONS.items()
        for profile in entry["profiles"]
        for table in tables or INTEGRATION_TABLES
    ]


def bootstrap_memory(wildcards, input, attempt):
    """Memory in MB of an event bootstrap, planned from the sizes of its design."""
    shape = json.loads(Path(input.shape).read_text())
    settings = bootstrap_settings(wildcards)
    planned = predict_bootstrap_mb(
        n=shape["samples"],
        p=shape["features"],
        targets=shape["targets"],
        draws=settings["draws"],
        memory_mb=ANALYSES[wildcards.analysis]["ridge"]["memory_mb"],
        n_folds=settings["folds"],
        alphas=settings["alphas"]["n"],
        layers=shape["layers"],
    )
    return (SNAKEMAKE_MB + planned) * attempt


def bootstrap_minutes(wildcards, input, attempt):
    """Minutes of an event bootstrap, planned likewise."""
    shape = json.loads(Path(input.shape).read_text())
    sizes = (shape[name] for name in ("samples", "features", "targets"))
    return predict_bootstrap_minutes(*sizes, bootstrap_settings(wildcards)["draws"]) * attempt


def bootstrap_settings(wildcards):
    return study.integration_settings(INTEGRATIONS[wildcards.integration], wildcards.profile)


def integrated_slice():
    """What the evaluation has to know of the integrations: their alignments."""
    return {name: sorted(entry["alignments"]) for name, entry in INTEGRATIONS.items()}
