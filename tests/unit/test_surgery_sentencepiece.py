"""SentencePiece's model file: read as its own library reads it, written as protobuf writes it, and without protobuf."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import UnsupportedTokenizerError
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.surgery.base import Family, Graft, Layout
from langtailor.surgery.bpe import BytePairFamily
from langtailor.surgery.protobuf import read_fields, write_fields
from langtailor.surgery.registry import load_family
from langtailor.surgery.sentencepiece_model import (
    Kind,
    Piece,
    is_sentencepiece,
    read_pieces,
    rewrite_sentencepiece,
    sentencepiece_files,
    with_pieces,
    without_last_outside,
)
from langtailor.surgery.spec import model_type
from langtailor.surgery.unigram import UnigramFamily
from langtailor.surgery.unknowns import unknown_id
from langtailor.teacher.fetch import fetch_teacher
from tests.models import make_tiny_xlmr_teacher
from tests.unit.surgery_teachers import (
    TARGET,
    TEXTS,
    byte_fallback_model,
    byte_fallback_spec,
    sentencepiece_model,
    unigram_spec,
    unigram_with_bytes_spec,
    write_wordpiece,
)

MODELS = {
    "unigram": sentencepiece_model(),
    "unigram with bytes": sentencepiece_model(size=900, byte_fallback=True),
    "bpe": byte_fallback_model(),
}

# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"IQ== 0\nIg== 1\n", b"\x0a\xff", b"\x08", b"{}", b"\x0a\x02\x0a\x00"])
def test_other_files_are_no_sentencepiece_models(data: bytes) -> None:
    assert not is_sentencepiece(data)
    assert is_sentencepiece(MODELS["unigram"])


def test_pieces_are_read_as_sentencepiece_reads_them() -> None:
    for data in MODELS.values():
        processor = SentencePieceProcessor(model_proto=data)
        pieces = read_pieces(data)
        assert [piece.text for piece in pieces] == [processor.id_to_piece(i) for i in range(len(pieces))]
        assert [piece.score for piece in pieces] == [processor.get_score(i) for i in range(len(pieces))]
        assert [piece.kind is Kind.BYTE for piece in pieces] == [processor.is_byte(i) for i in range(len(pieces))]
        assert [piece.kind is Kind.CONTROL for piece in pieces] == [processor.is_control(i) for i in range(len(pieces))]


@given(fields=st.lists(st.tuples(st.integers(1, 900), st.integers(-(2**63), 2**63 - 1)), max_size=8))
def test_a_message_is_read_as_it_was_written(fields: list[tuple[int, int]]) -> None:
    message = write_fields([(number, 0, value) for number, value in fields])  # type: ignore[misc]
    assert [(number, value) for number, _, value in read_fields(message)] == [(n, v % 2**64) for n, v in fields]


# -- writing -----------------------------------------------------------------------------------------------------------


def test_a_bpe_model_gets_grafts_in_the_order_of_their_merges() -> None:
    data = sentencepiece_model("bpe", 600, byte_fallback=True)
    pieces = read_pieces(data)
    kept = [i for i, piece in enumerate(pieces) if i < 400 or len(piece.text) == 1]
    tokens = tuple(pieces[i].text for i in kept)
    grafts = {"zq": Graft("zq", 1, ("z", "q")), "zqx": Graft("zqx", 1, ("zq", "x"))}
    ids = np.array([*kept, -1, -1, -1], np.int32)
    layout = Layout((*tokens, "zq", "zqx", "<unused0>"), ids, grafts, frozenset({"<unused0>"}))
    new = rewrite_sentencepiece(data, layout)
    processor = SentencePieceProcessor(model_proto=new)
    assert [processor.id_to_piece(i) for i in range(processor.vocab_size())] == list(layout.tokens)
    scores = [piece.score for piece in read_pieces(new)]
    assert min(scores[: len(kept)]) > scores[-3] > scores[-2]
    assert processor.encode("zqx", out_type=str)[-1].endswith("zqx")


def test_tokens_that_only_tokenizer_json_has_become_control_pieces_where_ids_must_stay_equal() -> None:
    data = sentencepiece_model("bpe", 600, byte_fallback=True)
    pieces = [piece.text for piece in read_pieces(data)]
    ids = np.array([*range(len(pieces)), len(pieces), -1], np.int32)
    layout = Layout((*pieces, "<pad>", "zq"), ids, {"zq": Graft("zq", 1, ("z", "q"))})
    processor = SentencePieceProcessor(model_proto=rewrite_sentencepiece(data, layout, {"<pad>"}))
    assert processor.piece_to_id("zq") == len(pieces) + 1
    assert processor.is_control(len(pieces))
    last = without_last_outside(Layout(layout.tokens[:-1], ids[:-1]), data)
    assert SentencePieceProcessor(model_proto=rewrite_sentencepiece(data, last)).vocab_size() == len(pieces)


def test_the_bytes_are_those_that_protobuf_writes() -> None:
    """Both made with sentencepiece_model_pb2: fields ascending, pieces with their types, ids that follow."""
    teacher = bytes.fromhex(
        "0a0e0a053c756e6b3e150000000018020a0c0a033c733e150000000018030a0a0a016115000080bf18010a0a0a016215000000c01801"
        "0a0b0a02616215000000001801121018022005d002ffffffffffffffffff011a0a0a086964656e74697479"
    )
    written = bytes.fromhex(
        "0a0e0a053c756e6b3e150000000018020a0c0a033c733e150000000018030a0a0a016115000080bf18010a0a0a016215000000c01801"
        "0a0b0a02626115000040c018010a120a093c756e75736564303e15000000001805"
        "121618022006c00200c80201d002ffffffffffffffffff011a0a0a086964656e74697479"
    )
    tokens, ids = ("<unk>", "<s>", "a", "b", "ba", "<unused0>"), np.array([0, 1, 2, 3, -1, -1], np.int32)
    layout = Layout(tokens, ids, {"ba": Graft("ba", 1, ("b", "a"))}, frozenset({"<unused0>"}))
    assert rewrite_sentencepiece(teacher, layout, {"<s>"}) == written


@pytest.mark.parametrize("name", MODELS)
def test_keeping_everything_keeps_every_piece(name: str) -> None:
    pieces = read_pieces(MODELS[name])
    layout = Layout(tuple(piece.text for piece in pieces), np.arange(len(pieces), dtype=np.int32))
    assert read_pieces(rewrite_sentencepiece(MODELS[name], layout)) == pieces


# -- special pieces under other names ----------------------------------------------------------------------------------

RENAMED = {"<unk>": "[UNK]", "<s>": "[CLS]", "</s>": "[SEP]", "<pad>": "[PAD]"}
#: The specification of tokenizer.json beside each file: fairseq's ids, and twice SentencePiece's own.
SPECS: dict[str, Callable[[], dict[str, Any]]] = {
    "unigram": lambda: unigram_spec(MODELS["unigram"]),
    "unigram with bytes": lambda: unigram_with_bytes_spec(MODELS["unigram with bytes"]),
    "bpe": byte_fallback_spec,
}


def renamed(spec: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The specification with other names for some of its special tokens."""
    text = json.dumps(spec, ensure_ascii=False)
    for old, new in names.items():
        text = text.replace(json.dumps(old), json.dumps(new))
    content: dict[str, Any] = json.loads(text)
    return content


