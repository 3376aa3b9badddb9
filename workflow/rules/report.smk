# One self-contained page about the run, its parts for Snakemake's own report, and what made it for machines.


rule write_report:
    """Write the report."""
    input:
        teacher="<results>/teacher/model",
        base=[BASE_MODEL] if SETTINGS.base else [],
        corpora=per_language("<results>/corpus/{lang}.parquet"),
        counts=per_language("<results>/counts/{lang}.parquet"),
        vocabularies=expand("<results>/vocabulary/{variant}.parquet", variant=CLONED_VARIANTS),
        tokenizers=expand("<results>/tokenizer/{variant}", variant=CLONED_VARIANTS),
        clones=expand("<results>/clone/{variant}", variant=CLONED_VARIANTS),
        models=expand(
            "<results>/distillation/{variant}/model",
            variant=[name for name in VARIANTS if SETTINGS.variant(name).distillation is not None],
        ),
        retrieval=expand(
            "<results>/retrieval/students/{variant}/model",
            variant=[name for name in VARIANTS if SETTINGS.variant(name).retrieval is not None],
        ),
        scores=evaluations(VARIANTS),
        exports=all_exports,
    output:
        page=report(
            "<results>/report.html",
            caption="../report/page.rst",
            category="Whole run",
            labels={"run": SETTINGS.run},
        ),
        scores=report_parts("scores", category="Scores"),
        certificates=report_parts("certificate", category="Tokenizer"),
        training=report_parts("training", category="Training"),
        provenance="<results>/provenance.json",
    log:
        "<logs>/write_report.log",
    benchmark:
        "<benchmarks>/write_report.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
        disk_mb=200,
    params:
        # Where a model goes says nothing about it, nor where its jobs ran.
        config=section(SETTINGS, *set(type(SETTINGS).model_fields) - {"publish", "container"}),
        run=SETTINGS.run,
        # A function, as Snakemake would look for wildcards in the text.
        settings=lambda wildcards: section(SETTINGS.report),
        # A function for the same reason.
        prompt=lambda wildcards: SETTINGS.reading.prompt,
        targets=SETTINGS.targets,
        languages=LANGUAGES,
        variants={name: section(SETTINGS.variant(name)) for name in VARIANTS},
        models={name: SETTINGS.compared(name) for name in VARIANTS},
        tasks=TASKS,
        bootstrap=SETTINGS.evaluation.bootstrap,
        seed=SETTINGS.seed,
        code=script_digest("report"),
    script:
        "../scripts/report.py"
