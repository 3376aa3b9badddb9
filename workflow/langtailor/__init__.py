"""langtailor: tailor a multilingual sentence-embedding model to the languages you care about.

The package holds the work of every pipeline stage and knows nothing of Snakemake. Importing it is
cheap: torch, transformers and friends are imported by the modules that need them.
"""

__version__ = "0.1.0"
