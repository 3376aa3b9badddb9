# Text of every language, sampled from its source, cleaned, deduplicated, chunked and split.


rule fetch_documents:
    """Sample documents of {wildcards.lang}."""
    input:
        files=source_files,
    output:
        documents="<results>/corpus/documents/{lang}.parquet",
    log:
        "<logs>/fetch_documents/{lang}.log",
    benchmark:
        "<benchmarks>/fetch_documents/{lang}.tsv"
    wildcard_constraints:
        lang=one_of(set(LANGUAGES).difference(WORDS_ALONE)),
    retries: hub_retries(SETTINGS.uses_hub)
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
        disk_mb=20000,
    params:
        source=lambda wildcards: section(SETTINGS.source(wildcards.lang)),
        source_lang=lambda wildcards: SETTINGS.name_in_source(wildcards.lang),
        quotas=lambda wildcards: section(SETTINGS.quotas(wildcards.lang)),
        revision=lambda wildcards: SAMPLE_REVISIONS.get(wildcards.lang),
        seed=SETTINGS.seed,
        work=str(ROOT / "downloads" / "{lang}"),
        code=script_digest("corpus_documents"),
    script:
        "../scripts/corpus_documents.py"


rule list_words:
    """List words of the vocabulary in the alphabet of {wildcards.lang}."""
    input:
        teacher=BASE_MODEL,
    output:
        documents="<results>/corpus/documents/{lang}.parquet",
    log:
        "<logs>/list_words/{lang}.log",
    benchmark:
        "<benchmarks>/list_words/{lang}.tsv"
    wildcard_constraints:
        lang=one_of(WORDS_ALONE),
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
        disk_mb=500,
    params:
        source=lambda wildcards: section(SETTINGS.source(wildcards.lang)),
        source_lang=lambda wildcards: SETTINGS.name_in_source(wildcards.lang),
        code=script_digest("corpus_words"),
    script:
        "../scripts/corpus_words.py"


rule build_corpus:
    """Clean, chunk and split the text of {wildcards.lang}."""
    input:
        documents="<results>/corpus/documents/{lang}.parquet",
        teacher="<results>/teacher/model",
    output:
        corpus="<results>/corpus/{lang}.parquet",
    log:
        "<logs>/build_corpus/{lang}.log",
    benchmark:
        "<benchmarks>/build_corpus/{lang}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
        disk_mb=4000,
    params:
        chunk_tokens=SETTINGS.corpus.chunk_tokens,
        short=section(SETTINGS.corpus.short),
        cleaning=section(SETTINGS.corpus.cleaning),
        quotas=lambda wildcards: section(SETTINGS.quotas(wildcards.lang)),
        seed=SETTINGS.seed,
        code=script_digest("corpus"),
    script:
        "../scripts/corpus.py"
