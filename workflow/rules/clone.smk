# The teacher with the new vocabulary: backbone untouched, kept rows copied, new rows composed.


rule choose_row_method:
    """Choose how the rows of new tokens of {wildcards.variant} are made."""
    input:
        teacher=BASE_MODEL,
        tokenizer="<results>/tokenizer/{variant}",
        vocabulary="<results>/vocabulary/{variant}.parquet",
        corpora=per_language("<results>/corpus/{lang}.parquet"),
        vectors=all_vectors,
    output:
        method="<results>/clone/{variant}.method.json",
    log:
        "<logs>/choose_row_method/{variant}.log",
    benchmark:
        "<benchmarks>/choose_row_method/{variant}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: device_threads()
    resources:
        mem_mb=growing(16000),
        runtime=growing(60),
        disk_mb=8000,
        gpu=1,
    params:
        settings=variant_section("initialisation"),
        teacher=section(SETTINGS.reading),
        languages=LANGUAGES,
        targets=SETTINGS.targets,
        seed=SETTINGS.seed,
        code=script_digest("clone_row_method"),
    script:
        "../scripts/clone_row_method.py"


rule clone_model:
    """Give the model of {wildcards.variant} its vocabulary."""
    input:
        teacher=BASE_MODEL,
        tokenizer="<results>/tokenizer/{variant}",
        vocabulary="<results>/vocabulary/{variant}.parquet",
        corpora=initialisation_corpora,
        method=row_method,
    output:
        clone=directory("<results>/clone/{variant}"),
    log:
        "<logs>/clone_model/{variant}.log",
    benchmark:
        "<benchmarks>/clone_model/{variant}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: lambda wildcards: device_threads() if fits_rows(wildcards) else loading_threads(wildcards)
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
        disk_mb=4000,
        # Only token distillation trains.
        gpu=lambda wildcards: int(fits_rows(wildcards)),
    params:
        settings=variant_section("initialisation"),
        languages=initialisation_languages,
        seed=SETTINGS.seed,
        prompts=initialisation_prompts,
        trust_remote_code=SETTINGS.reading.trust_remote_code,
        code=script_digest("clone"),
    script:
        "../scripts/clone.py"
