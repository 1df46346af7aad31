# Integration sites: event bootstraps of every model, comparisons, the five tests.
rule bootstrap_events:
    input:
        design=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.nc",
        shape=f"{RESULTS}/design/{{analysis}}/{{model}}/sub-{{subject}}.json",
        response=f"{RESULTS}/responses/{{analysis}}/sub-{{subject}}.nc",
    output:
        draws=f"{RESULTS}/bootstraps/{{integration}}/{{profile}}/{{analysis}}/{{model}}/sub-{{subject}}_draws.nc",
        summary=f"{RESULTS}/bootstraps/{{integration}}/{{profile}}/{{analysis}}/{{model}}/sub-{{subject}}_summary.nc",
    log:
        f"{LOGS}/bootstrap/{{integration}}/{{profile}}/{{analysis}}/{{model}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/bootstrap/{{integration}}/{{profile}}/{{analysis}}/{{model}}/sub-{{subject}}.tsv"
    conda:
        ridge_environment(of_this_analysis)
    threads: 1
    resources:
        mem_mb=bootstrap_memory,
        runtime=bootstrap_minutes,
        gpu=ridge_gpu(of_this_analysis),
    params:
        settings=integration_slice(study.BOOTSTRAPPED),
        layer=integration_layer,
        device=lambda wildcards: ANALYSES[wildcards.analysis]["ridge"]["device"],
        memory_mb=lambda wildcards: ANALYSES[wildcards.analysis]["ridge"]["memory_mb"],
        seed=config["seed"],
        code=rooms("encoding", "inference.integration_bootstrap"),
    script:
        "../scripts/bootstrap_events.py"


rule compare_integration:
    input:
        summaries=bootstraps("summary"),
        draws=resampled_draws,
        permuted=permuted_bins,
    output:
        table=f"{RESULTS}/integration/{{integration}}/{{profile}}/comparisons/{{alignment}}/sub-{{subject}}.tsv",
        sidecar=f"{RESULTS}/integration/{{integration}}/{{profile}}/comparisons/{{alignment}}/sub-{{subject}}.json",
        scores=f"{RESULTS}/integration/{{integration}}/{{profile}}/comparisons/{{alignment}}/sub-{{subject}}.nc",
        labels=f"{RESULTS}/integration/{{integration}}/{{profile}}/comparisons/{{alignment}}/sub-{{subject}}_labels.nc",
    log:
        f"{LOGS}/integration/{{integration}}/{{profile}}/{{alignment}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/integration/{{integration}}/{{profile}}/{{alignment}}/sub-{{subject}}.tsv"
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=120,
    params:
        roles=compared_roles,
        settings=integration_slice(without=study.CORRECTED),
        seed=config["seed"],
        code=rooms("inference"),
    script:
        "../scripts/compare_integration.py"


rule integrate:
    input:
        comparisons=compared_integrations(".tsv"),
        scores=compared_integrations(".nc"),
        labels=compared_integrations("_labels.nc"),
    output:
        tables=[
            f"{RESULTS}/integration/{{integration}}/{{profile}}/{table}.tsv"
            for table in INTEGRATION_TABLES
        ],
        sidecars=[
            f"{RESULTS}/integration/{{integration}}/{{profile}}/{table}.json"
            for table in INTEGRATION_TABLES
        ],
    log:
        f"{LOGS}/integration/{{integration}}/{{profile}}/tables.log",
    benchmark:
        f"{BENCHMARKS}/integration/{{integration}}/{{profile}}/tables.tsv"
    conda:
        "../../envs/statistics.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=60,
    params:
        roles=lambda wildcards: study.ordered(roles_of(wildcards.integration)),
        settings=integration_slice(),
        seed=config["seed"],
        code=rooms("inference"),
    script:
        "../scripts/integrate.py"
