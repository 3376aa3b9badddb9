# Training for retrieval. Queries, documents, their teacher vectors and the candidates are the same for all variants;
# only variants with `retrieval` have the training.


rule write_queries:
    """Read or make the queries of {wildcards.lang}."""
    input:
        pairs=pair_files,
        corpus=query_corpus,
        files=held_out_files(),
    output:
        queries="<results>/retrieval/texts/{lang}/queries.parquet",
        documents="<results>/retrieval/texts/{lang}/documents.parquet",
        answers="<results>/retrieval/texts/{lang}/answers.parquet",
    log:
        "<logs>/write_queries/{lang}.log",
    benchmark:
        "<benchmarks>/write_queries/{lang}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        disk_mb=2000,
    params:
        settings=section(
            SETTINGS.queries,
            *("columns", "negatives", "made", "validation", "near_duplicate_similarity"),
        ),
        pairs=lambda wildcards: section(SETTINGS.queries, "pairs")["pairs"].get(wildcards.lang),
        seed=SETTINGS.seed,
        tasks=held_out_tasks(),
        code=script_digest("retrieval_texts", held_out_modules),
    script:
        "../scripts/retrieval_texts.py"


rule query_vectors:
    """Embed {wildcards.side} with the teacher."""
    input:
        texts=per_language("<results>/retrieval/texts/{lang}/{side}.parquet", QUERY_LANGUAGES),
        teacher="<results>/teacher/model",
    output:
        vectors=directory("<results>/retrieval/vectors/{side}"),
    log:
        "<logs>/query_vectors/{side}.log",
    benchmark:
        "<benchmarks>/query_vectors/{side}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: model_threads
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        disk_mb=4000,
        gpu=1,
    params:
        languages=QUERY_LANGUAGES,
        teacher=section(SETTINGS.teacher),
        settings=section(SETTINGS.queries, "query_prompt", "document_prompt"),
        shard_passages=SETTINGS.vectors.shard_passages,
        batch_tokens=SETTINGS.vectors.batch_tokens,
        cache=str(ROOT / "shard_cache" / "retrieval" / "{side}"),
        code=script_digest("retrieval_vectors"),
    script:
        "../scripts/retrieval_vectors.py"


rule mine_candidates:
    """Mine candidates for queries and documents of {wildcards.lang}."""
    input:
        **{name: f"<results>/retrieval/texts/{{lang}}/{name}.parquet" for name in (*SIDES, "answers")},
        vectors=expand("<results>/retrieval/vectors/{side}", side=SIDES),
    output:
        **{side: f"<results>/retrieval/candidates/{{lang}}/{side}.parquet" for side in SIDES},
    log:
        "<logs>/mine_candidates/{lang}.log",
    benchmark:
        "<benchmarks>/mine_candidates/{lang}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
        disk_mb=2000,
    params:
        settings=section(SETTINGS.queries, "candidates", "most_similar"),
        code=script_digest("retrieval_candidates"),
    script:
        "../scripts/retrieval_candidates.py"


rule tokenize_queries:
    """Tokenize queries and documents for {wildcards.variant}."""
    input:
        **{side: per_language(f"<results>/retrieval/texts/{{lang}}/{side}.parquet", QUERY_LANGUAGES) for side in SIDES},
        clone=clone_folder,
    output:
        **{
            side: per_language(
                f"<results>/retrieval/students/{{variant}}/tokens/{side}/{{lang}}.arrow",
                QUERY_LANGUAGES,
            )
            for side in SIDES
        },
    log:
        "<logs>/tokenize_queries/{variant}.log",
    benchmark:
        "<benchmarks>/tokenize_queries/{variant}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: loading_threads
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        disk_mb=4000,
    params:
        languages=QUERY_LANGUAGES,
        max_length=lambda wildcards: SETTINGS.variant(wildcards.variant).retrieval.max_length,
        teacher=section(SETTINGS.teacher, "model", "prompt", "trust_remote_code"),
        settings=section(SETTINGS.queries, "query_prompt", "document_prompt"),
        code=script_digest("retrieval_tokens"),
    script:
        "../scripts/retrieval_tokens.py"


rule train_for_retrieval:
    """Train {wildcards.variant} for retrieval."""
    input:
        **{
            side: per_language(
                f"<results>/retrieval/students/{{variant}}/tokens/{side}/{{lang}}.arrow",
                QUERY_LANGUAGES,
            )
            for side in SIDES
        },
        **{
            f"{side}_candidates": per_language(
                f"<results>/retrieval/candidates/{{lang}}/{side}.parquet", QUERY_LANGUAGES
            )
            for side in SIDES
        },
        vectors=retrieval_targets,
        model=distilled_model,
        whole=partial(whole_clone, training="retrieval"),
    output:
        model=directory("<results>/retrieval/students/{variant}/model"),
    log:
        "<logs>/train_for_retrieval/{variant}.log",
    benchmark:
        "<benchmarks>/train_for_retrieval/{variant}.tsv"
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
        settings=variant_section("retrieval"),
        non_semantic_settings=non_semantic_settings("retrieval"),
        languages=QUERY_LANGUAGES,
        seed=SETTINGS.seed,
        trust_remote_code=SETTINGS.teacher.trust_remote_code,
        checkpoints=str(ROOT / "checkpoints" / "retrieval" / "{variant}"),
        code=script_digest("retrieval", retrieval_modules),
    script:
        "../scripts/retrieval.py"
