"""Find the candidates of queries and documents of one language."""

from pathlib import Path

from job import job, shards_by_language
from langtailor.config.queries import QuerySettings
from langtailor.retrieval.candidates import mine_candidates
from langtailor.retrieval.texts import SIDES

with job(snakemake):
    inputs, lang = snakemake.input, snakemake.wildcards.lang
    mine_candidates(
        texts={name: Path(inputs[name]) for name in (*SIDES, "answers")},
        vectors={
            side: shards_by_language([lang], [folder])[lang] for side, folder in zip(SIDES, inputs.vectors, strict=True)
        },
        settings=QuerySettings(**snakemake.params.settings),
        out={side: Path(snakemake.output[side]) for side in SIDES},
    )