def bind(spec: dict[str, Any], model: bytes) -> Family:
    of = BytePairFamily if model_type(spec) == "BPE" else UnigramFamily
    return of.from_spec(spec, {}, {"tokenizer.model": model})


def half_with_grafts(of: Family) -> Layout:
    chosen = [*range(0, len(of.tokens), 2), *of.special_ids().tolist(), *of.alphabet_ids().tolist()]
    kept = np.array(sorted({i for c in chosen for i in (c, *of.requirements(c))}), np.int32)
    return of.layout(kept, of.propose_grafts(kept, of.words(TARGET), 30, 2, None), 2)


def segmentations_that_differ(of: Family, layout: Layout, model: bytes) -> list[str]:
    """Texts that SentencePiece segments otherwise than tokenizers, unknown characters aside."""
    files = of.write(layout)
    processor = SentencePieceProcessor(model_proto=files.others["tokenizer.model"])
    tokenizer, unknown = tokenizer_of(files.tokenizer), unknown_id(of.spec)
    differing = []
    for text in TEXTS + TARGET:
        expected = tokenizer.encode(text, add_special_tokens=False).tokens
        if of.tokens[unknown] not in expected and processor.encode(text, out_type=str) != expected:
            differing.append(text)
    return differing


@pytest.mark.parametrize("names", [*([name] for name in RENAMED), list(RENAMED)], ids=" ".join)
@pytest.mark.parametrize("name", MODELS)
def test_special_pieces_that_tokenizer_json_calls_otherwise_keep_their_roles(name: str, names: list[str]) -> None:
    of = bind(renamed(SPECS[name](), {old: RENAMED[old] for old in names}), MODELS[name])
    layout = half_with_grafts(of)
    assert segmentations_that_differ(of, layout, MODELS[name]) == []
    old, new = (
        SentencePieceProcessor(model_proto=data) for data in (MODELS[name], of.write(layout).others["tokenizer.model"])
    )
    assert [reader.id_to_piece(reader.unk_id()) for reader in (old, new)] == ["<unk>", "<unk>"]
    for role in ("bos_id", "eos_id", "pad_id"):
        ids = [getattr(reader, role)() for reader in (old, new)]
        pieces = [reader.id_to_piece(i) if i >= 0 else None for reader, i in zip((old, new), ids, strict=True)]
        assert pieces[0] == pieces[1]
    if name != "unigram":
        assert new.vocab_size() == len(layout), "ids that were equal are equal"
        assert [new.unk_id(), new.bos_id()] == [layout.new_id[of.tokens[i]] for i in (old.unk_id(), old.bos_id())]


