# Transfer: models fitted in one analysis predict the responses of another.
rule transfer:
    input:
        unpack(transfer_files),
        target_sites=transferred("tests", "target", "tsv"),
    output:
        table=f"{RESULTS}/transfers/{{transfer}}/{{model}}/sub-{{subject}}.tsv",
        sidecar=f"{RESULTS}/transfers/{{transfer}}/{{model}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/transfer/{{transfer}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/transfer/{{transfer}}/{{model}}/sub-{{subject}}.tsv"
    wildcard_constraints:
        model=one_of(OF_TRANSFERS),
    conda:
        ridge_environment(of_source)
    threads: 1
    resources:
        mem_mb=transfer_memory(),
        runtime=240,
        gpu=ridge_gpu(of_source),
    params:
        analysis=transfer_slice,
        seed=config["seed"],
        factors=factor_store,
        code=rooms("encoding", "transfer"),
    script:
        "../scripts/transfer.py"


rule transfer_matrix:
    input:
        unpack(transfer_files),
        unpack(transfer_ceilings),
    output:
        table=f"{RESULTS}/transfers/{{transfer}}/{{model}}/sub-{{subject}}_matrix.tsv",
        sidecar=f"{RESULTS}/transfers/{{transfer}}/{{model}}/sub-{{subject}}_matrix.json",
    log:
        f"{LOGS}/transfer_matrix/{{transfer}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/transfer_matrix/{{transfer}}/{{model}}/sub-{{subject}}.tsv"
    wildcard_constraints:
        model=one_of(OF_TRANSFERS),
    conda:
        ridge_environment(of_source)
    threads: 1
    resources:
        mem_mb=transfer_memory(matrix=True),
        runtime=240,
        gpu=ridge_gpu(of_source),
    params:
        analysis=matrix_slice,
        seed=config["seed"],
        factors=factor_store,
        code=rooms("encoding", "transfer"),
    script:
        "../scripts/transfer_matrix.py"


rule transfer_times:
    input:
        unpack(transfer_files),
    output:
        table=f"{RESULTS}/transfers/{{transfer}}/{{model}}/sub-{{subject}}_times.tsv",
        sidecar=f"{RESULTS}/transfers/{{transfer}}/{{model}}/sub-{{subject}}_times.json",
        sites=f"{RESULTS}/transfers/{{transfer}}/{{model}}/sub-{{subject}}_times.nc",
    log:
        f"{LOGS}/transfer_times/{{transfer}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/transfer_times/{{transfer}}/{{model}}/sub-{{subject}}.tsv"
    wildcard_constraints:
        model=one_of(OF_TRANSFERS),
    conda:
        ridge_environment(of_source)
    threads: 1
    resources:
        mem_mb=transfer_memory(),
        runtime=240,
        gpu=ridge_gpu(of_source),
    params:
        analysis=matrix_slice,
        seed=config["seed"],
        factors=factor_store,
        code=rooms("encoding", "transfer"),
    script:
        "../scripts/transfer_times.py"


wildcard_constraints:
    transfer=one_of(TRANSFERS),
