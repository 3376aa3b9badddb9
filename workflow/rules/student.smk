# The folder that users load: the trained model, or the clone if nothing is trained, with a card that says what it is
# and how good it is.


rule assemble_student:
    """Give {wildcards.variant} its model card."""
    input:
        model=student_model,
        teacher=BASE_MODEL,
        scores=lambda wildcards: evaluations([wildcards.variant]),
    output:
        student=directory("<results>/student/{variant}"),
    log:
        "<logs>/assemble_student/{variant}.log",
    benchmark:
        "<benchmarks>/assemble_student/{variant}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
        disk_mb=4000,
    params:
        run=SETTINGS.run,
        models=lambda wildcards: SETTINGS.compared(wildcards.variant),
        tasks=TASKS,
        bootstrap=SETTINGS.evaluation.bootstrap,
        seed=SETTINGS.seed,
        targets=SETTINGS.targets,
        languages=LANGUAGES,
        teacher=section(SETTINGS.teacher),
        base=section(SETTINGS.base) if SETTINGS.base else None,
        corpus=section(SETTINGS.corpus),
        sources={lang: section(SETTINGS.source(lang)) for lang in LANGUAGES},
        queries=lambda wildcards: section(SETTINGS.queries) if SETTINGS.variant(wildcards.variant).retrieval else {},
        variant=lambda wildcards: section(
            SETTINGS.variant(wildcards.variant),
            *("vocabulary", "initialisation", "student", "distillation", "retrieval"),
        ),
        code=script_digest("student"),
    script:
        "../scripts/student.py"
