# Write the new tokenizer of each variant and certify it.


rule write_tokenizer:
    """Write and certify the tokenizer of {wildcards.variant}."""
    input:
        teacher=BASE_MODEL,
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
    threads: loading_threads
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        disk_mb=500,
    params:
        languages=LANGUAGES,
        targets=SETTINGS.targets,
        prompts=SETTINGS.written_prompts,
        trust_remote_code=SETTINGS.reading.trust_remote_code,
        code=script_digest("tokenizer"),
    script:
        "../scripts/tokenizer.py"
