# Checks of the responses: how well any model could predict them, and whether their clock is right.
rule ceilings:
    input:
        signal=lambda wildcards: of_analysis(
            wildcards, "{results}/clean/{dataset}/sub-{subject}.nc"
        ),
        events=f"{RESULTS}/events/{{analysis}}/sub-{{subject}}.tsv",
    output:
        table=f"{RESULTS}/ceilings/{{analysis}}/sub-{{subject}}.tsv",
        sidecar=f"{RESULTS}/ceilings/{{analysis}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/ceilings/{{analysis}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/ceilings/{{analysis}}/sub-{{subject}}.tsv"
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=30,
    params:
        analysis=analysis_slice("design", "repeats"),
        seed=config["seed"],
        code=rooms("stimuli", "inference"),
    script:
        "../scripts/ceilings.py"


rule timing:
    input:
        design=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.nc",
        shape=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.json",
        response=f"{RESULTS}/responses/{{analysis}}/sub-{{subject}}.nc",
    output:
        table=f"{RESULTS}/timing/{{analysis}}/{{model}}/sub-{{subject}}.tsv",
        sidecar=f"{RESULTS}/timing/{{analysis}}/{{model}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/timing/{{analysis}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/timing/{{analysis}}/{{model}}/sub-{{subject}}.tsv"
    wildcard_constraints:
        analysis=one_of(TIMED),
    conda:
        ridge_environment(of_this_analysis)
    threads: 1
    resources:
        mem_mb=ridge_memory(of_this_analysis, "shape"),
        runtime=60,
        gpu=ridge_gpu(of_this_analysis),
    params:
        analysis=analysis_slice("folds", "ridge", "timing"),
        code=rooms("encoding"),
    script:
        "../scripts/timing.py"
