"""Whether the sections of a configuration fit one another, beyond what each can check by itself."""

from __future__ import annotations

from langtailor.config.corpus import VocabularySource
from langtailor.config.distillation import DistillationSettings
from langtailor.config.retrieval import RetrievalSettings
from langtailor.config.run import Settings
from langtailor.config.student import ENCODER_KEYS
from langtailor.config.variants import Variant
from langtailor.errors import ConfigError


def check_run(settings: Settings) -> None:
    """Refuse what no variant can make good.

    Raises:
        ConfigError: names the key.
    """
    for name in settings.evaluation.tasks:
        _refuse_empty_test_split(settings, name)
    trained = "retrieval" in settings.model_fields_set or any(v.retrieval for v in settings.complete_variants.values())
    if settings.queries.model_fields_set and not trained:
        raise ConfigError(
            "queries",
            "they are for a training that nothing asks for; add `retrieval: {}`, or `retrieval: null` to skip it",
        )
    for lang in settings.corpus.languages:
        source, name = settings.source(lang), settings.name_in_source(lang)
        if isinstance(source, VocabularySource) and name not in {*source.letters, *source.scripts}:
            raise ConfigError(
                f"corpus.sources.{settings.source_name(lang)}",
                f"it has neither `letters` nor `scripts` of {name!r}; add one of them",
            )


def check_variant(settings: Settings, name: str, variant: Variant) -> None:
    """Refuse a variant that could not be trained or compared.

    Raises:
        ConfigError: names the key.
    """
    _refuse_other_dimensions(settings, name, variant)
    if variant.student.model is not None or settings.student.model is not None:
        _refuse_with_another_encoder(settings, name, variant)
    for training in filter(None, (variant.distillation, variant.retrieval)):
        _refuse_hidden_states_of_all_layers(name, variant, training)
    if variant.retrieval is not None:
        _refuse_unreadable_queries(settings, name, variant)
        _refuse_unvalidated_queries(settings, name, variant.retrieval)
        sides = [f"{lang}-{side}" for lang in settings.query_languages for side in ("documents", "queries")]
        _refuse_other_weights(variant.retrieval, sides)
    if variant.distillation is not None:
        _refuse_other_weights(variant.distillation, sorted(settings.corpus.languages))
    if settings.total("validation") == 0 and (reason := _needs_validation(variant)):
        raise ConfigError("corpus.quotas.validation", f"found 0, but {reason} (variant {name!r})")


def _refuse_empty_test_split(settings: Settings, task: str) -> None:
    """Refuse a task that reads test passages of languages which all have none."""
    languages = settings.task_needs(task).languages
    if languages and not any(settings.quotas(lang).test for lang in languages):
        first = languages[0]
        section = f"corpus.languages.{first}.quotas" if settings.corpus.languages[first].quotas else "corpus.quotas"
        raise ConfigError(
            f"{section}.test", f"found 0, but the task {task!r} reads test passages; raise it, or take the task out"
        )


def _needs_validation(variant: Variant) -> str:
    """What asks for validation passages, with what to do instead; empty where nothing does."""
    training, graft = variant.distillation, variant.vocabulary.graft
    if training is not None and training.keep != "last":
        return f"`distillation.keep: {training.keep}` compares validations; raise it, or keep `last`"
    if graft.policy in ("agreement", "marginal"):
        return f"`vocabulary.graft.policy: {graft.policy}` tries shares on them; raise it, or take `fixed`"
    if variant.rows_judged:
        return "`initialisation.method: agreement` tries methods on them; raise it, or name a method"
    if variant.student.tries_layers:
        return "`student.layer_choice: agreement` leaves out layers by them; raise it, or take `evenly`"
    return ""


def _refuse_hidden_states_of_all_layers(name: str, variant: Variant, training: DistillationSettings) -> None:
    """Refuse to compare hidden states if there is no clone with more layers to compare them with."""
    if training.objective.compares_hidden_states and variant.student.layers is None:
        raise ConfigError(
            f"{training.section}.objective.hidden_states",
            f"the student of variant {name!r} has all layers, so that no clone has more to compare its hidden states with; set "
            "student.layers, or the weight to 0",
        )


def _refuse_other_weights(training: DistillationSettings, names: list[str]) -> None:
    """Refuse weights of what is not there, and those that leave nothing."""
    weights, key = training.language_weights, f"{training.section}.language_weights"
    if unknown := sorted(set(weights) - set(names)):
        raise ConfigError(f"{key}.{unknown[0]}", f"there is no such name; it is one of {', '.join(names)}")
    if not any(weights.get(name, 1) for name in names):
        raise ConfigError(key, "every weight is 0, so that nothing is left to train on; give one of them more")


def _refuse_other_dimensions(settings: Settings, name: str, variant: Variant) -> None:
    """Refuse to compare a student's vectors with the teacher's if their dimensions differ."""
    if variant.student.dimensions is None:
        return
    for task in settings.evaluation.tasks:
        if settings.task_needs(task).teacher:
            raise ConfigError(
                f"evaluation.tasks.{task}.asymmetric",
                f"variant {name!r} has {variant.student.dimensions} dimensions (student.dimensions), so that its vectors "
                "cannot be compared with the teacher's; leave one of the two out",
            )


def _refuse_with_another_encoder(settings: Settings, name: str, variant: Variant) -> None:
    """Refuse what compares the vectors of clones, which those of another encoder are, with the teacher's."""
    for key in ENCODER_KEYS:
        if getattr(variant.student, key) != getattr(settings.student, key):
            raise ConfigError(
                f"variants.{name}.student.{key}",
                f"all variants are made of the same encoder; set student.{key} at the top level instead",
            )
    made_of = "students are made of another encoder (student.model), whose clones' vectors are not the teacher's"
    if variant.retrieval is not None:
        raise ConfigError(f"variants.{name}.retrieval", f"{made_of}; leave one of the two out")
    if variant.vocabulary.graft.policy == "agreement":
        raise ConfigError("vocabulary.graft.policy", f"found 'agreement', but {made_of}; take `fixed` or `marginal`")
    if variant.rows_judged:
        raise ConfigError(
            "initialisation.method", f"found 'agreement', but {made_of}; name a method, such as `aligned`"
        )
    for task in settings.evaluation.tasks:
        if settings.task_needs(task).teacher:
            raise ConfigError(f"evaluation.tasks.{task}.asymmetric", f"{made_of}; leave one of the two out")


def _refuse_unreadable_queries(settings: Settings, name: str, variant: Variant) -> None:
    """Refuse to train for retrieval without queries and documents, or on aligned texts, which these do not have."""
    if not settings.query_languages:
        raise ConfigError(
            "queries.pairs", f"variant {name!r} has `retrieval`, but no language has pairs, and `made` is 0"
        )
    if settings.teacher.reads != "text":
        raise ConfigError(
            f"variants.{name}.retrieval",
            f"the teacher reads aligned texts (teacher.reads: {settings.teacher.reads}), which queries and documents do not "
            "have; leave `retrieval` out",
        )


def _refuse_unvalidated_queries(settings: Settings, name: str, training: RetrievalSettings) -> None:
    """Refuse to choose weights by a validation that has no queries."""
    if settings.queries.validation == 0 and training.keep != "last":
        raise ConfigError(
            training.validation_key,
            f"found 0, but `retrieval.keep: {training.keep}` compares validations (variant {name!r}); raise it, or keep `last`",
        )
