"""Words of the teacher's vocabulary in place of text: which an alphabet writes, and that each stands there."""

import pytest

from langtailor.config.corpus import CleaningSettings, Quotas, VocabularySource
from langtailor.corpus.build import build_corpus
from langtailor.corpus.vocabulary_words import Alphabet, list_words
from langtailor.errors import SourceError
from langtailor.storage.tables import CORPUS, DOCUMENTS, read_table
from langtailor.surgery.registry import load_family
from tests.unit.surgery_teachers import FAMILIES, write_wordpiece

TURKISH = VocabularySource(kind="vocabulary", letters={"tr": "a-zçğıöşü"})


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *(("ev", True), ("Ev", True), ("çığ", True), ("İSTANBUL", True), ("I", True)),
        *(("", False), ("ev2", False), ("maß", False), ("naïve", False), ("дом", False), ("e-v", False)),
    ],
)
def test_letters_are_those_of_the_alphabet_small_or_capital(word, expected):
    assert Alphabet.of(TURKISH, "tr").writes(word) is expected


@pytest.mark.parametrize(
    ("script", "word", "expected"),
    [
        ("Cyrillic", "дом", True),
        ("Cyrillic", "dom", False),
        ("Devanagari", "हिन्दी", True),
        ("CJK", "語", True),
        ("CJK", "かな", False),
        ("Cyrillic", "1", False),
    ],
)
def test_scripts_go_by_the_names_of_their_letters(script, word, expected):
    source = VocabularySource(kind="vocabulary", scripts={"xx": (script,)})
    assert Alphabet.of(source, "xx").writes(word) is expected


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_word_of_the_alphabet_stands_in_the_documents(tmp_path, family):
    teacher = FAMILIES[family](tmp_path)
    list_words(TURKISH, "tr", "tr", teacher, tmp_path / "tr.parquet")
    table, manifest = read_table(tmp_path / "tr.parquet", "documents", DOCUMENTS)
    words = {word for text in table["text"].to_pylist() for word in text.split()}
    tokens = load_family(teacher)
    texts = [text for text in tokens.surfaces([token for token in tokens.tokens if token]) if text]
    starts = {text[1:] for text in texts if text[0] == " " and Alphabet.of(TURKISH, "tr").writes(text[1:])}
    assert starts and starts <= words
    assert all(Alphabet.of(TURKISH, "tr").writes(word) for word in words)
    assert manifest.facts["documents"] == len(table)


def test_a_corpus_is_made_of_the_words(tmp_path):
    teacher, corpus = write_wordpiece(tmp_path), tmp_path / "tr.parquet"
    list_words(TURKISH, "tr", "tr", teacher, tmp_path / "documents.parquet")
    build_corpus(
        *(tmp_path / "documents.parquet", teacher, "tr", 128, CleaningSettings(near_duplicate_similarity=None)),
        *(Quotas(train=1_000, validation=10, test=10), 1, corpus),
    )
    table, manifest = read_table(corpus, "corpus", CORPUS)
    assert manifest.facts["filled"] < 1 <= len(table)
    assert sum(manifest.facts["passages"].values()) == len(table)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "says nothing about 'tr'"),
        ({"scripts": {"tr": ["Ogham"]}}, "no word of the teacher's vocabulary is written in the alphabet of 'tr'"),
    ],
)
def test_an_alphabet_that_is_missing_or_writes_nothing_is_refused(tmp_path, source, message):
    teacher = write_wordpiece(tmp_path)
    with pytest.raises(SourceError, match=message):
        list_words(VocabularySource(kind="vocabulary", **source), "tr", "tr", teacher, tmp_path / "tr.parquet")
