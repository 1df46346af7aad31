# Statistics: permutation tests, model comparisons, tables over subjects, evaluation.
rule permute:
    input:
        design=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.nc",
        shape=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.json",
        response=f"{RESULTS}/responses/{{analysis}}/sub-{{subject}}.nc",
        fit=f"{RESULTS}/fits/{{analysis}}/{{model}}/sub-{{subject}}.nc",
    output:
        nulls=f"{RESULTS}/tests/{{analysis}}/{{model}}/sub-{{subject}}.nc",
        sites=f"{RESULTS}/tests/{{analysis}}/{{model}}/sub-{{subject}}.tsv",
        sidecar=f"{RESULTS}/tests/{{analysis}}/{{model}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/permute/{{analysis}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/permute/{{analysis}}/{{model}}/sub-{{subject}}.tsv"
    conda:
        ridge_environment(of_this_analysis)
    threads: 1
    resources:
        mem_mb=ridge_memory(of_this_analysis, "shape", draws=True),
        runtime=240,
        gpu=ridge_gpu(of_this_analysis),
    params:
        analysis=analysis_slice("folds", "ridge", "test"),
        seed=config["seed"],
        factors=factor_store,
        code=rooms("encoding", "inference"),
    script:
        "../scripts/permute.py"


rule compare:
    input:
        unpack(compared_fits),
        response=f"{RESULTS}/responses/{{analysis}}/sub-{{subject}}.nc",
        sites=compared_sites,
    output:
        table=f"{RESULTS}/comparisons/{{analysis}}/sub-{{subject}}.tsv",
        sidecar=f"{RESULTS}/comparisons/{{analysis}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/compare/{{analysis}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/compare/{{analysis}}/sub-{{subject}}.tsv"
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=120,
    params:
        analysis=compared_slice,
        seed=config["seed"],
        code=rooms("inference"),
    script:
        "../scripts/compare.py"


rule collect:
    input:
        sites=fits_of("tests/{analysis}/{model}/sub-{subject}.tsv"),
        nulls=fits_of("tests/{analysis}/{model}/sub-{subject}.nc"),
        fits=fits_of("fits/{analysis}/{model}/sub-{subject}.nc"),
        comparisons=comparisons_of_all(),
        excluded=clean_of_all("_excluded.tsv"),
        quality=clean_of_all("_quality.tsv"),
        ceilings=ceilings_of_all(),
        timing=timing_of_all(),
    output:
        tables=expand(f"{RESULTS}/tables/{{table}}.tsv", table=TABLES),
        sidecars=expand(f"{RESULTS}/tables/{{table}}.json", table=TABLES),
    log:
        f"{LOGS}/collect.log",
    benchmark:
        f"{BENCHMARKS}/collect.tsv"
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=60,
    params:
        seed=config["seed"],
        code=rooms("inference"),
    script:
        "../scripts/collect.py"


rule evaluate:
    input:
        tables=expand(f"{RESULTS}/tables/{{table}}.tsv", table=TABLES),
        transfers=transfers_of_all() if SIMULATED else [],
        integrations=integrations_of_all("sites") if SIMULATED else [],
        shared=shared_of_all() if SIMULATED else [],
        ceilings=ceilings_of_all() if SIMULATED else [],
        truth=SIMULATED.get("truth", []),
    output:
        table=f"{RESULTS}/evaluation.tsv",
        sidecar=f"{RESULTS}/evaluation.json",
    log:
        f"{LOGS}/evaluate.log",
    benchmark:
        f"{BENCHMARKS}/evaluate.tsv"
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        analyses=truth_slice(),
        transfers=study.ordered(config["transfers"]),
        multimodal=multimodal_pairs(),
        integrations=integrated_slice(),
        expect=study.ordered(config["expect"]),
        code=rooms("inference"),
    script:
        "../scripts/evaluate.py"
