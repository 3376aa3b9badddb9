"""Prompts: their tokens are kept whatever the corpus holds, so that they stay segmented as the teacher does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Tokenizer

from langtailor.config.run import Settings
from langtailor.config.vocabulary import GraftSettings, VocabularySettings
from langtailor.errors import ConfigError
from langtailor.models.prompts import all_prompts, prompt_tokens
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.planning.configuration import load_settings
from langtailor.surgery.registry import load_family
from langtailor.vocabulary.alphabet import KeptAlphabet
from langtailor.vocabulary.selector import Selector
from langtailor.vocabulary.statistics import CorpusStatistics
from tests.unit.surgery_teachers import FAMILIES

PROMPTS = {"query": "eski iskele: ", "passage": "the ferry - "}


def pieces_within(tokenizer: Tokenizer, text: str, prompt: str) -> list[str]:
    """The tokens of a text up to the end of the prompt's last word."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    end = len(prompt.rstrip())
    return [piece for piece, (_, until) in zip(encoding.tokens, encoding.offsets, strict=True) if until <= end]


@pytest.mark.parametrize("teacher", FAMILIES)
def test_prompts_are_segmented_as_by_the_teacher_however_little_is_kept(teacher: str, tmp_path: Path) -> None:
    family = load_family(FAMILIES[teacher](tmp_path / "teacher"))
    old, rows = tokenizer_of(family.spec), len(family.tokens)
    statistics = CorpusStatistics(
        {"tr": np.ones(rows, np.int64)}, {"tr": 1.0}, Counter(), rows, KeptAlphabet(family.alphabet_ids())
    )
    tokens = prompt_tokens(old, PROMPTS)
    size = len(Selector(family, statistics, VocabularySettings(size=rows), None, None, tokens).mandatory_ids)
    settings = VocabularySettings(size=size, graft=GraftSettings(share=0))
    selection = Selector(family, statistics, settings, None, None, tokens).select(0.0)
    new = tokenizer_of(family.write(family.layout(selection.ids, (), 0)).tokenizer)
    for prompt in PROMPTS.values():
        for text in (prompt, prompt + "vapur", prompt + "x"):
            assert pieces_within(new, text, prompt) == pieces_within(old, text, prompt)
    origins = Counter(kept.origin for kept in selection.kept.values())
    assert origins["prompt"] > 2


def test_a_prompt_that_is_written_out_joins_the_models_own_once() -> None:
    info, written = SimpleNamespace(prompts={"query": "query: ", "none": ""}), ["query: ", "find: "]
    assert all_prompts(info, written) == {"query": "query: ", "find: ": "find: "}  # type: ignore[arg-type]


def test_prompts_that_the_configuration_writes_out_are_gathered_and_names_left_to_the_model() -> None:
    task = {"kind": "retrieval", "corpus": "c.jsonl", "queries": "q.jsonl", "qrels": "r.tsv"}
    settings = load_settings(
        {
            "target_languages": ["tr"],
            "teacher": {"model": "a/b", "prompt": "query: "},
            "corpus": {"sources": {"sample": {"kind": "sample"}}, "languages": {"tr": {}}},
            "evaluation": {
                "tasks": {
                    "first": {**task, "query_prompt": "find: ", "document_prompt": "document"},
                    "second": {**task, "document_prompt": ""},
                }
            },
        }
    )
    assert settings.written_prompts == ("find: ", "query: ")


def test_a_language_that_is_read_with_another_prompt_has_it_kept_and_must_be_there() -> None:
    def settings(section: str, **prompts: str) -> Settings:
        return load_settings(
            {
                "teacher": {"model": "a/b", "prompt": "document"},
                "student": {"model": "c/d"},
                "corpus": {"sources": {"sample": {"kind": "sample"}}, "languages": {"tr": {}, "tr-questions": {}}},
                section: {"model": "a/b", "language_prompts": prompts},
            }
        )

    of_teacher = settings("teacher", **{"tr-questions": "find: "})
    assert ("teacher.language_prompts.tr-questions", "find: ") in of_teacher.asked_prompts
    assert (of_teacher.teacher.for_language("tr-questions").prompt, of_teacher.reading.prompt) == ("find: ", None)
    of_students = settings("student", **{"tr-questions": "find: "})
    assert of_students.written_prompts == ("find: ",)
    assert of_students.reading.for_language("tr").prompt is None
    with pytest.raises(ConfigError, match=r"teacher\.language_prompts\.query.*there is no such language"):
        settings("teacher", query="query: ")
