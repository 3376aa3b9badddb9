"""Read or make the queries and documents of one language."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from job import job
from langtailor.config.evaluation import parse_task
from langtailor.config.queries import HubPairs, QuerySettings
from langtailor.evaluation.tasks import register_tasks
from langtailor.retrieval.pairs import read_pairs, synthetic_pairs
from langtailor.retrieval.texts import write_texts

with job(snakemake):
    params, corpus = snakemake.params, snakemake.input.get("corpus")
    register_tasks()
    settings = QuerySettings(**params.settings)
    source = HubPairs(**params.pairs) if isinstance(params.pairs, Mapping) else params.pairs
    write_texts(
        synthetic_pairs(Path(corpus), settings.made, params.seed) if corpus else read_pairs(source, settings),
        snakemake.wildcards.lang,
        held_out=chain.from_iterable(parse_task(task).texts() for task in params.tasks),
        settings=settings,
        seed=params.seed,
        out={name: Path(path) for name, path in snakemake.output.items()},
    )
