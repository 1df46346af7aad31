# What the BIDS root holds, and whether it can be used.
rule validate_bids:
    input:
        root=lambda wildcards: made_root(wildcards.dataset),
    output:
        f"{RESULTS}/validation/{{dataset}}.json",
    log:
        f"{LOGS}/validate_bids/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/validate_bids/{{dataset}}.tsv"
    conda:
        "../../envs/recordings.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=30,
    params:
        root=lambda wildcards: root_of(wildcards.dataset),
        strictness=lambda wildcards: DATASETS[wildcards.dataset]["validate"],
        code=rooms("bids"),
    script:
        "../scripts/validate_bids.py"


rule index_bids:
    input:
        root=lambda wildcards: made_root(wildcards.dataset),
        # first the verdict, then the work
        validation=f"{RESULTS}/validation/{{dataset}}.json",
    output:
        table=f"{RESULTS}/index/{{dataset}}/sub-{{subject}}.tsv",
        sidecar=f"{RESULTS}/index/{{dataset}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/index_bids/{{dataset}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/index_bids/{{dataset}}/sub-{{subject}}.tsv"
    conda:
        "../../envs/recordings.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        dataset=dataset_slice,
        code=rooms("bids"),
    script:
        "../scripts/index_bids.py"


rule index_dataset:
    input:
        tables=lambda wildcards: expand(
            f"{RESULTS}/index/{{dataset}}/sub-{{subject}}.tsv",
            dataset=wildcards.dataset,
            subject=SUBJECTS[wildcards.dataset],
        ),
    output:
        table=f"{RESULTS}/index/{{dataset}}.tsv",
        sidecar=f"{RESULTS}/index/{{dataset}}.json",
    log:
        f"{LOGS}/index_dataset/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/index_dataset/{{dataset}}.tsv"
    conda:
        "../../envs/recordings.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=5,
    params:
        root=lambda wildcards: root_of(wildcards.dataset),
        resample=lambda wildcards: DATASETS[wildcards.dataset]["preprocess"].get("resample"),
        code=rooms("bids"),
    script:
        "../scripts/index_dataset.py"
