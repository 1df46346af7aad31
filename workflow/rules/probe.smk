# Probe: whether a vision-language network uses which picture belongs to which text.
rule probe:
    input:
        units=lambda wildcards: f"{RESULTS}/units/{STIMULI[probed(wildcards)['analysis']]}.tsv",
        weights=probed_weights,
    output:
        table=f"{RESULTS}/probes/{{probe}}.tsv",
        sidecar=f"{RESULTS}/probes/{{probe}}.json",
    log:
        f"{LOGS}/probe/{{probe}}.log",
    benchmark:
        f"{BENCHMARKS}/probe/{{probe}}.tsv"
    wildcard_constraints:
        probe=one_of(config["probes"]),
    conda:
        "../../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=120,
        gpu=GPU,
    params:
        settings=lambda wildcards: study.ordered(probed(wildcards)),
        entry=lambda wildcards: study.features_slice(config["registry"][probed(wildcards)["model"]]),
        root=lambda wildcards: root_of(ANALYSES[probed(wildcards)["analysis"]]["dataset"]),
        device=config["device"],
        offline=config["models_offline"],
        seed=config["seed"],
        code=rooms("probe"),
    script:
        "../scripts/probe.py"
