# The files that jobs read, as the configuration requires. In the order of the stages.

from functools import partial
from pathlib import Path

from snakemake.exceptions import WorkflowError

from langtailor.config.corpus import FilesSource, SampleSource
from langtailor.config.vectors import job_folder
from langtailor.corpus.local_files import files_corpus, sample_corpus
from langtailor.errors import LangtailorError, SourceError
from langtailor.teacher.fetch import errors_about, local_files
from langtailor.vocabulary.donor import own_graft_files


def own(paths):
    """The user's own files, which stay where they are when the run's files are kept in a remote storage."""
    for path in map(str, paths):
        if set("{}<>").intersection(path):
            raise WorkflowError(
                f"{path}: Snakemake takes {{, }}, < and > in a file's name for a pattern; rename the file"
            )
    return [local(str(path)) for path in paths]


try:
    # The user's own teacher: a change of its files is seen.
    TEACHER_FILES = own(local_files(SETTINGS.teacher))
    with errors_about("student"):
        BASE_FILES = own(local_files(SETTINGS.base)) if SETTINGS.base else []
    # The sample ships with the code: when its files were written says nothing, so that its content is a parameter.
    SAMPLE_REVISIONS = {
        lang: sample_corpus(SETTINGS.name_in_source(lang)).revision()
        for lang in LANGUAGES
        if isinstance(SETTINGS.source(lang), SampleSource)
    }
except LangtailorError as error:
    raise WorkflowError(str(error)) from None


#: The model whose vocabulary is cut: the teacher, or another encoder that the students are made of.
BASE_MODEL = "<results>/base/model" if SETTINGS.base else "<results>/teacher/model"


def per_language(pattern, langs=LANGUAGES):
    """Paths of a per-language artifact, in the order of LANGUAGES."""
    return expand(pattern, lang=langs, allow_missing=True)


def one_of(names):
    """A wildcard constraint that allows these names alone, and nothing where there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


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


def graft_files(wildcards):
    """The user's own tokenizer or list of words that gives a variant's grafts."""
    files = own_graft_files(SETTINGS.variant(wildcards.variant).vocabulary.graft).values()
    return own([file for file in files if file.is_file()])


def graft_share(wildcards):
    """The share of new tokens, where it is chosen by what they do to the vectors."""
    judged = SETTINGS.variant(wildcards.variant).vocabulary.graft.policy == "agreement"
    return ["<results>/vocabulary/{variant}.share.json"] if judged else []


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


def clone_folder(wildcards):
    """The clone of a variant, which others may share."""
    return f"<results>/clone/{SETTINGS.clone_of(wildcards.variant)}"


def job_shards(wildcards):
    """The shards that a job of vectors makes. They follow from the quotas alone, so that planning needs no file."""
    return SETTINGS.vector_jobs[int(wildcards.job)]


def job_languages(wildcards):
    """Languages of a job's shards, in order."""
    return list(dict.fromkeys(shard.lang for shard in job_shards(wildcards)))


def published_vectors(wildcards):
    """Published vectors of a job's languages, if published vectors are used."""
    if SETTINGS.vectors.source is None:
        return []
    return per_language("<results>/vectors/published/{lang}.arrow", job_languages(wildcards))


def vectors(langs):
    """Folders of the jobs that make the vectors of some languages."""
    jobs = enumerate(SETTINGS.vector_jobs)
    return [f"<results>/vectors/{job_folder(job)}" for job, made in jobs if any(shard.lang in langs for shard in made)]


def all_vectors(wildcards):
    return vectors(LANGUAGES)


def untrained_model(wildcards):
    """What a variant's training starts from: its clone, or that made smaller."""
    reduced = SETTINGS.variant(wildcards.variant).student.is_reduced
    return "<results>/reduction/{variant}/model" if reduced else clone_folder(wildcards)


def whole_clone(wildcards, training):
    """The clone with all layers and that with fewer, where a training compares hidden states."""
    variant = SETTINGS.variant(wildcards.variant)
    compared = getattr(variant, training).objective.compares_hidden_states
    return [clone_folder(wildcards), untrained_model(wildcards)] if compared else []


