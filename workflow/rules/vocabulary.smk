# Step 3: choose the tokens of each variant, then write its tokenizer and prove it right.


rule select_vocabulary:
    input:
        teacher="<results>/teacher/model",
        corpora=per_language("<results>/corpus/{lang}.parquet"),
        counts=per_language("<results>/counts/{lang}.parquet"),
        donor=donor_files,
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
        languages=LANGUAGES,
        weights={lang: SETTINGS.corpus.languages[lang].weight for lang in LANGUAGES},
        targets=SETTINGS.target_languages,
        work=str(SETTINGS.root / "downloads" / "donor"),
        code=script_digest("select_vocabulary"),
    script:
        "../scripts/select_vocabulary.py"


rule write_tokenizer:
    input:
        teacher="<results>/teacher/model",
        vocabulary="<results>/vocabulary/{variant}.parquet",
        corpora=per_language("<results>/corpus/{lang}.parquet"),
    output:
        tokenizer=directory("<results>/tokenizer/{variant}"),
    log:
        "<logs>/write_tokenizer/{variant}.log",
    benchmark:
        "<benchmarks>/write_tokenizer/{variant}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        disk_mb=500,
    params:
        languages=LANGUAGES,
        targets=SETTINGS.target_languages,
        code=script_digest("write_tokenizer"),
    script:
        "../scripts/write_tokenizer.py"
