# Cleaned recordings, one file per subject; which rule makes it depends on the kind of recording.
rule preprocess_ieeg:
    input:
        index=f"{RESULTS}/index/{{dataset}}/sub-{{subject}}.tsv",
    output:
        signal=f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}.nc",
        excluded=f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}_excluded.tsv",
        quality=f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}_quality.tsv",
        sidecars=multiext(
            f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}",
            "_excluded.json",
            "_quality.json",
        ),
    log:
        f"{LOGS}/preprocess_ieeg/{{dataset}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/preprocess_ieeg/{{dataset}}/sub-{{subject}}.tsv"
    wildcard_constraints:
        dataset=one_of(datasets_of_kind("ieeg")),
    conda:
        "../../envs/recordings.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=60,
    params:
        root=lambda wildcards: root_of(wildcards.dataset),
        preprocess=preprocess_slice,
        code=rooms("preprocess"),
    script:
        "../scripts/preprocess_ieeg.py"


rule preprocess_bold:
    input:
        index=f"{RESULTS}/index/{{dataset}}/sub-{{subject}}.tsv",
    output:
        signal=f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}.nc",
        excluded=f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}_excluded.tsv",
        quality=f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}_quality.tsv",
        sidecars=multiext(
            f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}",
            "_excluded.json",
            "_quality.json",
        ),
    log:
        f"{LOGS}/preprocess_bold/{{dataset}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/preprocess_bold/{{dataset}}/sub-{{subject}}.tsv"
    wildcard_constraints:
        dataset=one_of(datasets_of_kind("bold")),
    conda:
        "../../envs/recordings.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=60,
    params:
        root=lambda wildcards: root_of(wildcards.dataset),
        preprocess=preprocess_slice,
        code=rooms("preprocess"),
    script:
        "../scripts/preprocess_bold.py"


rule preprocess_parcels:
    input:
        index=f"{RESULTS}/index/{{dataset}}/sub-{{subject}}.tsv",
    output:
        signal=f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}.nc",
        excluded=f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}_excluded.tsv",
        quality=f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}_quality.tsv",
        sidecars=multiext(
            f"{RESULTS}/clean/{{dataset}}/sub-{{subject}}",
            "_excluded.json",
            "_quality.json",
        ),
    log:
        f"{LOGS}/preprocess_parcels/{{dataset}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/preprocess_parcels/{{dataset}}/sub-{{subject}}.tsv"
    wildcard_constraints:
        dataset=one_of(datasets_of_kind("parcels")),
    conda:
        "../../envs/recordings.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=30,
    params:
        root=lambda wildcards: root_of(wildcards.dataset),
        preprocess=preprocess_slice,
        code=rooms("preprocess"),
    script:
        "../scripts/preprocess_parcels.py"
