# Step 7a: teacher, clone and student on the same tasks.


def evaluation_inputs(wildcards):
    """Corpora and stored vectors that a task looks at, and the user's own files, so that a change of them is seen."""
    needs = SETTINGS.task_needs(wildcards.task)
    return {
        "corpora": per_language("<results>/corpus/{lang}.parquet", needs.languages),
        "vectors": [path for lang in needs.languages if needs.vectors for path in shards(lang)],
        "files": list(needs.files),
    }


def all_evaluations(wildcards):
    return expand("<results>/evaluation/teacher/{task}.json", task=TASKS) + expand(
        "<results>/evaluation/{variant}/{model}/{task}.json",
        variant=VARIANTS,
        model=["clone", "student"],
        task=TASKS,
    )


rule evaluate:
    input:
        unpack(evaluation_inputs),
        model=lambda wildcards: {
            "clone": "<results>/clone/{variant}",
            "student": "<results>/distilled/{variant}",
        }[wildcards.model],
    output:
        scores="<results>/evaluation/{variant}/{model}/{task}.json",
    params:
        task=lambda wildcards: section(SETTINGS.evaluation.tasks[wildcards.task]),
        languages=lambda wildcards: SETTINGS.task_needs(wildcards.task).languages,
        teacher=section(SETTINGS.teacher, "prompt", "max_length", "dtype", "reads", "model", "trust_remote_code"),
        bootstrap=SETTINGS.evaluation.bootstrap,
        seed=SETTINGS.seed,
        code=code_digest("evaluation.run"),
    log:
        "<logs>/evaluate/{variant}/{model}/{task}.log",
    benchmark:
        "<benchmarks>/evaluate/{variant}/{model}/{task}.tsv"
    threads: 8
    retries: 0
    resources:
        mem_mb=8000,
        runtime=240,
        disk_mb=2000,
        gpu=1,
    conda:
        "../../envs/gpu.yaml"
    script:
        "../scripts/evaluate.py"


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
