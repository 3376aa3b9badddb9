"""Read or make the queries and documents of one language."""

from itertools import chain
from pathlib import Path

from job import job
from langtailor.config.evaluation import parse_task
from langtailor.config.queries import QuerySettings
from langtailor.evaluation.tasks import register_tasks
from langtailor.retrieval.pairs import made_pairs, read_pairs
from langtailor.retrieval.texts import write_texts

with job(snakemake):
    params, corpus = snakemake.params, snakemake.input.get("corpus")
    register_tasks()
    settings = QuerySettings(**params.settings)
    write_texts(
        made_pairs(Path(corpus), settings.made, params.seed) if corpus else read_pairs(Path(params.pairs), settings),
        snakemake.wildcards.lang,
        held_out=chain.from_iterable(parse_task(task).texts() for task in params.tasks.values()),
        settings=settings,
        seed=params.seed,
        out={name: Path(path) for name, path in snakemake.output.items()},
    )
