# Teacher, clone and student on the same tasks. A job has one model and all tasks.


rule evaluate:
    """Evaluate {wildcards.variant}, {wildcards.model}."""
    input:
        **evaluation_inputs(),
        **teacher_evaluation(),
        model=evaluated_model,
    output:
        scores=directory("<results>/evaluation/{variant}/{model}"),
    log:
        "<logs>/evaluate/{variant}/{model}.log",
    benchmark:
        "<benchmarks>/evaluate/{variant}/{model}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: evaluation_threads
    resources:
        mem_mb=growing(8000),
        runtime=growing(480),
        disk_mb=2000,
        gpu=1,
    params:
        tasks=compared_tasks,
        languages=EVALUATED_LANGUAGES,
        teacher=evaluated_reading,
        bootstrap=SETTINGS.evaluation.bootstrap,
        seed=SETTINGS.seed,
        cache=str(ROOT / "score_cache"),
        code=script_digest("evaluation", task_modules),
    script:
        "../scripts/evaluation.py"


use rule evaluate as evaluate_teacher with:
    """Evaluate the teacher."""
    input:
        **evaluation_inputs(vectors(COMPARED_LANGUAGES)),
        model="<results>/teacher/model",
    output:
        scores=directory("<results>/evaluation/teacher"),
    log:
        "<logs>/evaluate/teacher.log",
    benchmark:
        "<benchmarks>/evaluate/teacher.tsv"
