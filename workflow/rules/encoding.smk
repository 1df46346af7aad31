# Encoding models: ridge from features to responses.
rule fit:
    input:
        design=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.nc",
        response=f"{RESULTS}/responses/{{analysis}}/sub-{{subject}}.nc",
    output:
        f"{RESULTS}/fits/{{analysis}}/{{model}}/sub-{{subject}}.nc",
    log:
        f"{LOGS}/fit/{{analysis}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/fit/{{analysis}}/{{model}}/sub-{{subject}}.tsv"
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=120,
    params:
        analysis=analysis_slice("folds", "ridge", "layers"),
        code=rooms("encoding"),
    script:
        "../scripts/fit.py"
