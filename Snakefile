# langtailor: tailor a multilingual sentence-embedding model to the languages you care about.
#
#   snakemake --cores all                                              the embedded demo: offline, CPU, minutes
#   snakemake --cores all --configfile config/turkish-200m.yaml        the paper's recipe
#   snakemake --cores all student                                      stop after a stage: see the targets below
#
# The rules stand in the order of the data; docs/architecture.md draws the picture.

from snakemake.utils import min_version

min_version("9.20")


include: "workflow/rules/common.smk"
include: "workflow/rules/teacher.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/counts.smk"
include: "workflow/rules/vocabulary.smk"
include: "workflow/rules/clone.smk"
include: "workflow/rules/vectors.smk"
include: "workflow/rules/distil.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/student.smk"
include: "workflow/rules/report.smk"


onsuccess:
    keep_times()


onerror:
    keep_times()


rule all:
    default_target: True
    input:
        expand("<results>/student/{variant}", variant=VARIANTS),
        "<results>/report.html",


# Targets for working step by step.


rule corpus:
    input:
        expand("<results>/corpus/{lang}.parquet", lang=LANGUAGES),


rule tokenizer:
    input:
        expand("<results>/tokenizer/{variant}", variant=VARIANTS),


rule clone:
    input:
        expand("<results>/clone/{variant}", variant=VARIANTS),


rule vectors:
    input:
        all_vectors,


rule clone_evaluation:
    input:
        evaluations("teacher", "clone"),


rule evaluation:
    input:
        evaluations("teacher", "clone", "student"),


rule student:
    input:
        expand("<results>/student/{variant}", variant=VARIANTS),


rule report:
    input:
        "<results>/report.html",
