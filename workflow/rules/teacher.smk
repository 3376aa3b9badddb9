# The teacher, and another encoder if students are made of one, copied into the run: every later rule reads these folders and
# needs no network.

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
    retries: hub_retries(not all(is_local(model.model) for model in (SETTINGS.teacher, SETTINGS.reading)))
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        disk_mb=8000,
    params:
        section="teacher",
        settings=section(SETTINGS.teacher, "model", "revision", "trust_remote_code"),
        # Given `resources`, these are nothing that Snakemake compares: other prompts or students need no other folder.
        prompts=lambda wildcards, resources: SETTINGS.asked_prompts,
        pruned=lambda wildcards, resources: not SETTINGS.base,
        code=script_digest("teacher"),
    script:
        "../scripts/teacher.py"


if SETTINGS.base:

    use rule fetch_teacher as fetch_base with:
        """Fetch the encoder that the students are made of and check it."""
        input:
            files=lambda wildcards: BASE_FILES,
        output:
            model=directory("<results>/base/model"),
        log:
            "<logs>/fetch_base.log",
        benchmark:
            "<benchmarks>/fetch_base.tsv"
        params:
            section="student",
            settings=section(SETTINGS.base, "model", "revision", "trust_remote_code"),
            prompts=lambda wildcards, resources: SETTINGS.base_prompts,
            pruned=True,
            code=script_digest("teacher"),
