"""SentencePiece's model file: read as its own library reads it, written as protobuf writes it, and without protobuf."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from langtailor.surgery.base import Graft, Layout
from langtailor.surgery.protobuf import read_fields, write_fields
from langtailor.surgery.sentencepiece_model import (
    Kind,
    is_sentencepiece,
    read_pieces,
    rewrite_sentencepiece,
    without_last_outside,
)
from tests.unit.surgery_teachers import byte_fallback_model, sentencepiece_model

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
