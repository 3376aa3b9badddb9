# Train the clone on the stored vectors. The teacher is not an input.


rule tokenize_corpora:
    """Tokenize the text for {wildcards.variant}."""
    input:
        corpora=per_language("<results>/corpus/{lang}.parquet"),
        clone=clone_folder,
    output:
        tokens=per_language("<results>/distillation/{variant}/tokens/{lang}.arrow"),
    log:
        "<logs>/tokenize_corpora/{variant}.log",
    benchmark:
        "<benchmarks>/tokenize_corpora/{variant}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: loading_threads
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
        disk_mb=8000,
    params:
        languages=LANGUAGES,
        max_length=lambda wildcards: SETTINGS.variant(wildcards.variant).training.max_length,
        teacher=section(SETTINGS.reading, "model", "prompt", "language_prompts", "trust_remote_code"),
        code=script_digest("distillation_tokens"),
    script:
        "../scripts/distillation_tokens.py"


rule distil:
    """Train {wildcards.variant} on the stored vectors."""
    input:
        clone=untrained_model,
        tokens=per_language("<results>/distillation/{variant}/tokens/{lang}.arrow"),
        vectors=targets,
        whole=partial(whole_clone, training="distillation"),
        pairs=sts_dev_files,
    output:
        model=directory("<results>/distillation/{variant}/model"),
    log:
        "<logs>/distil/{variant}.log",
    benchmark:
        "<benchmarks>/distil/{variant}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: device_threads()
    resources:
        mem_mb=growing(16000),
        runtime=growing(720),
        disk_mb=10000,
        gpu=1,
    params:
        run=SETTINGS.run,
        settings=variant_section("distillation"),
        non_semantic_settings=non_semantic_settings("distillation"),
        languages=LANGUAGES,
        seed=SETTINGS.seed,
        prompt=sts_prompt,
        trust_remote_code=SETTINGS.reading.trust_remote_code,
        checkpoints=str(ROOT / "checkpoints" / "{variant}"),
        code=script_digest("distillation", objective_modules),
    script:
        "../scripts/distillation.py"
