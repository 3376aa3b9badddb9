# How often each language uses each token of the model whose vocabulary is cut.


rule count_tokens:
    """Count the tokens of each language."""
    input:
        corpora=per_language("<results>/corpus/{lang}.parquet"),
        teacher=BASE_MODEL,
    output:
        counts=per_language("<results>/counts/{lang}.parquet"),
    log:
        "<logs>/count_tokens.log",
    benchmark:
        "<benchmarks>/count_tokens.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        disk_mb=100,
    params:
        languages=LANGUAGES,
        code=script_digest("counts"),
    script:
        "../scripts/counts.py"
