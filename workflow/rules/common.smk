# Configuration, paths and the few functions that bind wildcards to the typed settings.

import os
import re
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import Quietness, RerunTrigger

#: Where this file is: a folder, or a place in a remote repository.
RULES = workflow.current_basedir


def source(path):
    """Local path of one of the workflow's files, named relative to this one; of a remote one a copy is at hand."""
    file = RULES.join(path)
    return Path(file if isinstance(file, os.PathLike) else workflow.source_path(path))


# The package is beside the rules. For a remote workflow it is installed, and `job` is brought to its scripts.
if isinstance(RULES, os.PathLike):
    sys.path.insert(0, str(Path(RULES).parent))
elif find_spec("langtailor"):
    source("../scripts/job.py")
else:
    raise WorkflowError(f"{RULES}: needs the package langtailor of the same commit; `pip install` the repository")

from langtailor.storage.checksums import restore_times
from langtailor.config.corpus import FilesSource, SampleSource, VocabularySource
from langtailor.config.distillation import NON_SEMANTIC_SETTINGS
from langtailor.config.export import export_formats
from langtailor.config.loading import refuse_unwritable
from langtailor.config.teacher import is_local
from langtailor.config.vectors import job_folder
from langtailor.corpus.local_files import files_corpus, sample_corpus
from langtailor.vocabulary.donor import donor_file
from langtailor.errors import ConfigError, LangtailorError, SourceError
from langtailor.planning.configuration import load_settings
from langtailor.planning.machine import has_gpu
from langtailor.planning.summary import summary
from langtailor.progress import be_verbose
from langtailor.storage.code_digest import code_digest, module_digest
from langtailor.teacher.fetch import local_files

# A file given with --configfile stands alone; it is not laid over the demo's. A folder's own configuration goes first.
if not workflow.overwrite_configfiles:
    DEFAULT = Path("config/config.yaml")

    configfile: str(DEFAULT if DEFAULT.is_file() else source("../../config/config.yaml"))


try:
    SETTINGS = load_settings(config, workflow.configfiles, workflow.config_settings.config)
    refuse_unwritable(SETTINGS.root)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

LANGUAGES = sorted(SETTINGS.corpus.languages)
#: Languages without text, in place of which stand words of the teacher's vocabulary.
WORDS_ALONE = [lang for lang in LANGUAGES if isinstance(SETTINGS.source(lang), VocabularySource)]
VARIANTS = sorted(SETTINGS.variants)
#: Of each variant with new tokens one that is only cut, to tell what these do.
CUT_VARIANTS = list(SETTINGS.cut_variants)
#: Of variants that share vocabulary, tokenizer and clone the one under whose name these lie.
CLONED_VARIANTS = SETTINGS.cloned_variants
TASKS = sorted(SETTINGS.evaluation.tasks)
#: Tasks with texts of their own, which are not trained on.
HELD_OUT = {name: task for name, task in SETTINGS.evaluation.tasks.items() if task.has_texts}
#: Languages with queries and documents, where a variant is trained for retrieval.
QUERY_LANGUAGES = SETTINGS.query_languages
#: What retrieval has in each language.
SIDES = ("queries", "documents")

#: Threads of a job that has a model to itself.
MODEL_THREADS = 8


def hub_retries(uses_hub):
    """How often a job is tried again: one that asks the Hub twice, others as often as the profile says."""
    return 2 if uses_hub else None


def own(paths):
    """The user's own files, which stay where they are when the run's files are kept in a remote storage."""
    for path in map(str, paths):
        if set("{}<>").intersection(path):
            raise WorkflowError(
                f"{path}: Snakemake takes {{, }}, < and > in a file's name for a pattern; rename the file"
            )
    return [local(str(path)) for path in paths]


def refuse_missing_files():
    """End the plan where a file of evaluation data is missing: Snakemake would keep the scores that there are, and say nothing.

    Not where this workflow is part of another, which may make the file, and not in a job's own process, whose machine may lack
    it.
    """
    if not workflow.is_main_process:
        return
    main = Path(workflow.main_snakefile).resolve()
    if not isinstance(RULES, os.PathLike) or main.parent not in list(Path(RULES).resolve().parents)[:2]:
        return
    for task, needs in zip(TASKS, NEEDS):
        for file in needs.files:
            if not Path(file).is_file():
                raise WorkflowError(f"config `evaluation.tasks.{task}`: {file} is missing")


