# Encoding models: ridge from features to responses.
rule fit:
    input:
        design=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.nc",
        shape=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.json",
        response=f"{RESULTS}/responses/{{analysis}}/sub-{{subject}}.nc",
    output:
        f"{RESULTS}/fits/{{analysis}}/{{model}}/sub-{{subject}}.nc",
    log:
        f"{LOGS}/fit/{{analysis}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/fit/{{analysis}}/{{model}}/sub-{{subject}}.tsv"
    conda:
        ridge_environment(of_this_analysis)
    threads: 1
    resources:
        mem_mb=ridge_memory(of_this_analysis, "shape"),
        runtime=120,
        gpu=ridge_gpu(of_this_analysis),
    params:
        analysis=analysis_slice("folds", "ridge", "layers"),
        factors=factor_store,
        code=rooms("encoding"),
    script:
        "../scripts/fit.py"
