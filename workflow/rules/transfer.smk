# Transfer: models fitted in one analysis predict the responses of another.
rule transfer:
    input:
        source_design=transferred("design", "source"),
        source_shape=transferred("design", "source", "json"),
        source_response=transferred("responses", "source"),
        source_fit=transferred("fits", "source"),
        target_design=transferred("design", "target"),
        target_shape=transferred("design", "target", "json"),
        target_response=transferred("responses", "target"),
        target_fit=transferred("fits", "target"),
        target_sites=transferred("tests", "target", "tsv"),
        maps=transfer_maps,
    output:
        table=f"{RESULTS}/transfers/{{transfer}}/{{model}}/sub-{{subject}}.tsv",
        sidecar=f"{RESULTS}/transfers/{{transfer}}/{{model}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/transfer/{{transfer}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/transfer/{{transfer}}/{{model}}/sub-{{subject}}.tsv"
    wildcard_constraints:
        transfer=one_of(config["transfers"]),
        model=one_of([*NETWORKS, *COMBINATIONS, *PAIRS]),
    conda:
        ridge_environment(of_source)
    threads: 1
    resources:
        mem_mb=ridge_memory(of_source, "source_shape", "target_shape", draws=True),
        runtime=240,
        gpu=ridge_gpu(of_source),
    params:
        analysis=transfer_slice,
        seed=config["seed"],
        factors=factor_store,
        code=rooms("encoding", "transfer"),
    script:
        "../scripts/transfer.py"
