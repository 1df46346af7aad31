# Stimuli on the recordings' clock: events, the units they present, the responses to them.
rule events:
    input:
        index=lambda wildcards: of_analysis(
            wildcards, "{results}/index/{dataset}/sub-{subject}.tsv"
        ),
    output:
        table=f"{RESULTS}/events/{{analysis}}/sub-{{subject}}.tsv",
        sidecar=f"{RESULTS}/events/{{analysis}}/sub-{{subject}}.json",
    log:
        f"{LOGS}/events/{{analysis}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/events/{{analysis}}/sub-{{subject}}.tsv"
    conda:
        "../../envs/recordings.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=30,
    params:
        root=lambda wildcards: root_of(ANALYSES[wildcards.analysis]["dataset"]),
        analysis=analysis_slice("tasks", "units"),
        code=rooms("stimuli"),
    script:
        "../scripts/events.py"


rule units:
    input:
        events=lambda wildcards: expand(
            f"{RESULTS}/events/{{analysis}}/sub-{{subject}}.tsv",
            analysis=wildcards.analysis,
            subject=subjects_in(wildcards.analysis),
        ),
    output:
        table=f"{RESULTS}/units/{{analysis}}.tsv",
        sidecar=f"{RESULTS}/units/{{analysis}}.json",
    log:
        f"{LOGS}/units/{{analysis}}.log",
    benchmark:
        f"{BENCHMARKS}/units/{{analysis}}.tsv"
    conda:
        "../../envs/recordings.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        code=rooms("stimuli"),
    script:
        "../scripts/units.py"


rule responses:
    input:
        signal=lambda wildcards: of_analysis(
            wildcards, "{results}/clean/{dataset}/sub-{subject}.nc"
        ),
        events=f"{RESULTS}/events/{{analysis}}/sub-{{subject}}.tsv",
    output:
        response=f"{RESULTS}/responses/{{analysis}}/sub-{{subject}}.nc",
        dropped=f"{RESULTS}/responses/{{analysis}}/sub-{{subject}}_dropped.tsv",
        sidecar=f"{RESULTS}/responses/{{analysis}}/sub-{{subject}}_dropped.json",
    log:
        f"{LOGS}/responses/{{analysis}}/sub-{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/responses/{{analysis}}/sub-{{subject}}.tsv"
    conda:
        "../../envs/recordings.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=30,
    params:
        analysis=analysis_slice("design", "repeats"),
        code=rooms("stimuli"),
    script:
        "../scripts/responses.py"