def fitted_vectors(wildcards):
    """The vectors that a variant's last module is fitted to, where its own are shorter or were another model's."""
    student = SETTINGS.variant(wildcards.variant).student
    return vectors(LANGUAGES) if student.dimensions or student.model else []


def reduction_reads_text(wildcards):
    """Whether another encoder is fitted to text, or layers are chosen by it."""
    return SETTINGS.variant(wildcards.variant).student.reads_text


def reduction_corpora(wildcards):
    return per_language("<results>/corpus/{lang}.parquet") if reduction_reads_text(wildcards) else []


def comparable_vectors(wildcards, langs):
    """The teacher's vectors as those of a variant's student can be compared with: projected, where these are shorter."""
    shorter = wildcards.get("model") != "clone" and SETTINGS.variant(wildcards.variant).student.dimensions
    return ["<results>/reduction/{variant}/vectors"] if shorter else vectors(langs)


def targets(wildcards):
    """What a variant is trained on."""
    return comparable_vectors(wildcards, LANGUAGES)


def sts_dev_files(wildcards):
    """The user's own sentence pairs that a variant's training is validated on."""
    pairs = SETTINGS.variant(wildcards.variant).training.validation_sts
    return own([pairs.path]) if pairs and pairs.path else []


def distilled_model(wildcards):
    """The model that a variant has after distillation: the trained one, or the clone."""
    trained = SETTINGS.variant(wildcards.variant).distillation is not None
    return "<results>/distillation/{variant}/model" if trained else untrained_model(wildcards)


def retrieval_targets(wildcards):
    """The teacher's vectors of queries and documents as a variant is trained on them: projected, where its own are shorter."""
    shorter = SETTINGS.variant(wildcards.variant).student.dimensions
    pattern = "<results>/reduction/{variant}/retrieval/{side}" if shorter else "<results>/retrieval/vectors/{side}"
    return expand(pattern, side=SIDES, allow_missing=True)


def pair_files(wildcards):
    """The user's own files with the queries and documents of a language."""
    return own(SETTINGS.queries.files(wildcards.lang))


def query_corpus(wildcards):
    """The corpus that queries are made of, where the user has none."""
    return [] if wildcards.lang in SETTINGS.queries.pairs else "<results>/corpus/{lang}.parquet"


def evaluation_vectors(wildcards):
    """The stored vectors that the tasks read."""
    if not has_teachers_vectors(wildcards):
        return []
    return comparable_vectors(wildcards, COMPARED_LANGUAGES) if COMPARED_LANGUAGES else []


def task_files():
    """The user's own files that the tasks read."""
    return own(dict.fromkeys(file for needs in NEEDS for file in needs.files))


def held_out_files():
    """Those with texts that are not trained on."""
    return own(sorted({file for task in HELD_OUT for file in task.needs(LANGUAGES).files}))


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


def evaluated_model(wildcards):
    """The model that an evaluation is of."""
    models = {
        "base": BASE_MODEL,
        "clone": "<results>/clone/{variant}",
        "reduced": "<results>/reduction/{variant}/model",
    }
    if wildcards.model in models:
        return models[wildcards.model]
    return distilled_model(wildcards) if wildcards.model == "distilled" else student_model(wildcards)


def evaluations(variants, *steps):
    """Folders with the scores of the steps of these variants, of all that they have where none is named."""
    compared = [SETTINGS.compared(variant) for variant in variants]
    folders = [folder for models in compared for step, folder in models.items() if not steps or step in steps]
    return expand("<results>/evaluation/{folder}", folder=dict.fromkeys(folders))


def student_model(wildcards):
    """The model that a variant ends with."""
    retrieval = SETTINGS.variant(wildcards.variant).retrieval is not None
    return "<results>/retrieval/students/{variant}/model" if retrieval else distilled_model(wildcards)


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
