# Students and teacher vectors on the Hub, only for the target `publish`. No other rule depends on them.


rule upload_model:
    """Publish {wildcards.variant} on the Hub."""
    input:
        student="<results>/student/{variant}",
        exports=variant_exports,
    output:
        receipt="<results>/publish/model/{variant}.json",
    log:
        "<logs>/upload_model/{variant}.log",
    benchmark:
        "<benchmarks>/upload_model/{variant}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
        disk_mb=1000,
    params:
        repo=lambda wildcards: SETTINGS.publish.model_repo(wildcards.variant),
        private=SETTINGS.publish.private,
        formats=lambda wildcards: list(SETTINGS.variant(wildcards.variant).export.formats),
        code=script_digest("publish"),
    script:
        "../scripts/publish.py"


rule upload_vectors:
    """Publish the teacher's vectors on the Hub."""
    input:
        teacher="<results>/teacher/model",
        vectors=all_vectors,
        corpora=per_language("<results>/corpus/{lang}.parquet") if SETTINGS.publish.text else [],
    output:
        receipt="<results>/publish/vectors.json",
    log:
        "<logs>/upload_vectors.log",
    benchmark:
        "<benchmarks>/upload_vectors.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(480),
        disk_mb=20000,
    params:
        repo=SETTINGS.publish.vectors,
        private=SETTINGS.publish.private,
        model=SETTINGS.teacher.model,
        languages=LANGUAGES,
        code=script_digest("publish_vectors"),
    script:
        "../scripts/publish_vectors.py"
