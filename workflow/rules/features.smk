# Features of the networks in the feature store, and the designs built from them.
rule features:
    input:
        units=f"{RESULTS}/units/{{analysis}}.tsv",
        weights=weight_files,
        given=given_files,
    output:
        manifest=f"{RESULTS}/features/{{analysis}}/{{model}}.json",
    log:
        f"{LOGS}/features/{{analysis}}/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/features/{{analysis}}/{{model}}.tsv"
    wildcard_constraints:
        model=one_of(NETWORKS),
    conda:
        "../../envs/networks.yaml"
    # small networks gain nothing from more; GPUs need some to prepare their pictures
    threads: lambda wildcards: 4 if entry_of(wildcards).get("parameters", 0) > 20 else 1
    resources:
        mem_mb=network_memory,
        runtime=120,
        gpu=network_gpu,
    params:
        root=lambda wildcards: root_of(ANALYSES[wildcards.analysis]["dataset"]),
        entry=registry_slice,
        store=config["feature_store"],
        device=config["device"],
        offline=config["models_offline"],
        seed=config["seed"],
        code=rooms("models", "features"),
    script:
        "../scripts/features.py"


rule design:
    input:
        manifest=lambda wildcards: (
            f"{RESULTS}/features/{STIMULI[wildcards.analysis]}/{wildcards.model}.json"
        ),
        events=f"{RESULTS}/events/{{analysis}}/sub-{{subject}}.tsv",
        response=f"{RESULTS}/responses/{{analysis}}/sub-{{subject}}.nc",
    output:
        design=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.nc",
        shape=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/design/{{analysis}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/design/{{analysis}}/{{model}}/sub-{{subject}}.tsv"
    wildcard_constraints:
        model=one_of(NETWORKS),
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=20,
    params:
        design=analysis_slice("design"),
        store=config["feature_store"],
        code=rooms("features"),
    script:
        "../scripts/design.py"


rule project:
    input:
        manifests=projected_manifests,
        units=lambda wildcards: f"{RESULTS}/units/{STIMULI[wildcards.analysis]}.tsv",
    output:
        projection=f"{RESULTS}/projections/{{analysis}}/{{model}}.nc",
    log:
        f"{LOGS}/project/{{analysis}}/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/project/{{analysis}}/{{model}}.tsv"
    wildcard_constraints:
        model=one_of(PROJECTED),
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=projection_memory,
        runtime=120,
    params:
        members=members_of,
        settings=projection_slice,
        store=config["feature_store"],
        code=rooms("features"),
    script:
        "../scripts/project.py"


rule combine:
    input:
        designs=combined_designs("nc"),
        shapes=combined_designs("json"),
        projection=learnt_projection,
    output:
        design=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.nc",
        shape=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/combine/{{analysis}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/combine/{{analysis}}/{{model}}/sub-{{subject}}.tsv"
    wildcard_constraints:
        model=one_of(COMBINATIONS),
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=20,
    params:
        members=members_of,
        code=rooms("features"),
    script:
        "../scripts/combine.py"