try:
    # The user's own teacher: a change of its files is seen.
    TEACHER_FILES = own(local_files(SETTINGS.teacher))
    # The sample ships with the code: when its files were written says nothing, so that its content is a parameter.
    SAMPLE_REVISIONS = {
        lang: sample_corpus(SETTINGS.name_in_source(lang)).revision()
        for lang in LANGUAGES
        if isinstance(SETTINGS.source(lang), SampleSource)
    }
except LangtailorError as error:
    raise WorkflowError(str(error)) from None


# Where nobody says how many GPUs this machine has, one job at a time has it. Not in profiles/default, which would outweigh
# what a user's own profile says.
GPU_HERE = has_gpu()
if GPU_HERE:
    workflow.global_resources.setdefault("gpu", 1)


pathvars:
    results=str(SETTINGS.root),
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


wildcard_constraints:
    lang="|".join(LANGUAGES),
    variant="|".join(map(re.escape, VARIANTS + CUT_VARIANTS)),
    format="|".join(map(re.escape, export_formats())),
    job=r"\d+",
    model="clone|reduced|distilled|student",
    side="|".join(SIDES),


# Snakemake reads it with `--sdm apptainer` alone.
if SETTINGS.container:

    container: SETTINGS.container


#: The run's folder as rules see it: a workflow that uses this one as a module may put a prefix before it.
ROOT = Path(workflow.pathvars.apply(workflow.modifier.path_modifier.replace_prefix("<results>")))


def keep_times():
    """Let what was rebuilt as it was keep its time, so that nothing made from it runs again.

    Not where Snakemake holds times against those of the scripts: there an old time would have it run each time.
    """
    if workflow.is_main_process and RerunTrigger.CODE not in workflow.rerun_triggers:
        restore_times(ROOT)


#: What Snakemake says of its scheduling between any two jobs.
SCHEDULING = re.compile(r"Select jobs to execute\.\.\.|Execute \d+ jobs\.\.\.")


def announce_jobs():
    """Announce a job by the line that documents its rule. A dry run and --verbose show its files and the reason, too."""
    output = workflow.output_settings
    if output.verbose:
        be_verbose()
    if output.verbose or output.dryrun:
        return
    logger.addFilter(lambda record: not SCHEDULING.match(record.getMessage()))
    if output.quiet is not None:  # there is a profile
        output.quiet.update({Quietness.PROGRESS, Quietness.REASON})
    for each in workflow.rules:
        each.message = each.message or each.docstring


def print_summary():
    """Say at the end where report and models are, and the main figures."""
    if workflow.is_main_process and (ROOT / "report.html").is_file():
        print(*summary(ROOT, {name: SETTINGS.compared(name) for name in VARIANTS}, TASKS), sep="\n", file=sys.stderr)


def script_digest(name, registered=None):
    """Digest of the code that a rule's script stands on, its own text included.

    Modules that the script finds in a registry are beyond what the digest can follow: `registered` maps wildcards to
    their names, and the result is a params function that adds their digests.
    """
    digest = code_digest(source(f"../scripts/{name}.py"))
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
    return sorted({task.module() for task in HELD_OUT.values()})


def export_modules(wildcards):
    """The modules of an export's format and of the tasks that judge it."""
    return [export_formats()[wildcards.format].module(), *task_modules(wildcards)]


def growing(amount):
    """A resource of which each further attempt gets as much again."""
    return lambda wildcards, attempt: amount * attempt


