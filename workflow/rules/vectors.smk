# Step 5: the teacher's vectors, once for all variants, shard by shard.


rule teacher_vectors:
    input:
        corpus="<results>/corpus/{lang}.parquet",
        teacher="<results>/teacher/model",
    output:
        vectors="<results>/teacher/vectors/{lang}/{shard}.arrow",
    log:
        "<logs>/teacher_vectors/{lang}/{shard}.log",
    benchmark:
        "<benchmarks>/teacher_vectors/{lang}/{shard}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        disk_mb=500,
        gpu=1,
    params:
        teacher=section(SETTINGS.teacher),
        settings=section(SETTINGS.vectors),
        kept=str(SETTINGS.root / "kept" / "vectors" / "{lang}"),
        code=code_digest("vectors"),
    script:
        "../scripts/teacher_vectors.py"
