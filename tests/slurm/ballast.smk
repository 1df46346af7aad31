# One job that needs more memory than it first asks for.
rule ballast:
    output:
        "ballast.txt",
    resources:
        mem_mb=lambda wildcards, attempt: 600 * attempt,
        runtime=10,
    shell:
        "python3 -c 'import time; held = bytearray(900_000_000); time.sleep(10)' && echo held > {output}"