def device_threads():
    """Threads of a job that has a GPU to itself, or all cores: with several GPUs no more than each one's share of the cores,
    or the cores would be gone before the GPUs."""
    cores = workflow.resource_settings.cores
    if not (GPU_HERE and cores):
        return MODEL_THREADS
    gpus = max(1, workflow.global_resources["gpu"].value)
    return max(1, min(MODEL_THREADS, cores // gpus))


def model_threads(wildcards):
    """Threads of a job that reads texts with a model. On a machine without a GPU two run side by side on half of the cores
    each, because to load libraries and model takes seconds on one core, however many a job has."""
    cores = workflow.resource_settings.cores
    alone = GPU_HERE or not cores or not (workflow.is_main_process and workflow.local_exec)
    return device_threads() if alone else min(MODEL_THREADS, max(1, cores // 2))


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


def job_shards(wildcards):
    """The shards that a job of vectors makes. They follow from the quotas alone, so that planning needs no file."""
    return SETTINGS.vector_jobs[int(wildcards.job)]


def job_languages(wildcards):
    """Languages of a job's shards, in order."""
    return list(dict.fromkeys(shard.lang for shard in job_shards(wildcards)))


def published_vectors(wildcards):
    """Published vectors of a job's languages, where vectors are taken over."""
    if SETTINGS.vectors.source is None:
        return []
    return per_language("<results>/vectors/published/{lang}.arrow", job_languages(wildcards))


def vectors(langs):
    """Folders of the jobs that make the vectors of some languages."""
    jobs = enumerate(SETTINGS.vector_jobs)
    return [f"<results>/vectors/{job_folder(job)}" for job, made in jobs if any(shard.lang in langs for shard in made)]


def all_vectors(wildcards):
    return vectors(LANGUAGES)


def vector_threads(wildcards):
    """Threads of a job of vectors, which has them all where it is the only one."""
    return model_threads(wildcards) if len(SETTINGS.vector_jobs) > 1 else device_threads()


def one_of(names):
    """A wildcard constraint that allows these names alone, and nothing where there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def per_language(pattern, langs=LANGUAGES):
    """Paths of a per-language artifact, in the order of LANGUAGES."""
    return expand(pattern, lang=langs, allow_missing=True)


def language_files(lang):
    """The user's own files of a language, so that a change of them is seen. Where some are missing, the job says so."""
    source = SETTINGS.source(lang)
    if not isinstance(source, FilesSource):
        return []
    try:
        return own(files_corpus(source, SETTINGS.name_in_source(lang)).paths.values())
    except SourceError:
        return []


def source_files(wildcards):
    """The same for a job."""
    return language_files(wildcards.lang)


def refuse_odd_names():
    """End the plan where a name cannot be told from a pattern: of a file that exists Snakemake would not say why it is kept."""
    if workflow.is_main_process:
        for lang in LANGUAGES:
            language_files(lang)


def graft_files(wildcards):
    """The user's own tokenizer or list of words that gives a variant's grafts."""
    graft = SETTINGS.variant(wildcards.variant).vocabulary.graft
    files = [donor_file(graft.donor), Path(graft.tokens) if graft.tokens else None]
    return own([file for file in files if file and file.is_file()])


def graft_share(wildcards):
    """The share of new tokens, where it is chosen by what they do to the vectors."""
    judged = SETTINGS.variant(wildcards.variant).vocabulary.graft.policy == "agreement"
    return ["<results>/vocabulary/{variant}.share.json"] if judged else []


def clone_folder(wildcards):
    """The clone of a variant, which others may share."""
    return f"<results>/clone/{SETTINGS.clone_of(wildcards.variant)}"


def untrained_model(wildcards):
    """What a variant's training starts from: its clone, or that made smaller."""
    reduced = SETTINGS.variant(wildcards.variant).student.is_reduced
    return "<results>/reduction/{variant}/model" if reduced else clone_folder(wildcards)


def components_vectors(wildcards):
    """The vectors whose principal components a variant's student gives, where its own are shorter."""
    return vectors(LANGUAGES) if SETTINGS.variant(wildcards.variant).student.dimensions else []


def comparable_vectors(wildcards, langs):
    """The teacher's vectors as those of a variant's student can be compared with: projected, where these are shorter."""
    shorter = wildcards.get("model") != "clone" and SETTINGS.variant(wildcards.variant).student.dimensions
    return ["<results>/reduction/{variant}/vectors"] if shorter else vectors(langs)


def targets(wildcards):
    """What a variant is trained on."""
    return comparable_vectors(wildcards, LANGUAGES)


def sts_dev_files(wildcards):
    """The user's own sentence pairs that a variant's training looks at."""
    pairs = SETTINGS.variant(wildcards.variant).training.validation_sts
    return own([pairs.path]) if pairs and pairs.path else []


def fits_rows(wildcards):
    """Whether a variant's new rows are trained, by token distillation."""
    return SETTINGS.variant(wildcards.variant).initialisation.token_distillation.steps > 0


def row_method(wildcards):
    """The method of new rows, where it is chosen by what it does to the vectors."""
    judged = SETTINGS.variant(wildcards.variant).rows_judged
    return ["<results>/clone/{variant}.method.json"] if judged else []


def initialisation_languages(wildcards):
    """Languages whose corpus the new rows depend on."""
    return LANGUAGES if SETTINGS.variant(wildcards.variant).rows_read_corpus else []


def initialisation_corpora(wildcards):
    return per_language("<results>/corpus/{lang}.parquet", initialisation_languages(wildcards))


NEEDS = [SETTINGS.task_needs(task) for task in TASKS]
#: Languages whose corpus some task reads.
EVALUATED_LANGUAGES = sorted({lang for needs in NEEDS for lang in needs.languages})


#: Languages whose stored vectors some task reads.
COMPARED_LANGUAGES = {lang for needs in NEEDS if needs.vectors for lang in needs.languages}


def evaluation_vectors(wildcards):
    """The stored vectors that the tasks read."""
    return comparable_vectors(wildcards, COMPARED_LANGUAGES) if COMPARED_LANGUAGES else []


def task_files():
    """The user's own files that the tasks read."""
    return own(dict.fromkeys(file for needs in NEEDS for file in needs.files))


def evaluation_inputs(vectors=evaluation_vectors):
    """Corpora and stored vectors that the tasks read, and the user's own files, so that a change of them is seen."""
    return {
        "corpora": per_language("<results>/corpus/{lang}.parquet", EVALUATED_LANGUAGES),
        "vectors": vectors,
        "files": task_files(),
    }


def teacher_evaluation():
    """The teacher's scores, where later models are compared on the vectors that it leaves with them."""
    return {"teacher": "<results>/evaluation/teacher"} if any(needs.teacher for needs in NEEDS) else {}


def evaluation_threads(wildcards):
    """Threads of a model's evaluation: all where speed is measured, and for the student, which comes last and alone."""
    last = wildcards.get("model") == "student" and len(VARIANTS) == 1
    return device_threads() if last or any(needs.alone for needs in NEEDS) else model_threads(wildcards)


def distilled_model(wildcards):
    """The model that a variant has after distillation: the trained one, or the clone."""
    trained = SETTINGS.variant(wildcards.variant).distillation is not None
    return "<results>/distillation/{variant}/model" if trained else untrained_model(wildcards)


def student_model(wildcards):
    """The model that a variant ends with."""
    retrieval = SETTINGS.variant(wildcards.variant).retrieval is not None
    return "<results>/retrieval/students/{variant}/model" if retrieval else distilled_model(wildcards)


def evaluated_model(wildcards):
    """The model that an evaluation is of."""
    models = {"clone": "<results>/clone/{variant}", "reduced": "<results>/reduction/{variant}/model"}
    if wildcards.model in models:
        return models[wildcards.model]
    return distilled_model(wildcards) if wildcards.model == "distilled" else student_model(wildcards)


def pair_files(wildcards):
    """The user's own files with the queries and documents of a language."""
    return own(SETTINGS.queries.files(wildcards.lang))


def query_corpus(wildcards):
    """The corpus that queries are made of, where the user has none."""
    return [] if wildcards.lang in SETTINGS.queries.pairs else "<results>/corpus/{lang}.parquet"


def evaluations(variants, *steps):
    """Folders with the scores of the steps of these variants, of all that they have where none is named."""
    compared = [SETTINGS.compared(variant) for variant in variants]
    folders = [folder for models in compared for step, folder in models.items() if not steps or step in steps]
    return expand("<results>/evaluation/{folder}", folder=dict.fromkeys(folders))


def student_scores(wildcards):
    """Scores of a variant's last step, which is its student."""
    *_, last = SETTINGS.compared(wildcards.variant).values()
    return f"<results>/evaluation/{last}"


def all_exports(wildcards):
    """Folders of the exports that the variants ask for."""
    return [f"<results>/export/{variant}/{made}" for variant, made in SETTINGS.exports]


def variant_exports(wildcards):
    """Folders of a variant's exports, in the order of its formats."""
    formats = SETTINGS.variant(wildcards.variant).export.formats
    return expand("<results>/export/{variant}/{made}", made=formats, allow_missing=True)


def publications(wildcards):
    """Receipts of what the configuration publishes."""
    if not (SETTINGS.publish.repo or SETTINGS.publish.vectors):
        raise WorkflowError(
            "config `publish`: it names nothing to publish; set `publish.repo`, `publish.vectors` or both"
        )
    models = expand("<results>/publish/model/{variant}.json", variant=VARIANTS) if SETTINGS.publish.repo else []
    return [*models, *(["<results>/publish/vectors.json"] if SETTINGS.publish.vectors else [])]


def report_parts(name, category):
    """One part of the page for Snakemake's report, a file for each variant."""
    part = partial(report, caption=f"../report/{name}.rst", category=category)
    return [part(f"<results>/report/{variant}/{name}.html", labels={"variant": variant}) for variant in VARIANTS]
