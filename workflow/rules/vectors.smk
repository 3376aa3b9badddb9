# The teacher's vectors, once for all variants. A job makes shards of one language or several.


rule fetch_vectors:
    """Fetch the published vectors of {wildcards.lang}."""
    input:
        teacher="<results>/teacher/model",
    output:
        vectors="<results>/vectors/published/{lang}.arrow",
    log:
        "<logs>/fetch_vectors/{lang}.log",
    benchmark:
        "<benchmarks>/fetch_vectors/{lang}.tsv"
    retries: hub_retries(SETTINGS.vectors.source is not None)
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        disk_mb=20000,
    params:
        source=section(SETTINGS.vectors.source) if SETTINGS.vectors.source else None,
        teacher=section(SETTINGS.teacher),
        work=str(ROOT / "downloads" / "vectors" / "{lang}"),
        code=script_digest("vectors_published"),
    script:
        "../scripts/vectors_published.py"


rule teacher_vectors:
    """Embed text with the teacher, job {wildcards.job}."""
    input:
        corpora=lambda wildcards: per_language("<results>/corpus/{lang}.parquet", job_languages(wildcards)),
        teacher="<results>/teacher/model",
        published=published_vectors,
    output:
        vectors=directory("<results>/vectors/{job}"),
    log:
        "<logs>/teacher_vectors/{job}.log",
    benchmark:
        "<benchmarks>/teacher_vectors/{job}.tsv"
    # The most work first, so that the workers end together.
    priority: lambda wildcards: sum(shard.passages for shard in job_shards(wildcards))
    conda:
        "../../envs/gpu.yaml"
    threads: vector_threads
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        disk_mb=2000,
        gpu=1,
    params:
        shards=lambda wildcards: list(map(list, job_shards(wildcards))),
        languages=job_languages,
        teacher=section(SETTINGS.teacher),
        batch_tokens=SETTINGS.vectors.batch_tokens,
        splits=SETTINGS.vector_splits,
        cache=str(ROOT / "shard_cache"),
        code=script_digest("vectors"),
    script:
        "../scripts/vectors.py"
