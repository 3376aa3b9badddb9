from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from langtailor.config.teacher import TeacherSettings
from langtailor.corpus.reading import read_corpus
from langtailor.distillation.tokens import TokenFile, Tokenizer, tokenize_corpora
from langtailor.errors import ArtifactError
from langtailor.models.loading import load_sentence_transformer
from tests.models import GEMMA_PROMPTS, make_tiny_bert_teacher, make_tiny_gemma_teacher
from tests.unit.distillation_world import write_corpus

SETTINGS = TeacherSettings(model="tiny")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_bert_teacher(tmp_path_factory.mktemp("model") / "bert")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "tr.parquet"
    write_corpus(path, "tr", (30, 7, 5))
    return path


@pytest.fixture
def tokens(model, corpus, tmp_path):
    tokenize_corpora({"xx": corpus}, model, SETTINGS, None, {"xx": tmp_path / "tr.arrow"})
    return tmp_path / "tr.arrow"


@pytest.mark.parametrize("split", ["train", "validation"])
def test_stored_ids_are_those_that_the_model_makes_of_a_text(model, corpus, tokens, split):
    table = read_corpus(corpus, split)
    rows = TokenFile(tokens).split(split)
    loaded = load_sentence_transformer(model, "cpu")
    assert len(rows) == len(table)
    assert rows.ids().to_pylist() == table["id"].to_pylist()
    for row, (name, text) in enumerate(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)):
        assert rows[row].tolist() == loaded.preprocess([text])["input_ids"][0].tolist()
        assert rows.lengths[row] == len(rows[row])
        assert rows.id(row) == name


def test_the_test_split_is_not_tokenized(tokens):
    assert TokenFile(tokens).manifest.facts["rows"] == {"train": 30, "validation": 7}
    assert len(TokenFile(tokens).split("test")) == 0


def test_texts_are_cut_at_the_length_asked_for_and_never_beyond_the_models_own(model):
    text = " ".join(["river"] * 500)
    own = load_sentence_transformer(model, "cpu").max_seq_length
    assert len(Tokenizer(model, None, 9)([text])[0]) == 9
    assert len(Tokenizer(model, None, None)([text])[0]) == own
    assert len(Tokenizer(model, None, 10 * own)([text])[0]) == own


def test_a_prompt_stands_before_each_text(tmp_path):
    model = make_tiny_gemma_teacher(tmp_path / "gemma")
    named = Tokenizer(model, "query", None)(["river"])[0]
    spelled = Tokenizer(model, None, None)([GEMMA_PROMPTS["query"] + "river"])[0]
    assert named.tolist() == spelled.tolist()


def test_each_language_is_read_with_its_prompt(corpus, tmp_path):
    model = make_tiny_gemma_teacher(tmp_path / "gemma")
    settings = TeacherSettings(model="tiny", prompt="document", language_prompts={"asked": "query"})
    outs = {lang: tmp_path / f"{lang}.arrow" for lang in ("asked", "tr")}
    tokenize_corpora(dict.fromkeys(outs, corpus), model, settings, None, outs)
    text = read_corpus(corpus, "train")["text"][0].as_py()
    for lang, prompt in (("asked", "query"), ("tr", "document")):
        file = TokenFile(outs[lang])
        expected = Tokenizer(model, None, None)([GEMMA_PROMPTS[prompt] + text])[0]
        assert file.split("train")[0].tolist() == expected.tolist()
        assert file.manifest.made_by["prompt"] == prompt


def test_equal_inputs_give_equal_bytes(model, corpus, tokens, tmp_path):
    tokenize_corpora({"xx": corpus}, model, SETTINGS, None, {"xx": tmp_path / "again.arrow"})
    assert (tmp_path / "again.arrow").read_bytes() == tokens.read_bytes()


def test_rows_are_read_where_they_lie(tokens):
    row = TokenFile(tokens).split("train")[3]
    assert not row.flags.owndata and not row.flags.writeable


def test_a_changed_token_is_noticed(tokens):
    content = bytearray(tokens.read_bytes())
    needle = TokenFile(tokens).split("train")[3].tobytes()
    content[content.index(needle)] ^= 1
    tokens.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"tr\.arrow: does not match its checksum"):
        TokenFile(tokens)


@pytest.mark.parametrize("share", [0, 0.3, 0.95])
def test_a_truncated_file_is_noticed(tokens, share):
    content = tokens.read_bytes()
    tokens.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError, match="is missing or damaged"):
        TokenFile(tokens)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "x.arrow"
    table = pa.table({"id": ["a"]})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ArtifactError, match="was not written by langtailor"):
        TokenFile(path)


def test_a_language_without_passages_has_no_rows(model, tmp_path):
    write_corpus(tmp_path / "xx.parquet", "xx", (0, 0, 3))
    tokenize_corpora({"xx": tmp_path / "xx.parquet"}, model, SETTINGS, None, {"xx": tmp_path / "xx.arrow"})
    assert TokenFile(tmp_path / "xx.arrow").split("train").lengths.dtype == np.int32
    assert len(TokenFile(tmp_path / "xx.arrow").split("train")) == 0
