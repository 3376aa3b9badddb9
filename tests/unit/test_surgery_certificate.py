"""The certificate: right figures for a right tokenizer, and a refusal for each way of being wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langtailor.errors import CertificateError
from langtailor.models.tokenizer_file import open_tokenizer, tokenizer_of
from langtailor.surgery.base import Family, Graft, Layout, TokenizerFiles
from langtailor.surgery.sentencepiece_model import Piece, read_pieces, with_pieces
from langtailor.tokenizer.agreement import LibraryReading, indistinguishable
from langtailor.tokenizer.certificate import Counts, certify
from langtailor.tokenizer.write import write_files
from tests.unit.surgery_teachers import TARGET, TEXTS, write_byte_level, write_json, write_wordpiece
from tests.unit.test_surgery_write import TEACHERS, Workshop

DEFECT = "please report it"


class Bench:
    """A new tokenizer's folder that can be tampered with before it is certified."""

    def __init__(self, root: Path, teacher: str, grafts: int = 40) -> None:
        self.workshop = Workshop(root, teacher, grafts)
        self.family: Family = self.workshop.family
        self.layout = self.workshop.layout
        self.folder = root / "folder"

    def write(self, layout: Layout | None = None) -> Path:
        self.layout = layout or self.layout
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        write_files(self.family, self.layout, self.workshop.teacher, self.folder)
        return self.folder

    def certify(self) -> dict[str, Any]:
        work = self.workshop
        return certify(LibraryReading(work.teacher), self.family, self.layout, self.folder, work.corpora, ["tr"])

    def edit(self, name: str, change: Callable[[Any], None]) -> None:
        path = self.folder / name
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


