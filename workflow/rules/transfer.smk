# Transfer: models fitted in one analysis predict the responses of another.
rule transfer:
    input:
        source_design=transferred("design", "source"),
        source_response=transferred("responses", "source"),
        source_fit=transferred("fits", "source"),
        target_design=transferred("design", "target"),
        target_response=transferred("responses", "target"),
        target_fit=transferred("fits", "target"),
    output:
        table=f"{RESULTS}/transfers/{{transfer}}/{{model}}/sub-{{subject}}.tsv",
        sidecar=f"{RESULTS}/transfers/{{transfer}}/{{model}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/transfer/{{transfer}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/transfer/{{transfer}}/{{model}}/sub-{{subject}}.tsv"
    wildcard_constraints:
        transfer=one_of(config["transfers"]),
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=240,
    params:
        analysis=transfer_slice,
        seed=config["seed"],
        code=rooms("transfer"),
    script:
        "../scripts/transfer.py"
