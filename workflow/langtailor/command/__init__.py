"""The command ``langtailor``, for who does not know Snakemake: ``init``, ``plan``, ``run``, ``open``."""
