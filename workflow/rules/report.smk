# What a person reads.
rule report:
    input:
        tables=expand(f"{RESULTS}/tables/{{table}}.tsv", table=TABLES),
        fits=fits_of("fits/{analysis}/{model}/sub-{subject}.nc"),
        tests=fits_of("tests/{analysis}/{model}/sub-{subject}.nc"),
        manifests=features_of_all(),
        transfers=transfers_of_all(),
        matrices=matrices_of_all(),
        times=times_of_all(),
        alignments=alignments_of_all("tsv"),
        shared=shared_of_all(),
        integrations=integrations_of_all(),
        components=components_of_all(),
        probes=probes_of_all(),
        indexes=expand(f"{RESULTS}/index/{{dataset}}.tsv", dataset=sorted(DATASETS)),
        dropped=dropped_of_all(),
        quality=clean_of_all("_quality.json"),
        # for the space of the electrodes' coordinates
        clean=clean_of_all(".nc") if INTEGRATIONS else [],
        validation=expand(f"{RESULTS}/validation/{{dataset}}.json", dataset=sorted(DATASETS)),
        evaluation=f"{RESULTS}/evaluation.tsv" if SIMULATED or config["expect"] else [],
    output:
        page=report(f"{RESULTS}/report.html", caption="../report/page.rst", category="Report"),
        figures=report(
            directory(f"{RESULTS}/figures"),
            patterns=["{name}.png"],
            caption="../report/figure.rst",
            category="Figures",
        ),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 2
    resources:
        mem_mb=memory(3000),
        runtime=60,
    params:
        config=config,
        code=rooms("report"),
    script:
        "../scripts/report.py"
