"""Write the run's report."""

from pathlib import Path

from job import job
from langtailor.config.report import ReportSettings
from langtailor.evaluation.comparison import read_comparisons
from langtailor.report.page import gather_page, write_report
from langtailor.report.parts import write_parts
from langtailor.report.provenance import write_provenance

with job(snakemake):
    params = snakemake.params
    out = Path(snakemake.output.page)
    root = out.parent
    comparisons = {
        name: read_comparisons(root / "evaluation", models, params.tasks, resamples=params.bootstrap, seed=params.seed)
        for name, models in params.models.items()
    }
    page = gather_page(
        root,
        params.run,
        ReportSettings(**params.settings),
        params.languages,
        params.targets,
        params.variants,
        params.models,
        comparisons,
        params.prompt,
    )
    write_report(page, out)
    write_parts(page, root / "report")
    write_provenance(root, params.config, Path(snakemake.output.provenance))
