# The student for other runtimes, each export with a certificate. Only runs that ask for exports have this step.


rule export_student:
    """Export {wildcards.variant} to {wildcards.format}."""
    input:
        **evaluation_inputs(),
        **teacher_evaluation(),
        texts=per_language("<results>/corpus/{lang}.parquet"),
        student="<results>/student/{variant}",
        scores=student_scores,
    output:
        folder=directory("<results>/export/{variant}/{format}"),
    log:
        "<logs>/export_student/{variant}/{format}.log",
    benchmark:
        "<benchmarks>/export_student/{variant}/{format}.tsv"
    conda:
        "../../envs/export.yaml"
    # Speeds are measured.
    threads: whole_machine()
    resources:
        mem_mb=growing(12000),
        runtime=growing(120),
        disk_mb=4000,
    params:
        bounds=lambda wildcards: vars(SETTINGS.variant(wildcards.variant).export.bounds(wildcards.format)),
        tasks={name: section(task) for name, task in SETTINGS.evaluation.tasks.items()},
        languages=LANGUAGES,
        evaluated=EVALUATED_LANGUAGES,
        teacher=model_reading(SETTINGS.reading),
        bootstrap=SETTINGS.evaluation.bootstrap,
        seed=SETTINGS.seed,
        code=script_digest("export", export_modules),
    script:
        "../scripts/export.py"
