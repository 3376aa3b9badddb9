"""The command ``langtailor``, for users who do not know Snakemake: ``init``, ``plan``, ``run``, ``open``."""
