# The workflow is workflow/Snakefile; this file lets `snakemake` and `--snakefile` find it at the top, too.
include: "workflow/Snakefile"


# What an included file calls its default target is not that of the file that includes it. A workflow that uses this one as
# a module has its own.
if workflow.modifier.is_main_snakefile():
    workflow.default_target = "all"
