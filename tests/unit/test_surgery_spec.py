"""The shared parts of tokenizer.json: ids are looked up anew by content, and nothing else changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from langtailor.errors import CertificateError, UnsupportedTokenizerError
from langtailor.surgery.spec import (
    added_tokens,
    assert_bijection,
    config_tokens,
    processor_tokens,
    remap_shared,
    special_tokens,
    tokens_by_id,
)


def _added(content: str, token_id: int, *, special: bool = True) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, "special": special, **flags}


def _template() -> dict[str, Any]:
    def slot(token: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": 0}}

    return {
        "type": "TemplateProcessing",
        "single": [slot("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, slot("end")],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "[CLS]": {"id": "[CLS]", "ids": [7], "tokens": ["[CLS]"]},
            "end": {"id": "end", "ids": [8, 9], "tokens": ["[SEP]", "[PAD]"]},
        },
    }


SPEC: dict[str, Any] = {
    "version": "1.0",
    "truncation": {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0},
    "padding": {"strategy": "BatchLongest", "direction": "Left", "pad_id": 9, "pad_type_id": 0, "pad_token": "[PAD]"},
    "added_tokens": [_added("[CLS]", 7), _added("[SEP]", 8), _added("[PAD]", 9), _added("<b>", 10, special=False)],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": None,
    "post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel", "trim_offsets": True}, _template()]},
    "decoder": None,
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "[CLS]": 7, "[SEP]": 8, "[PAD]": 9, "<b>": 10}, "merges": []},
}
NEW_ID = {"[PAD]": 0, "a": 1, "[SEP]": 2, "[CLS]": 3}


def test_every_id_of_a_named_token_is_remapped() -> None:
    new = remap_shared(SPEC, NEW_ID)
    assert [(entry["content"], entry["id"]) for entry in new["added_tokens"]] == [
        ("[PAD]", 0),
        ("[SEP]", 2),
        ("[CLS]", 3),
    ]
    assert new["padding"]["pad_id"] == 0
    named = new["post_processor"]["processors"][1]["special_tokens"]
    assert {name: entry["ids"] for name, entry in named.items()} == {"[CLS]": [3], "end": [2, 0]}


def test_what_names_no_token_stays_as_it_was_and_the_teacher_is_not_touched() -> None:
    before = copy.deepcopy(SPEC)
    new = remap_shared(SPEC, NEW_ID)
    assert before == SPEC
    for section in ("version", "truncation", "normalizer", "pre_tokenizer", "decoder", "model"):
        assert new[section] == SPEC[section]
    assert new["post_processor"]["processors"][1]["single"] == _template()["single"]


@pytest.mark.parametrize("kind", ["BertProcessing", "RobertaProcessing"])
def test_pair_processors_are_remapped(kind: str) -> None:
    spec = {**SPEC, "post_processor": {"type": kind, "sep": ["[SEP]", 8], "cls": ["[CLS]", 7]}}
    new = remap_shared(spec, NEW_ID)["post_processor"]
    assert new == {"type": kind, "sep": ["[SEP]", 2], "cls": ["[CLS]", 3]}
    assert processor_tokens(spec) == {"[SEP]", "[CLS]"}


def test_an_unknown_processor_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedTokenizerError, match=r"'Novel'.*supported are"):
        remap_shared({**SPEC, "post_processor": {"type": "Novel"}}, NEW_ID)


@pytest.mark.parametrize("lost", ["[CLS]", "[PAD]"])
def test_a_lost_token_that_a_processor_or_the_padding_names_is_an_error(lost: str) -> None:
    with pytest.raises(CertificateError, match=f"{lost[1:-1]}.*lacks"):
        remap_shared(SPEC, {token: i for token, i in NEW_ID.items() if token != lost})


def test_special_tokens_are_the_flagged_the_named_and_the_defaults() -> None:
    config = {
        "bos_token": {"content": "<first>"},
        "image_token": "<picture>",
        "add_bos_token": True,
        "additional_special_tokens": ["<x>", {"content": "<y>"}],
        "model_specific_special_tokens": {"boi_token": "<z>"},
    }
    assert config_tokens(config) == {"<first>", "<picture>", "<x>", "<y>", "<z>"}
    found = special_tokens(SPEC, config)
    assert {"[CLS]", "[SEP]", "[PAD]", "<first>", "<x>"} <= found
    assert "<b>" not in found
    assert "<mask>" in found, "GemmaTokenizer appends it behind the last row where it is missing"


def test_tokens_by_id_show_gaps_and_refuse_contradictions() -> None:
    assert tokens_by_id(SPEC["model"]["vocab"], SPEC)[:3] == ["a", "b", None]
    assert list(added_tokens(SPEC)) == ["[CLS]", "[SEP]", "[PAD]", "<b>"]
    with pytest.raises(UnsupportedTokenizerError, match="belongs to both"):
        tokens_by_id({"a": 0, "b": 0}, {"added_tokens": []})
    with pytest.raises(UnsupportedTokenizerError, match="must agree"):
        tokens_by_id({"[CLS]": 1}, SPEC)


@pytest.mark.parametrize(
    ("vocab", "message"), [({"a": 0, "b": 2}, "no token has id 1"), ({"a": 0, "b": 0}, "both 'a' and 'b'")]
)
def test_gaps_and_duplicates_are_no_bijection(vocab: dict[str, int], message: str) -> None:
    assert_bijection({"a": 1, "b": 0})
    with pytest.raises(CertificateError, match=message):
        assert_bijection(vocab)
