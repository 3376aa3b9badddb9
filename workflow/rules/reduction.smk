# Fewer layers, shorter vectors, or vectors in the teacher's space. Only variants with fewer layers or dimensions, or made of
# another encoder, have this step.


rule reduce_clone:
    """Make the clone of {wildcards.variant} smaller."""
    input:
        clone=clone_folder,
        vectors=fitted_vectors,
        corpora=reduction_corpora,
    output:
        model=directory("<results>/reduction/{variant}/model"),
    log:
        "<logs>/reduce_clone/{variant}.log",
    benchmark:
        "<benchmarks>/reduce_clone/{variant}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: lambda wildcards: device_threads() if reduction_reads_text(wildcards) else 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
        disk_mb=4000,
        gpu=lambda wildcards: int(reduction_reads_text(wildcards)),
    params:
        settings=variant_section("student"),
        languages=LANGUAGES,
        reading=section(SETTINGS.reading),
        code=script_digest("reduction"),
    script:
        "../scripts/reduction.py"


rule project_vectors:
    """Project the teacher's vectors for {wildcards.variant}."""
    input:
        model="<results>/reduction/{variant}/model",
        vectors=all_vectors,
    output:
        vectors=directory("<results>/reduction/{variant}/vectors"),
    log:
        "<logs>/project_vectors/{variant}.log",
    benchmark:
        "<benchmarks>/project_vectors/{variant}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        disk_mb=4000,
    params:
        languages=LANGUAGES,
        code=script_digest("reduction_vectors"),
    script:
        "../scripts/reduction_vectors.py"


use rule project_vectors as project_query_vectors with:
    """Project the teacher's vectors of {wildcards.side} for {wildcards.variant}."""
    input:
        model="<results>/reduction/{variant}/model",
        vectors=["<results>/retrieval/vectors/{side}"],
    output:
        vectors=directory("<results>/reduction/{variant}/retrieval/{side}"),
    log:
        "<logs>/project_query_vectors/{variant}.{side}.log",
    benchmark:
        "<benchmarks>/project_query_vectors/{variant}.{side}.tsv"
    params:
        languages=QUERY_LANGUAGES,
        code=script_digest("reduction_vectors"),
