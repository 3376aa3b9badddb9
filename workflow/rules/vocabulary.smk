# Choose the tokens of each variant.


rule choose_graft_share:
    """Choose the share of new tokens of {wildcards.variant}."""
    input:
        teacher=BASE_MODEL,
        corpora=per_language("<results>/corpus/{lang}.parquet"),
        counts=per_language("<results>/counts/{lang}.parquet"),
        vectors=all_vectors,
        grafts=graft_files,
    output:
        share="<results>/vocabulary/{variant}.share.json",
    log:
        "<logs>/choose_graft_share/{variant}.log",
    benchmark:
        "<benchmarks>/choose_graft_share/{variant}.tsv"
    retries: hub_retries(SETTINGS.uses_hub_donor)
    conda:
        "../../envs/gpu.yaml"
    threads: device_threads()
    resources:
        mem_mb=growing(16000),
        runtime=growing(120),
        disk_mb=8000,
        gpu=1,
    params:
        settings=variant_section("vocabulary"),
        initialisation=variant_section("initialisation"),
        teacher=section(SETTINGS.reading),
        languages=LANGUAGES,
        weights={lang: SETTINGS.corpus.languages[lang].weight for lang in LANGUAGES},
        targets=SETTINGS.targets,
        seed=SETTINGS.seed,
        work=str(ROOT / "downloads" / "donor"),
        prompts=SETTINGS.written_prompts,
        code=script_digest("vocabulary_graft_share"),
    script:
        "../scripts/vocabulary_graft_share.py"


rule select_vocabulary:
    """Choose the tokens of {wildcards.variant}."""
    input:
        teacher=BASE_MODEL,
        corpora=per_language("<results>/corpus/{lang}.parquet"),
        counts=per_language("<results>/counts/{lang}.parquet"),
        grafts=graft_files,
        share=graft_share,
    output:
        vocabulary="<results>/vocabulary/{variant}.parquet",
    log:
        "<logs>/select_vocabulary/{variant}.log",
    benchmark:
        "<benchmarks>/select_vocabulary/{variant}.tsv"
    retries: hub_retries(SETTINGS.uses_hub_donor)
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        disk_mb=500,
    params:
        settings=variant_section("vocabulary"),
        # The size of a vocabulary with new tokens may be more than cutting alone can fill.
        may_fall_short=lambda wildcards: wildcards.variant in CUT_VARIANTS,
        languages=LANGUAGES,
        weights={lang: SETTINGS.corpus.languages[lang].weight for lang in LANGUAGES},
        targets=SETTINGS.targets,
        work=str(ROOT / "downloads" / "donor"),
        prompts=SETTINGS.written_prompts,
        code=script_digest("vocabulary"),
    script:
        "../scripts/vocabulary.py"