@pytest.fixture(params=TEACHERS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    bench = Bench(tmp_path, request.param)
    bench.write()
    return bench


# -- figures -----------------------------------------------------------------------------------------------------------


def test_a_right_tokenizer_is_certified_with_figures_per_language(bench: Bench) -> None:
    found = bench.certify()
    assert (found["size"], found["kept"] + found["grafted"] + found["padding"]) == (len(bench.layout),) * 2
    assert found["unreachable"] == 0
    assert found["targets"] == ["tr"]
    english, turkish = found["languages"]["en"], found["languages"]["tr"]
    assert (english["passages"], turkish["passages"]) == (len(TEXTS), len(TARGET)), "the validation split alone"
    assert english["characters"] == sum(map(len, TEXTS))
    assert english["words"] == sum(len(text.split()) for text in TEXTS)
    assert found["all"]["tokens"] == english["tokens"] + turkish["tokens"]
    assert turkish["tokens_per_word"]["new"] < turkish["tokens_per_word"]["pruned"]
    assert turkish["tokens_per_word"]["teacher"] <= turkish["tokens_per_word"]["pruned"]
    assert found["all"]["round_trip_failures"] == 0
    assert found["all"]["unknown"] <= found["all"]["teacher_unknown"]


def test_the_figures_are_those_of_a_count_by_hand(bench: Bench) -> None:
    teacher, new = (
        tokenizer_of(bench.family.spec),
        tokenizer_of(json.loads((bench.folder / "tokenizer.json").read_text())),
    )
    kept = set(bench.layout.teacher_ids.tolist())
    rows = [teacher.encode(text, add_special_tokens=False).ids for text in TEXTS]
    retained = [i for i, row in enumerate(rows) if set(row) <= kept]
    names = [[new.id_to_token(i) for i in new.encode(TEXTS[i], add_special_tokens=False).ids] for i in retained]
    untouched = sum(row == [bench.family.tokens[t] for t in rows[i]] for i, row in zip(retained, names, strict=True))
    english = bench.certify()["languages"]["en"]
    assert english["teacher_tokens"] == sum(map(len, rows))
    assert english["retained"] == english["retained_identical"] == len(retained)
    assert english["retained_untouched"] == untouched
    assert english["retained_share"] == pytest.approx(len(retained) / len(TEXTS), abs=1e-6)


def test_all_libraries_are_asked_with_and_without_special_tokens(bench: Bench) -> None:
    agreement = bench.certify()["agreement"]
    files = {path.name for path in bench.folder.glob("*.model")}
    assert set(agreement) == {"sentence-transformers", "transformers", "transformers with special tokens", *files}
    assert all(found["agree"] == found["passages"] == len(TEXTS + TARGET) for found in agreement.values())


def test_prompts_are_listed_as_teacher_and_student_segment_them(bench: Bench) -> None:
    work, text = bench.workshop, "eski ev: "
    reading = LibraryReading(work.teacher, {"find": text})
    certificate = certify(reading, bench.family, bench.layout, bench.folder, work.corpora, ["tr"])
    sides = {"teacher": work.teacher, "new": bench.folder}
    tokens = {
        side: open_tokenizer(folder).encode(text, add_special_tokens=False).tokens for side, folder in sides.items()
    }
    assert certificate["prompts"] == {"find": {"text": text} | tokens}


def test_what_the_library_reads_after_a_prompt_is_compared(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that put something else before the text would be noticed, in the new folder alone."""
    original = LibraryReading.ids

    def ids(self: LibraryReading, folder: Path, texts: Sequence[str]) -> list[list[int]]:
        rows = original(self, folder, texts)
        return rows if folder == self.teacher else [row[::-1] if i % 2 else row for i, row in enumerate(rows)]

    monkeypatch.setattr(LibraryReading, "ids", ids)
    work = bench.workshop
    with pytest.raises(CertificateError, match=r"sentence-transformers segments \d+ passages otherwise"):
        certify(
            LibraryReading(work.teacher, {"find": "ev: "}), bench.family, bench.layout, bench.folder, work.corpora, []
        )


def test_keeping_everything_is_certified_to_change_nothing(bench: Bench) -> None:
    bench.write(bench.family.layout(np.arange(len(bench.family.tokens), dtype=np.int32), (), 0))
    total = bench.certify()["all"]
    assert total["retained"] + total["retained_unknown"] == total["passages"]
    assert total["retained_untouched"] == total["retained"]
    assert total["teacher_tokens"] == total["tokens"]


def test_without_any_text_only_the_files_are_vouched_for(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.workshop.corpora = {"en": bench.workshop._corpus(bench.folder.parent / "none.parquet", ())}
    total = bench.certify()["all"]
    assert (total["passages"], total["identical_share"], total["tokens_per_word"]["new"]) == (0, None, None)
    assert "validation splits are empty" in caplog.text


def test_counts_add_up() -> None:
    assert Counts(passages=1, tokens=2) + Counts(passages=3) == Counts(passages=4, tokens=2)


# -- refusals: segmentation --------------------------------------------------------------------------------------------


class Forgetful:
    """A family whose files lack what some kept text needs."""

    def __init__(self, family: Family, forget: Callable[[TokenizerFiles], None]) -> None:
        self._family, self._forget = family, forget

    def __getattr__(self, name: str) -> Any:
        return getattr(self._family, name)

    def write(self, layout: Layout) -> TokenizerFiles:
        files = self._family.write(layout)
        self._forget(files)
        return files


def test_kept_text_that_is_segmented_otherwise_is_refused(tmp_path: Path) -> None:
    """An intermediate merge is missing: each token of the text is there, yet it is never built."""
    bench = Bench(tmp_path, "byte-level")
    everything = bench.family.layout(np.arange(len(bench.family.tokens), dtype=np.int32), (), 0)
    bench.family = Forgetful(bench.family, lambda files: files.tokenizer["model"]["merges"].pop(0))
    bench.write(everything)
    with pytest.raises(CertificateError, match=r"en: \d+ of \d+ passages with all tokens kept are segmented otherwise"):
        bench.certify()


def test_a_graft_that_no_text_reaches_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "wordpiece")
    kept = np.sort(bench.layout.teacher_ids[bench.layout.teacher_ids >= 0])
    bench.write(bench.family.layout(kept, [Graft("UPPER", 9)], 0))
    with pytest.raises(CertificateError, match=r"1 tokens are unreachable, among them \['UPPER'\]"):
        bench.certify()


@pytest.mark.parametrize("teacher", ["wordpiece", "unigram"])
def test_text_that_became_unknown_is_refused_with_the_tokens_to_keep(teacher: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, teacher)
    lost = bench.family.tokens.index("木")
    kept = np.setdiff1d(bench.layout.teacher_ids, [-1, lost]).astype(np.int32)
    bench.write(bench.family.layout(kept, (), 0))
    with pytest.raises(
        CertificateError, match=r"en: \d+ of \d+ characters .* `vocabulary.keep_tokens`: \['木'\]"
    ) as caught:
        bench.certify()
    assert DEFECT not in str(caught.value)


def test_text_that_decodes_otherwise_is_refused(bench: Bench) -> None:
    def swap_decoder(spec: Any) -> None:
        spec["decoder"] = {"type": "Replace", "pattern": {"String": "e"}, "content": "E"}

    bench.edit("tokenizer.json", swap_decoder)
    with pytest.raises(CertificateError, match="passages decode otherwise than by the teacher"):
        bench.certify()


# -- refusals: ids -----------------------------------------------------------------------------------------------------


def refused(bench: Bench, message: str) -> None:
    with pytest.raises(CertificateError, match=message) as caught:
        bench.certify()
    assert DEFECT in str(caught.value)


def test_an_added_token_with_another_id_is_refused(bench: Bench) -> None:
    def shift(spec: Any) -> None:
        spec["added_tokens"][0]["id"] += 1

    bench.edit("tokenizer.json", shift)
    refused(bench, r"tokenizer.json `added_tokens`: ids differ")


def test_a_stale_id_in_the_post_processor_is_refused(bench: Bench) -> None:
    def stale(spec: Any) -> None:
        for entry in spec["post_processor"]["special_tokens"].values():
            entry["ids"] = [i + 1 if i == 0 else i - 1 for i in entry["ids"]]

    bench.edit("tokenizer.json", stale)
    refused(bench, r"the post-processor writes .* around a text")


def test_a_stale_padding_id_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "wordpiece")
    bench.write()
    bench.edit("tokenizer.json", lambda spec: spec["padding"].update(pad_id=17))
    refused(bench, r"tokenizer.json `padding`: ids differ from the vocabulary table: \{'\[PAD\]': \(17, 0\)")


def test_a_stale_unknown_id_is_refused_though_it_lies_in_the_vocabulary(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "unigram")
    bench.write()
    bench.edit("tokenizer.json", lambda spec: spec["model"].update(unk_id=9))
    refused(bench, r"the unknown token is '.*', the teacher's '<unk>'")


def test_two_swapped_tokens_are_refused(bench: Bench) -> None:
    def swap(spec: Any) -> None:
        vocab = spec["model"]["vocab"]
        if isinstance(vocab, list):
            vocab[-6], vocab[-5] = vocab[-5], vocab[-6]
        else:
            one, other = list(vocab)[-5:-3]
            vocab[one], vocab[other] = vocab[other], vocab[one]

    bench.edit("tokenizer.json", swap)
    refused(bench, r"tokenizer.json: ids differ from the vocabulary table")


def test_a_gap_in_the_ids_is_refused(bench: Bench) -> None:
    def gap(spec: Any) -> None:
        vocab = spec["model"]["vocab"]
        vocab.pop(10 if isinstance(vocab, list) else next(t for t in vocab if t in bench.layout.padding))

    bench.edit("tokenizer.json", gap)
    refused(bench, r"tokenizer.json: ids differ from the vocabulary table")


@pytest.mark.parametrize(
    ("teacher", "name"),
    [("wordpiece", "tokenizer_config.json"), ("byte-level", "vocab.json"), ("byte-level", "added_tokens.json")],
)
def test_a_file_beside_with_other_ids_is_refused(teacher: str, name: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, teacher)
    bench.write()

    def shift(content: Any) -> None:
        if name == "tokenizer_config.json":
            content["added_tokens_decoder"]["5"] = content["added_tokens_decoder"].pop("0")
        else:
            content[next(reversed(content))] += 1

    bench.edit(name, shift)
    refused(bench, rf"{name}: ids differ from the vocabulary table")


def test_a_vocabulary_list_with_swapped_lines_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "wordpiece")
    lines = (bench.write() / "vocab.txt").read_text(encoding="utf-8").split("\n")
    lines[50], lines[51] = lines[51], lines[50]
    (bench.folder / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    refused(bench, r"vocab.txt: ids differ from the vocabulary table")


def test_a_token_that_transformers_appends_past_the_end_is_refused(bench: Bench) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        bench.edit(name, lambda config: config.update(mask_token="<not there>"))
    refused(bench, r"transformers: ids differ from tokenizer.json: .*not there")


def wordpiece_without_mask(folder: Path) -> Path:
    """A BERT folder without ``[MASK]``, which BertTokenizer then adds past the end of the vocabulary."""
    spec = json.loads((write_wordpiece(folder) / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = sorted(spec["model"]["vocab"].keys() - {"[MASK]"}, key=spec["model"]["vocab"].get)
    vocab = {token: i for i, token in enumerate(tokens)}
    added = [{**entry, "id": vocab[entry["content"]]} for entry in spec["added_tokens"] if entry["content"] in vocab]
    write_json(folder / "tokenizer.json", {**spec, "model": {**spec["model"], "vocab": vocab}, "added_tokens": added})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    (folder / "special_tokens_map.json").unlink()
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    return folder


def byte_level_without_end(folder: Path) -> Path:
    """A byte-level BPE without ``<|endoftext|>``, which GPT2Tokenizer adds and takes for its unknown token."""
    write_byte_level(folder)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "pad_token": "<|pad|>"})
    return folder


@pytest.mark.parametrize("write", [wordpiece_without_mask, byte_level_without_end])
def test_a_token_that_transformers_adds_to_the_teacher_too_keeps_its_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Path]
) -> None:
    monkeypatch.setitem(TEACHERS, "without a default token", write)
    bench = Bench(tmp_path, "without a default token")
    bench.write()
    assert all(library["agree"] == library["passages"] for library in bench.certify()["agreement"].values())


def test_a_sentencepiece_file_that_segments_otherwise_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "unigram")
    path = bench.write() / "sentencepiece.bpe.model"
    model = path.read_bytes()
    pieces = [Piece(p.text, -99.0 if len(p.text) > 4 else p.score, p.kind) for p in read_pieces(model)]
    path.write_bytes(with_pieces(model, pieces))
    refused(bench, r"sentencepiece.bpe.model segments \d+ passages otherwise than tokenizer.json")


def test_only_sums_that_float32_cannot_tell_apart_are_taken_for_equal() -> None:
    """SentencePiece adds scores in float32, tokenizers in float64; a near tie in a long text may fall either way."""
    long = [-8.1] * 400
    assert indistinguishable(long, [*long[1:], -8.1001])
    assert not indistinguishable(long, [*long[1:], -9.1])
    assert not indistinguishable([-8.1, -7.3], [-8.1, -7.301])
    assert indistinguishable([-8.1, -7.3], [-7.3, -8.1])
