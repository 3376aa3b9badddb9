# The workflow is workflow/Snakefile; this file lets `snakemake` and `--snakefile` find it at the top, too.
include: "workflow/Snakefile"


# What an included file calls its default target is not that of the file that includes it.
workflow.default_target = "all"
