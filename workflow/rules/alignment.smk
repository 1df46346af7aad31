# Alignment: maps between the feature spaces of two networks, learnt from captioned pictures.
rule captioned:
    input:
        table=lambda wildcards: captioned_table(wildcards.captioned),
    output:
        pictures=f"{RESULTS}/captioned/{{captioned}}/pictures.tsv",
        pictures_sidecar=f"{RESULTS}/captioned/{{captioned}}/pictures.json",
        captions=f"{RESULTS}/captioned/{{captioned}}/captions.tsv",
        captions_sidecar=f"{RESULTS}/captioned/{{captioned}}/captions.json",
        pairs=f"{RESULTS}/captioned/{{captioned}}/pairs.tsv",
        pairs_sidecar=f"{RESULTS}/captioned/{{captioned}}/pairs.json",
    log:
        f"{LOGS}/captioned/{{captioned}}.log",
    benchmark:
        f"{BENCHMARKS}/captioned/{{captioned}}.tsv"
    conda:
        "../../envs/recordings.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=30,
    params:
        pictures=captioned_slice,
        code=rooms("stimuli"),
    script:
        "../scripts/captioned.py"


use rule features as features_captioned with:
    input:
        units=f"{RESULTS}/captioned/{{captioned}}/{{side}}.tsv",
        weights=weight_files,
    output:
        manifest=f"{RESULTS}/captioned/{{captioned}}/{{side}}/{{model}}.json",
    log:
        f"{LOGS}/features_captioned/{{captioned}}/{{side}}/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/features_captioned/{{captioned}}/{{side}}/{{model}}.tsv"
    wildcard_constraints:
        model=one_of(ALIGNED),
    params:
        root=lambda wildcards: ALIGNMENTS[wildcards.captioned]["pictures"]["root"],
        entry=registry_slice,
        store=config["feature_store"],
        device=config["device"],
        offline=config["models_offline"],
        seed=config["seed"],
        code=rooms("models", "features"),


rule align:
    input:
        language=aligned_manifest("language"),
        vision=aligned_manifest("vision"),
        pairs=f"{RESULTS}/captioned/{{captioned}}/pairs.tsv",
    output:
        maps=f"{RESULTS}/alignments/{{captioned}}/{{pair}}.nc",
        quality=f"{RESULTS}/alignments/{{captioned}}/{{pair}}.tsv",
        sidecar=f"{RESULTS}/alignments/{{captioned}}/{{pair}}.json",
    log:
        f"{LOGS}/align/{{captioned}}/{{pair}}.log",
    benchmark:
        f"{BENCHMARKS}/align/{{captioned}}/{{pair}}.tsv"
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=120,
    params:
        settings=alignment_slice,
        store=config["feature_store"],
        code=rooms("features", "transfer"),
    script:
        "../scripts/align.py"


rule design_aligned:
    input:
        manifest=lambda wildcards: (
            f"{RESULTS}/features/{STIMULI[wildcards.analysis]}/{aligned_network(wildcards)}.json"
        ),
        maps=f"{RESULTS}/alignments/{{captioned}}/{{pair}}.nc",
        events=f"{RESULTS}/events/{{analysis}}/sub-{{subject}}.tsv",
        response=f"{RESULTS}/responses/{{analysis}}/sub-{{subject}}.nc",
    output:
        design=f"{RESULTS}/aligned/{{captioned}}/{{pair}}/{{analysis}}/{{space}}/sub-{{subject}}.nc",
        shape=f"{RESULTS}/aligned/{{captioned}}/{{pair}}/{{analysis}}/{{space}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/design_aligned/{{captioned}}/{{pair}}/{{analysis}}/{{space}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/design_aligned/{{captioned}}/{{pair}}/{{analysis}}/{{space}}/sub-{{subject}}.tsv"
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=20,
    params:
        design=analysis_slice("design"),
        store=config["feature_store"],
        code=rooms("features", "transfer"),
    script:
        "../scripts/design_aligned.py"
