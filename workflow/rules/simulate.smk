# The demo's world: a raw BIDS data set with planted truth, and the toy networks trained on it.
if SIMULATED:

    rule simulate:
        input:
            world=SIMULATED["world"],
        output:
            root=directory(SIMULATED["root"]),
            truth=SIMULATED["truth"],
            sidecar=f"{SIMULATED['truth'].removesuffix('.tsv')}.json",
        log:
            f"{LOGS}/simulate.log",
        benchmark:
            f"{BENCHMARKS}/simulate.tsv"
        conda:
            "../../envs/simulate.yaml"
        threads: 2
        resources:
            mem_mb=memory(3000),
            runtime=20,
        params:
            seed=config["seed"],
            code=rooms("simulate"),
        script:
            "../scripts/simulate.py"

    # not part of any study: `make toys` runs it and puts the networks into resources/toys
    rule train_toy:
        input:
            world=SIMULATED["world"],
        output:
            folder=directory(f"{config['results']}/toys/{{toy}}"),
        log:
            f"{LOGS}/train_toy/{{toy}}.log",
        benchmark:
            f"{BENCHMARKS}/train_toy/{{toy}}.tsv"
        conda:
            "../../envs/networks.yaml"
        threads: 1
        resources:
            mem_mb=memory(3000),
            runtime=60,
        params:
            seed=config["seed"],
            code=rooms("simulate"),
        script:
            "../scripts/train_toy.py"
