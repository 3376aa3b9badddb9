# Step 5: the teacher's vectors, once for all variants, shard by shard.


rule teacher_vectors:
    input:
        corpus="<results>/corpus/{lang}.parquet",
        teacher="<results>/teacher/model",
    output:
        vectors="<results>/vectors/{lang}/{shard}.arrow",
    log:
        "<logs>/teacher_vectors/{lang}/{shard}.log",
    benchmark:
        "<benchmarks>/teacher_vectors/{lang}/{shard}.tsv"
    # The most work first, so that the workers end together. Of equal shards those of the larger corpus come first, as
    # the scheduler of profiles/default looks at the size of the input.
    priority: lambda wildcards: SETTINGS.shards(wildcards.lang)[int(wildcards.shard)]
    conda:
        "../../envs/gpu.yaml"
    threads: model_threads
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        disk_mb=500,
        gpu=1,
    params:
        teacher=section(SETTINGS.teacher),
        settings=lambda wildcards: section(SETTINGS.vector_settings(wildcards.lang)),
        splits=SETTINGS.vector_splits,
        cache=str(ROOT / "shard_cache" / "{lang}"),
        code=script_digest("vectors"),
    script:
        "../scripts/vectors.py"
