# What jobs are given besides files: parameters, digests of their code, threads and other resources.

from langtailor.config.distillation import NON_SEMANTIC_SETTINGS
from langtailor.config.export import export_formats
from langtailor.planning.machine import has_gpu
from langtailor.storage.artifacts import canonical_json
from langtailor.storage.code_digest import code_digest, module_digest

# Where nobody says how many GPUs this machine has, one job at a time has it. Not in profiles/default, which would outweigh
# what a user's own profile says.
GPU_HERE = has_gpu()
if GPU_HERE:
    workflow.global_resources.setdefault("gpu", 1)

#: Threads of a job that has a model to itself.
MODEL_THREADS = 8


def hub_retries(uses_hub):
    """How often a job is tried again: one that asks the Hub twice, others as often as the profile says."""
    return 2 if uses_hub else None


def growing(amount):
    """A resource that grows by the same amount with each further attempt."""
    return lambda wildcards, attempt: amount * attempt


def device_threads():
    """Threads of a job that has a GPU to itself, or all cores: with several GPUs no more than each one's share of the cores,
    or the cores would be gone before the GPUs."""
    cores = workflow.resource_settings.cores
    if not (GPU_HERE and cores):
        return MODEL_THREADS
    gpus = max(1, workflow.global_resources["gpu"].value)
    return max(1, min(MODEL_THREADS, cores // gpus))


def whole_machine():
    """Threads of a job that measures the machine: all that there are, so that nothing runs beside it."""
    cores = workflow.resource_settings.cores
    return cores if cores and workflow.local_exec else MODEL_THREADS


def model_threads(wildcards):
    """Threads of a job that reads texts with a model. On a machine without a GPU two run side by side on half of the cores
    each, because to load libraries and model takes seconds on one core, however many a job has."""
    cores = workflow.resource_settings.cores
    alone = GPU_HERE or not cores or not (workflow.is_main_process and workflow.local_exec)
    return device_threads() if alone else min(MODEL_THREADS, max(1, cores // 2))


def loading_threads(wildcards):
    """Threads of a job that mostly loads libraries and a model: two, of which a machine with two cores has one to give, so
    that two such jobs run side by side there, too."""
    return min(2, model_threads(wildcards))


def vector_threads(wildcards):
    """Threads of a job of vectors, which has them all where it is the only one."""
    return model_threads(wildcards) if len(SETTINGS.vector_jobs) > 1 else device_threads()


def evaluation_threads(wildcards):
    """Threads of a model's evaluation: all where speed is measured, and for the student, which comes last and alone."""
    if any(needs.alone for needs in NEEDS):
        return whole_machine()
    last = wildcards.get("model") == "student" and len(VARIANTS) == 1
    return device_threads() if last else model_threads(wildcards)


def script_digest(name, registered=None):
    """Digest of the code that a rule's script depends on, its own text included.

    Modules that the script finds in a registry are beyond what the digest can follow: `registered` maps wildcards to
    their names, and the result is a params function that adds their digests.
    """
    digest = code_digest(source(f"../../scripts/{name}.py"))
    if registered is None:
        return digest
    return lambda wildcards: [digest, *map(module_digest, registered(wildcards))]


def objective_modules(wildcards):
    """Modules of the terms of a variant's loss."""
    return SETTINGS.variant(wildcards.variant).training.objective.modules()


def retrieval_modules(wildcards):
    """The same of a variant's training for retrieval."""
    return SETTINGS.variant(wildcards.variant).retrieval.objective.modules()


def task_modules(wildcards):
    """The modules of the tasks' kinds."""
    return sorted({task.module() for task in SETTINGS.evaluation.tasks.values()})


def held_out_modules(wildcards):
    """The same of the tasks whose texts are not trained on."""
    return sorted({task.module() for task in HELD_OUT})


def held_out_tasks():
    """These tasks as plain data, in an order that neither their names nor their places decide; equal ones once."""
    tasks = {canonical_json(section(task)): section(task) for task in HELD_OUT}
    return [tasks[key] for key in sorted(tasks)]


def initialisation_prompts(wildcards):
    """By language the prompt before the passages that new rows are trained on, where they are."""
    if not fits_rows(wildcards):
        return {}
    return {lang: SETTINGS.reading.for_language(lang).prompt for lang in LANGUAGES}


def sts_prompt(wildcards):
    """The prompt before the sentence pairs that a variant's training is validated on."""
    return SETTINGS.reading.prompt if SETTINGS.variant(wildcards.variant).training.validation_sts else None


def has_teachers_vectors(wildcards):
    """Whether an evaluated model's vectors can be compared with the teacher's: not those of another encoder as it is."""
    return not (SETTINGS.base and wildcards.get("model") in ("base", "clone"))


def compared_tasks(wildcards):
    """The tasks of an evaluation, by name."""
    tasks = SETTINGS.evaluation.tasks.items()
    kept = has_teachers_vectors(wildcards)
    return {name: section(task) for name, task in tasks if kept or not SETTINGS.task_needs(name).vectors}


def model_reading(reading):
    """How a model that is evaluated reads text."""
    return section(reading, "prompt", "language_prompts", "max_length", "dtype", "model", "trust_remote_code")


def evaluated_reading(wildcards):
    """How an evaluated model is read: the teacher, which has no wildcards, or what is made of it or of another encoder."""
    return model_reading(SETTINGS.reading if wildcards else SETTINGS.teacher)


def export_modules(wildcards):
    """The modules of an export's format and of the tasks that judge it."""
    return [export_formats()[wildcards.format].module(), *task_modules(wildcards)]


#: Left out of sections that have a training's settings in them.
NON_SEMANTIC = dict.fromkeys(("distillation", "retrieval"), set(NON_SEMANTIC_SETTINGS))
NON_SEMANTIC["variants"] = {name: NON_SEMANTIC | {} for name in VARIANTS}


def section(settings, *keys):
    """The named values of a settings section as plain data, for `params`, without what shapes no file."""
    return settings.model_dump(mode="json", include=set(keys) or None, exclude=NON_SEMANTIC)


def variant_section(name):
    """A params function: one section of the wildcard's variant."""
    return lambda wildcards: section(SETTINGS.variant(wildcards.variant), name)[name]


def non_semantic_settings(name):
    """A params function: how a variant's training is saved and shown, by the section that has its settings.

    What a function of `resources` gives is no parameter that Snakemake compares.
    """
    return lambda wildcards, resources: section(
        getattr(SETTINGS.variant(wildcards.variant), name), *NON_SEMANTIC_SETTINGS
    )
