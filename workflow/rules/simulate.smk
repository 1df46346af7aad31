# The demo's world: a raw BIDS data set with planted truth, and the toy networks trained on it.
if SIMULATED:

    rule simulate:
        input:
            world=SIMULATED["world"],
        output:
            root=directory(SIMULATED["root"]),
            truth=SIMULATED["truth"],
            sidecar=f"{SIMULATED['truth'].removesuffix('.tsv')}.json",
        params:
            seed=config["seed"],
            code=rooms("simulate"),
        log:
            f"{LOGS}/simulate.log",
        benchmark:
            f"{BENCHMARKS}/simulate.tsv"
        threads: 1
        resources:
            mem_mb=memory(2000),
            runtime=20,
        conda:
            "../../envs/simulate.yaml"
        script:
            "../scripts/simulate.py"

    # not part of any study: `make toys` runs it and puts the networks into resources/toys
    rule train_toy:
        input:
            world=SIMULATED["world"],
        output:
            folder=directory(f"{config['results']}/toys/{{toy}}"),
        params:
            seed=config["seed"],
            code=rooms("simulate"),
        log:
            f"{LOGS}/train_toy/{{toy}}.log",
        benchmark:
            f"{BENCHMARKS}/train_toy/{{toy}}.tsv"
        threads: 2
        resources:
            mem_mb=memory(3000),
            runtime=60,
        conda:
            "../../envs/networks.yaml"
        script:
            "../scripts/train_toy.py"
