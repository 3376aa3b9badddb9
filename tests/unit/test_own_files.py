"""A file that a configuration names and that is not there is named with its key before anything runs."""

import pytest

from langtailor.errors import LangtailorError
from langtailor.planning.configuration import load_settings
from langtailor.planning.own_files import check_own_files
from tests.workflow.conftest import changed


@pytest.fixture
def config(tmp_path):
    """A configuration whose files are all there."""
    for name in ("text/en.txt", "text/tr.txt", "words.txt", "sts.tsv", "pairs.tsv", "donor/tokenizer.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a line\n")
    (tmp_path / "teacher").mkdir()
    return {
        "run": "own",
        "teacher": {"model": str(tmp_path / "teacher")},
        "corpus": {
            "sources": {"mine": {"kind": "files", "path": str(tmp_path / "text/{lang}.txt")}},
            "languages": {"en": {}, "tr": {}},
        },
        "vocabulary": {"size": 300, "graft": {"share": 0.1, "tokens": str(tmp_path / "words.txt")}},
        "distillation": {"validation_sts": {"path": str(tmp_path / "sts.tsv")}},
        "queries": {"pairs": {"tr": str(tmp_path / "pairs.tsv")}},
        "retrieval": {},
        "evaluation": {"tasks": {"sts": {"kind": "sts", "path": str(tmp_path / "sts.tsv")}}},
        "variants": {"a": {}, "b": {"vocabulary": {"graft": {"tokens": None, "donor": str(tmp_path / "donor")}}}},
    }


def check(config, root):
    check_own_files(load_settings(config), root)


def test_a_configuration_whose_files_are_there_is_let_through(config, tmp_path):
    check(config, tmp_path / "results")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("teacher.model", "./nowhere", "config `teacher.model`: './nowhere' is not a folder"),
        ("corpus.sources.mine.path", "nowhere/{lang}.txt", "nowhere/en.txt"),
        ("corpus.sources.mine.pair_path", "nowhere.txt", "nowhere.txt"),
        ("vocabulary.graft.tokens", "nowhere.txt", "config `vocabulary.graft.tokens`: nowhere.txt is missing"),
        (
            "variants.b.vocabulary.graft.donor",
            "./nowhere",
            "config `vocabulary.graft.donor`: nowhere/tokenizer.json is",
        ),
        (
            "distillation.validation_sts.path",
            "nowhere",
            "config `distillation.validation_sts.path`: nowhere is missing",
        ),
        ("queries.pairs.tr", "nowhere.tsv", "config `queries.pairs.tr`: nowhere.tsv is missing"),
        ("evaluation.tasks.sts.path", "nowhere.tsv", "config `evaluation.tasks.sts`: nowhere.tsv is missing"),
        ("evaluation.tasks.sts.path", ".", "config `evaluation.tasks.sts`: . is a folder; name a file"),
    ],
)
def test_a_file_that_is_missing_is_named_with_its_key(config, tmp_path, key, value, says):
    with pytest.raises(LangtailorError) as error:
        check(changed(config, {key: value}), tmp_path / "results")
    assert says in str(error.value)


def test_what_a_run_already_has_needs_its_source_no_more(config, tmp_path):
    config = changed(config, {"teacher.model": "./nowhere", "corpus.sources.mine.path": "nowhere/{lang}.txt"})
    root = tmp_path / "results"
    (root / "teacher" / "model").mkdir(parents=True)
    (root / "corpus").mkdir()
    (root / "corpus" / "en.parquet").touch()
    with pytest.raises(LangtailorError, match=r"nowhere/tr\.txt"):
        check(config, root)
    (root / "corpus" / "tr.parquet").touch()
    check(config, root)


def test_pairs_that_nothing_is_trained_on_need_not_be_there(config, tmp_path):
    check(changed(config, {"queries.pairs.tr": "nowhere.tsv", "retrieval": None}), tmp_path / "results")
