# What the rules of alignments share: paths, networks and slices. No science.
ALIGNMENTS = config["alignments"]
PAIRS = sorted({pair for entry in ALIGNMENTS.values() for pair in entry["pairs"]})
ALIGNED = sorted(
    {
        pair[side]
        for entry in ALIGNMENTS.values()
        for pair in entry["pairs"].values()
        for side in ("language", "vision")
    }
)


def captioned_table(name):
    """Table of captioned pictures, or the data set that is made with it."""
    pictures = ALIGNMENTS[name]["pictures"]
    if SIMULATED and Path(pictures["root"]).is_relative_to(SIMULATED["root"]):
        return SIMULATED["root"]
    return f"{pictures['root']}/{pictures['table']}"


def captioned_slice(wildcards):
    entry = ALIGNMENTS[wildcards.captioned]
    return study.ordered({**entry["pictures"], "captions": entry["captions"]})


def aligned_manifest(side):
    """Function of the wildcards that gives the features of one side of a pair."""

    def of_wildcards(wildcards):
        model = ALIGNMENTS[wildcards.captioned]["pairs"][wildcards.pair][side]
        folder = {"language": "captions", "vision": "pictures"}[side]
        return f"{RESULTS}/captioned/{wildcards.captioned}/{folder}/{model}.json"

    return of_wildcards


def alignment_slice(wildcards):
    entry = ALIGNMENTS[wildcards.captioned]
    layers = entry["pairs"][wildcards.pair]["layers"]
    settings = {key: entry[key] for key in ("captions", "folds", "alphas")}
    return study.ordered({**settings, "layers": layers})


def aligned_network(wildcards):
    """Network whose features are taken into the other space of a pair."""
    other = {"language": "vision", "vision": "language"}[wildcards.space]
    return ALIGNMENTS[wildcards.captioned]["pairs"][wildcards.pair][other]


def alignments_of_all(ending):
    return [
        f"{RESULTS}/alignments/{name}/{pair}.{ending}"
        for name, entry in ALIGNMENTS.items()
        for pair in entry["pairs"]
    ]


def shared_maps(wildcards):
    entry = config["shared_components"][wildcards.shared]
    return f"{RESULTS}/alignments/{entry['alignment']}/{entry['pair']}.nc"


def shared_subjects(wildcards):
    """A subject takes part that took part in both analyses."""
    entry = config["shared_components"][wildcards.shared]
    others = set(subjects_in(entry["vision"]))
    return [subject for subject in subjects_in(entry["language"]) if subject in others]


def of_shared(side, pattern):
    """Function of the wildcards that gives the files of one side, of all subjects in both."""

    def of_wildcards(wildcards):
        entry = config["shared_components"][wildcards.shared]
        names = {
            "analysis": entry[side],
            "stimuli": STIMULI[entry[side]],
            "model": ALIGNMENTS[entry["alignment"]]["pairs"][entry["pair"]][side],
        }
        path = f"{RESULTS}/{pattern}"
        if "{subject}" not in pattern:
            return path.format(**names)
        return [path.format(**names, subject=subject) for subject in shared_subjects(wildcards)]

    return of_wildcards


def shared_slice(wildcards):
    """Settings of shared components, and of both analyses what refitting needs."""
    entry = config["shared_components"][wildcards.shared]
    keys = ("n", "draws", "surrogates", "spatial", "sites", "fdr")
    found = {key: entry[key] for key in keys}
    for side in ("language", "vision"):
        analysis = ANALYSES[entry[side]]
        refit = {key: analysis[key] for key in ("folds", "ridge")}
        found[side] = {
            **refit,
            "test": {"min_shift": analysis["test"]["min_shift"]},
            "standardize_features": analysis["design"].get("standardize_features", False),
        }
    return study.ordered(found)


def shared_of_all(file="components.tsv"):
    return [f"{RESULTS}/shared_components/{name}/{file}" for name in config["shared_components"]]


def multimodal_pairs():
    """By transfer through an alignment: its first pair that is one network, or nothing."""
    found = {}
    for name, entry in config["transfers"].items():
        if "alignment" in entry:
            pairs = ALIGNMENTS[entry["alignment"]]["pairs"]
            one = [pair for pair in entry["pairs"] if len(set(networks_in(pairs[pair]))) == 1]
            found[name] = one[0] if one else ""
    return found


def networks_in(pair):
    return [pair["language"], pair["vision"]]


wildcard_constraints:
    captioned=one_of(ALIGNMENTS),
    pair=one_of(PAIRS),
    side="captions|pictures",
    space="language|vision",
