"""Give one student its model card."""

from pathlib import Path

from job import job
from langtailor.evaluation.comparison import read_comparisons
from langtailor.student.card import CardFacts, assemble_student

with job(snakemake):
    params = snakemake.params
    variant = snakemake.wildcards.variant
    model = Path(snakemake.input.model)
    assemble_student(
        model,
        teacher=Path(snakemake.input.teacher),
        facts=CardFacts(
            params.run,
            variant,
            params.targets,
            params.languages,
            params.teacher,
            params.variant,
            list(params.models),
            params.corpus,
            params.sources,
            params.queries,
            params.base,
        ),
        comparisons=read_comparisons(
            Path(snakemake.output.student).parents[1] / "evaluation",
            params.models,
            params.tasks,
            resamples=params.bootstrap,
            seed=params.seed,
        ),
        out=Path(snakemake.output.student),
    )