@pytest.mark.parametrize("name", MODELS)
def test_a_permuted_file_with_further_pieces_segments_as_tokenizer_json(name: str) -> None:
    pieces = list(read_pieces(MODELS[name]))
    fixed, rest = pieces[:4], pieces[4:]
    np.random.default_rng(0).shuffle(rest)
    further = [Piece("ʘʘ", -3.0), Piece("<extra>", 0.0, Kind.CONTROL), Piece("<more>", 0.0, Kind.USER_DEFINED)]
    model = with_pieces(MODELS[name], [*fixed, *rest[:50], *further, *rest[50:]])
    of = bind(SPECS[name](), model)
    layout = half_with_grafts(of)
    assert segmentations_that_differ(of, layout, model) == []
    texts = {piece.text for piece in read_pieces(of.write(layout).others["tokenizer.model"])}
    assert texts <= set(layout.tokens)


def test_the_file_of_another_tokenizer_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    foreign = sentencepiece_model(texts=("ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᎤᏓᎷᎸ ᏗᏂᏃᎮᏍᎩ " * 9,), size=40)
    of = bind(SPECS["bpe"](), foreign)
    assert "tokenizer.model is left out" in caplog.text
    assert not of.write(half_with_grafts(of)).others


def test_a_wordpiece_teacher_has_no_sentencepiece_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_wordpiece(tmp_path)
    (folder / "tokenizer.model").write_bytes(MODELS["bpe"])
    load_family(folder)
    assert "tokenizer.model is left out" in caplog.text


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    without_unknown = [piece for piece in read_pieces(MODELS["bpe"]) if piece.kind is not Kind.UNKNOWN]
    for damaged in (MODELS["bpe"][:-100], with_pieces(MODELS["bpe"], without_unknown)):
        (tmp_path / "tokenizer.model").write_bytes(damaged)
        with pytest.raises(UnsupportedTokenizerError, match=r"tokenizer\.model: .*Repair the file"):
            sentencepiece_files(tmp_path)


def test_a_damaged_file_is_refused_before_anything_is_paid_for(tmp_path: Path) -> None:
    folder = make_tiny_xlmr_teacher(tmp_path / "original")
    file = folder / "sentencepiece.bpe.model"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UnsupportedTokenizerError, match=r"sentencepiece\.bpe\.model: .*Repair the file"):
        fetch_teacher(TeacherSettings(model=str(folder)), tmp_path / "teacher")


# -- without protobuf --------------------------------------------------------------------------------------------------

WITHOUT_PROTOBUF = """
import sys
sys.modules["google.protobuf"] = None
from pathlib import Path
from tests.unit.test_surgery_write import Workshop
print(Workshop(Path(sys.argv[1]), sys.argv[2]).write())
"""


@pytest.mark.parametrize("teacher", ["byte-fallback", "unigram"])
def test_a_tokenizer_is_written_and_certified_without_protobuf(teacher: str, tmp_path: Path) -> None:
    """The lock that users install does not have it."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WITHOUT_PROTOBUF, str(tmp_path), teacher]
    done = subprocess.run(
        command, check=False, cwd=root, env={"PYTHONPATH": "workflow"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "tokenizer").glob("*.model"))
