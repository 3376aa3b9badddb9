"""What each section allows and no run could do is refused with its key, before anything runs."""

import pytest

from langtailor.errors import ConfigError
from langtailor.planning.configuration import load_settings
from tests.workflow.conftest import changed

CONFIG = {
    "teacher": {"model": "owner/teacher"},
    "corpus": {
        "sources": {"sample": {"kind": "sample"}},
        "languages": {"de": {}, "en": {}},
        "quotas": {"train": 10, "validation": 2, "test": 2},
    },
    "vocabulary": {"graft": {"share": 0}},
    "evaluation": {"tasks": {"agreement": {"kind": "agreement"}}},
}
NO_VALIDATION = {"corpus.quotas.validation": 0, "distillation.keep": "last"}
LETTERS = {"kind": "vocabulary", "letters": {"de": "a-z"}}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"distillation.language_weights": {"de": 0}},
        {"retrieval.language_weights": {"de-queries": 0, "en-documents": 2}},
        {"queries.made": 10, "retrieval": None},
        {"queries.validation": 0, "retrieval.keep": "last"},
        {"corpus.languages.de": {"quotas": {"test": 0}}},
        {"queries.made": 10, "variants": {"a": {}, "b": {"retrieval": {}}}},
        {"distillation.objective": {"hidden_states": 0.1}, "student.layers": 2},
        NO_VALIDATION,
        {"corpus.quotas.validation": 0, "distillation": None},
        {"corpus.quotas.test": 0, "evaluation.tasks": {"sts": {"kind": "sts", "path": "a.tsv"}}},
        {"corpus.sources": {"words": {**LETTERS, "scripts": {"en": ["Latin"]}}}},
    ],
)
def test_what_fits_is_let_through(values):
    load_settings(changed(CONFIG, values))


@pytest.mark.parametrize(
    ("values", "key", "says"),
    [
        ({"distillation.language_weights": {"fr": 2}}, "distillation.language_weights.fr", "it is one of de, en"),
        (
            {"retrieval.language_weights": {"de": 2}},
            "retrieval.language_weights.de",
            "one of de-documents, de-queries, en-",
        ),
        ({"distillation.language_weights": {"de": 0, "en": 0}}, "distillation.language_weights", "every weight is 0"),
        ({"corpus.quotas.validation": 0}, "corpus.quotas.validation", "`distillation.keep: loss` compares"),
        (
            {**NO_VALIDATION, "vocabulary.graft": {"policy": "marginal"}},
            "corpus.quotas.validation",
            "`vocabulary.graft.policy: marginal` tries",
        ),
        (
            {**NO_VALIDATION, "vocabulary.graft.share": 0.1},
            "corpus.quotas.validation",
            "`initialisation.method: agreement` tries methods",
        ),
        ({"queries.made": 10}, "queries", "add `retrieval: {}`, or `retrieval: null`"),
        (
            {"distillation.objective": {"hidden_states": 0.1}},
            "distillation.objective.hidden_states",
            "the student of variant 'tailored' has all layers",
        ),
        ({"corpus.quotas.test": 0}, "corpus.quotas.test", "the task 'agreement' reads test passages"),
        (
            {
                "corpus.languages.de": {"quotas": {"test": 0}},
                "evaluation.tasks.pairs": {"kind": "bitext", "source": "de"},
            },
            "corpus.languages.de.quotas.test",
            "the task 'pairs' reads test passages",
        ),
        (
            {"retrieval": {"keep": "cosine"}, "queries.validation": 0},
            "queries.validation",
            "found 0, but `retrieval.keep: cosine` compares validations (variant 'tailored')",
        ),
        ({"retrieval": {}, "queries.validation": 1.0}, "queries.validation", "must be less than 1"),
        ({"corpus.sources": {"words": LETTERS}}, "corpus.sources.words", "neither `letters` nor `scripts` of 'en'"),
    ],
)
def test_what_does_not_fit_is_refused_by_key(values, key, says):
    with pytest.raises(ConfigError) as error:
        load_settings(changed(CONFIG, values))
    assert str(error.value).startswith(f"config `{key}`: ") and says in str(error.value)
