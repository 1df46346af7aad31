# braid: reproducible encoding models of the brain. Entry point: config, rules, targets.
# `snakemake --cores all` runs the embedded demo; `--configfile config/studies/X.yaml` a study.
from snakemake.utils import min_version

min_version("9.27")

if "study" not in config:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/common_integration.smk"
include: "workflow/rules/common_alignment.smk"
include: "workflow/rules/common_transfer.smk"
include: "workflow/rules/common_checks.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/bids.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/stimuli.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/encoding.smk"
include: "workflow/rules/checks.smk"
include: "workflow/rules/inference.smk"
include: "workflow/rules/integration.smk"
include: "workflow/rules/alignment.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/concepts.smk"
include: "workflow/rules/probe.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


localrules:
    all,
    features_all,
    fits_all,


onstart:
    # a plan needs no recordings, a run does
    check_roots()
    calm_scheduler()


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.html",


rule features_all:
    input:
        features_of_all(),


rule fits_all:
    input:
        fits_of("fits/{analysis}/{model}/sub-{subject}.nc"),
