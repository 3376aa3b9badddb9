# Step 7a: teacher, clone and student on the same tasks.


rule evaluate:
    input:
        unpack(evaluation_inputs),
        model=lambda wildcards: {
            "clone": "<results>/clone/{variant}",
            "student": "<results>/distillation/{variant}/model",
        }[wildcards.model],
    output:
        scores="<results>/evaluation/{variant}/{model}/{task}.json",
    log:
        "<logs>/evaluate/{variant}/{model}/{task}.log",
    benchmark:
        "<benchmarks>/evaluate/{variant}/{model}/{task}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: evaluation_threads
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        disk_mb=2000,
        gpu=1,
    params:
        task=lambda wildcards: section(SETTINGS.evaluation.tasks[wildcards.task]),
        languages=lambda wildcards: SETTINGS.task_needs(wildcards.task).languages,
        teacher=section(SETTINGS.teacher, "prompt", "max_length", "dtype", "model", "trust_remote_code"),
        bootstrap=SETTINGS.evaluation.bootstrap,
        seed=SETTINGS.seed,
        code=script_digest("evaluation", task_modules),
    script:
        "../scripts/evaluation.py"


use rule evaluate as evaluate_teacher with:
    input:
        unpack(evaluation_inputs),
        model="<results>/teacher/model",
    output:
        scores="<results>/evaluation/teacher/{task}.json",
    log:
        "<logs>/evaluate/teacher/{task}.log",
    benchmark:
        "<benchmarks>/evaluate/teacher/{task}.tsv"
