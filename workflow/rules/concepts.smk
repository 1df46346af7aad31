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
