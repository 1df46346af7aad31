# Concepts: the dimensions that the encoding weights of all subjects' sites share.
rule components:
    input:
        units=of_component("units/{stimuli}.tsv"),
        manifest=of_component("features/{stimuli}/{model}.json"),
        designs=of_component("design/{analysis}/{model}/sub-{subject}.nc"),
        responses=of_component("responses/{analysis}/sub-{subject}.nc"),
        fits=of_component("fits/{analysis}/{model}/sub-{subject}.nc"),
        sites=of_component("tests/{analysis}/{model}/sub-{subject}.tsv"),
    output:
        components=f"{RESULTS}/components/{{component}}/components.tsv",
        components_sidecar=f"{RESULTS}/components/{{component}}/components.json",
        units=f"{RESULTS}/components/{{component}}/components_units.tsv",
        units_sidecar=f"{RESULTS}/components/{{component}}/components_units.json",
        arrays=f"{RESULTS}/components/{{component}}/components.nc",
    log:
        f"{LOGS}/components/{{component}}.log",
    benchmark:
        f"{BENCHMARKS}/components/{{component}}.tsv"
    wildcard_constraints:
        component=one_of(config["components"]),
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=120,
    params:
        settings=component_slice,
        subjects=lambda wildcards: subjects_in(
            config["components"][wildcards.component]["analysis"]
        ),
        store=config["feature_store"],
        seed=config["seed"],
        factors=factor_store,
        code=rooms("features", "encoding", "concepts"),
    script:
        "../scripts/components.py"


rule shared_components:
    input:
        maps=lambda wildcards: shared_maps(wildcards),
        language_units=of_shared("language", "units/{stimuli}.tsv"),
        language_manifest=of_shared("language", "features/{stimuli}/{model}.json"),
        language_designs=of_shared("language", "design/{analysis}/{model}/sub-{subject}.nc"),
        language_responses=of_shared("language", "responses/{analysis}/sub-{subject}.nc"),
        language_fits=of_shared("language", "fits/{analysis}/{model}/sub-{subject}.nc"),
        language_sites=of_shared("language", "tests/{analysis}/{model}/sub-{subject}.tsv"),
        vision_units=of_shared("vision", "units/{stimuli}.tsv"),
        vision_manifest=of_shared("vision", "features/{stimuli}/{model}.json"),
        vision_designs=of_shared("vision", "design/{analysis}/{model}/sub-{subject}.nc"),
        vision_responses=of_shared("vision", "responses/{analysis}/sub-{subject}.nc"),
        vision_fits=of_shared("vision", "fits/{analysis}/{model}/sub-{subject}.nc"),
        vision_sites=of_shared("vision", "tests/{analysis}/{model}/sub-{subject}.tsv"),
    output:
        table=f"{RESULTS}/shared_components/{{shared}}/components.tsv",
        sidecar=f"{RESULTS}/shared_components/{{shared}}/components.json",
        language=f"{RESULTS}/shared_components/{{shared}}/language.nc",
        vision=f"{RESULTS}/shared_components/{{shared}}/vision.nc",
        units_language=f"{RESULTS}/shared_components/{{shared}}/units_language.tsv",
        units_language_sidecar=f"{RESULTS}/shared_components/{{shared}}/units_language.json",
        units_language_other=f"{RESULTS}/shared_components/{{shared}}/units_language_other.tsv",
        units_language_other_sidecar=f"{RESULTS}/shared_components/{{shared}}/units_language_other.json",
        units_vision=f"{RESULTS}/shared_components/{{shared}}/units_vision.tsv",
        units_vision_sidecar=f"{RESULTS}/shared_components/{{shared}}/units_vision.json",
        units_vision_other=f"{RESULTS}/shared_components/{{shared}}/units_vision_other.tsv",
        units_vision_other_sidecar=f"{RESULTS}/shared_components/{{shared}}/units_vision_other.json",
    log:
        f"{LOGS}/shared_components/{{shared}}.log",
    benchmark:
        f"{BENCHMARKS}/shared_components/{{shared}}.tsv"
    wildcard_constraints:
        shared=one_of(config["shared_components"]),
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=240,
    params:
        settings=shared_slice,
        subjects=shared_subjects,
        store=config["feature_store"],
        seed=config["seed"],
        factors=factor_store,
        code=rooms("features", "encoding", "transfer", "concepts"),
    script:
        "../scripts/shared_components.py"
