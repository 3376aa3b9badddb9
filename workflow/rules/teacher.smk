# The teacher, copied into the run: every later rule reads this folder and needs no network.

from langtailor.config.teacher import is_local


rule fetch_teacher:
    """Fetch the teacher and check it."""
    input:
        files=lambda wildcards: TEACHER_FILES,
    output:
        model=directory("<results>/teacher/model"),
    log:
        "<logs>/fetch_teacher.log",
    benchmark:
        "<benchmarks>/fetch_teacher.tsv"
    retries: hub_retries(not is_local(SETTINGS.teacher.model))
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        disk_mb=8000,
    params:
        settings=section(SETTINGS.teacher, "model", "revision", "trust_remote_code"),
        # Given `resources`, it is nothing that Snakemake compares: another prompt needs no other folder.
        prompts=lambda wildcards, resources: SETTINGS.asked_prompts,
        code=script_digest("teacher"),
    script:
        "../scripts/teacher.py"
