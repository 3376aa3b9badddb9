"""The way of a new token from the corpus to its row, on vocabularies so small that every number can be checked by hand.

The teacher is a WordPiece of the letters a to d, ``ab`` and ``cd``; rows of its table are four small whole numbers.
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from langtailor.clone.clone import clone_model
from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.vocabulary import GraftSettings, VocabularySettings
from langtailor.counts.count import count_corpora, read_counts
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest, read_json, read_manifest, seal_directory
from langtailor.surgery.bpe import BytePairFamily
from langtailor.surgery.spelling import BYTE_TOKENS
from langtailor.tokenizer.write import write_tokenizer
from langtailor.vocabulary.select import select_vocabulary
from tests.unit.surgery_teachers import write_json, write_wordpiece

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
#: Every token with its row of the table; special ones have zeros but for the last place.
ROWS = {token: [0, 0, 0, place] for place, token in enumerate(SPECIAL)} | {
    "a": [3, 0, 0, 4],
    "b": [0, 5, 0, 0],
    "c": [5, 0, 0, 0],
    "d": [0, 0, 5, 0],
    "##a": [0, 0, 0, 5],
    "##b": [0, 3, 4, 0],
    "##c": [6, 0, 0, 0],
    "##d": [0, 0, 9, 0],
    "ab": [0, 12, 0, 0],
    "cd": [0, 0, 0, 7],
}
#: Eleven uses of a, and so on: what the tests count by hand.
TRAIN = ["abcd abcd ab", "abcd abc", "abcd dab ab", "abcd", "abcd cd"]
PAIRS = ["b", "b", "b", "b", "b"]
HELD_OUT = ["abcd cd", "dab abc"]
#: Length of kept rows that are no special ones: 5, 5, 5, 5, 5, 5, 6, 9, 12, 7.
MEAN_NORM = 6.4


def make_teacher(folder):
    vocab = {token: i for i, token in enumerate(ROWS)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    write_wordpiece(folder, spec=tokenizer.to_str())
    shape = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        BertModel(BertConfig(vocab_size=len(ROWS), max_position_embeddings=64, **shape)).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    weights[embedding(weights)] = torch.tensor(list(ROWS.values()), dtype=torch.float32)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 4, "pooling_mode_mean_tokens": True})
    seal_directory(folder, Manifest("teacher"))


def embedding(names):
    return next(name for name in names if name.endswith("word_embeddings.weight"))


def write_corpus(path):
    texts = [*TRAIN, *HELD_OUT]
    splits = ["train"] * len(TRAIN) + ["validation"] * len(HELD_OUT)
    pairs = pa.array([*PAIRS, None, None], pa.string())
    columns = [[f"d{i}#0" for i in range(len(texts))], ["tr"] * len(texts), texts, splits, pairs]
    facts = {"passages": {"train": len(TRAIN), "validation": len(HELD_OUT), "test": 0}}
    tables.write_table(path, pa.table(columns, schema=tables.CORPUS), Manifest("corpus", facts=facts))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder in which one new token was chosen and the tokenizer was written."""
    folder = tmp_path_factory.mktemp("hand")
    make_teacher(folder / "teacher")
    write_corpus(folder / "tr.parquet")
    count_corpora({"tr": folder / "tr.parquet"}, folder / "teacher", {"tr": folder / "counts.parquet"})
    corpora = {"tr": folder / "tr.parquet"}
    size = len(ROWS) + 1
    settings = VocabularySettings(size=size, graft=GraftSettings(share=1 / size))
    counts, vocabulary = {"tr": folder / "counts.parquet"}, folder / "vocabulary.parquet"
    select_vocabulary(folder / "teacher", counts, corpora, None, settings, {"tr": 1.0}, ["tr"], [], vocabulary)
    write_tokenizer(folder / "teacher", vocabulary, corpora, ["tr"], folder / "tokenizer")
    return folder


def new_row(root, **settings):
    """The row of the new token, and the manifest of the clone."""
    out = root / "-".join(["clone", *map(str, settings.values())])
    chosen = InitialisationSettings(**settings)
    inputs = (root / "teacher", root / "tokenizer", root / "vocabulary.parquet")
    clone_model(*inputs, chosen, 0, out, corpora={"tr": root / "tr.parquet"})
    weights = load_file(out / "model.safetensors")
    spec = json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))
    return weights[embedding(weights)][spec["model"]["vocab"]["abcd"]], read_manifest(out, "clone").facts


# -- counts -----------------------------------------------------------------------------------------------------------


def test_the_teachers_tokens_are_counted_as_one_counts_them_by_hand(root):
    """Words: abcd x 6, ab x 2, abc, dab, cd. So ab: 9, ##c: 7, ##d: 6, d: 1, ##a: 1, ##b: 1, cd: 1."""
    counts = read_counts(root / "counts.parquet")
    found = {token: int(n) for token, n in zip(ROWS, counts.counts.tolist(), strict=True) if n}
    assert found == {"ab": 9, "##c": 7, "##d": 6, "d": 1, "##a": 1, "##b": 1, "cd": 1}
    assert counts.words == 11


def test_the_new_token_saves_two_tokens_in_each_of_its_six_uses(root):
    rows = tables.read_table(root / "vocabulary.parquet", "vocabulary", tables.VOCABULARY)[0].to_pylist()
    (new,) = [row for row in rows if row["teacher_id"] is None]
    assert (new["token"], new["count"], new["origin"]) == ("abcd", 6, "target-language")
    assert new["reason"] == "saves 12 tokens"
    assert {row["token"]: row["count"] for row in rows if row["token"] in ("ab", "##c", "cd", "a")} == {
        "ab": 9,
        "##c": 7,
        "cd": 1,
        "a": 0,
    }


def test_the_vocabularys_facts_are_those_of_the_table(root):
    facts = tables.read_table_manifest(root / "vocabulary.parquet", "vocabulary", tables.VOCABULARY).facts
    assert (facts["size"], facts["teacher_tokens"], facts["grafts"], facts["closure"]) == (16, 15, 1, 0)
    assert facts["origins"] == {"alphabet": 8, "corpus": 2, "special": 5, "target-language": 1}
    assert facts["coverage"] == {"tr": 1.0}


def test_the_certificate_counts_the_held_out_passages_as_one_does_by_hand(root):
    """``abcd cd``: ab c d | cd by the teacher, abcd | cd by the student. ``dab abc``: d a b | ab c by both."""
    tr = read_json(root / "tokenizer" / "certificate.json", "certificate")["languages"]["tr"]
    assert (tr["passages"], tr["words"], tr["characters"]) == (2, 4, 14)
    assert (tr["teacher_tokens"], tr["pruned_tokens"], tr["tokens"]) == (9, 9, 7)
    assert tr["tokens_per_word"] == {"teacher": 2.25, "pruned": 2.25, "new": 1.75}
    assert tr["characters_per_token"] == {"teacher": 1.555556, "pruned": 1.555556, "new": 2.0}
    assert (tr["retained"], tr["retained_identical"], tr["retained_untouched"]) == (2, 2, 1)
    assert (tr["identical_share"], tr["untouched_share"]) == (1.0, 0.5)


# -- rows -------------------------------------------------------------------------------------------------------------

#: ab + ##c + ##d of the table.
SUM = torch.tensor([6.0, 12.0, 9.0, 0.0])


def test_the_mean_of_the_pieces(root):
    row, _ = new_row(root, method="mean")
    assert row.tolist() == [2, 4, 3, 0]


def test_the_mean_weighted_by_length_counts_ab_twice(root):
    row, _ = new_row(root, method="length-weighted")
    assert row.tolist() == [6 / 4, 24 / 4, 9 / 4, 0]


def test_norm_matching_gives_the_mean_the_kept_rows_mean_length(root):
    """The mean (2, 4, 3, 0) has the length √29."""
    row, _ = new_row(root, method="norm-matched")
    torch.testing.assert_close(row, torch.tensor([2.0, 4.0, 3.0, 0.0]) * MEAN_NORM / 29**0.5)


def test_alignment_takes_the_translation_six_times_more_seriously_than_the_pieces(root):
    """``abcd`` stands in 5 pairs, all with ``b``: λ = 5/6. Links to other tokens are there, too, as all pairs say b."""
    row, _ = new_row(root, method="aligned")
    mixed = 5 / 6 * torch.tensor([0.0, 5.0, 0.0, 0.0]) + 1 / 6 * SUM / 3
    torch.testing.assert_close(row, mixed * MEAN_NORM / mixed.norm())


def test_similarity_with_one_neighbour_is_the_row_nearest_to_the_mean(root):
    """Cosines to (2, 4, 3, 0): ##b has 24/5, b and ab 4, ##d and d 3, ##c and c 2, a 6/5, the others 0, over √29."""
    row, _ = new_row(root, method="similarity", neighbours=1)
    assert row.tolist() == ROWS["##b"]


def test_similarity_weighs_two_neighbours_by_the_softmax_of_their_cosines(root):
    """Behind ##b come b and ab with equal cosines."""
    row, _ = new_row(root, method="similarity", neighbours=3, temperature=0.5)
    cosines = torch.tensor([24 / 5, 4.0, 4.0]) / 29**0.5
    weights = torch.softmax(cosines / 0.5, dim=0)
    near = torch.tensor([ROWS["##b"], ROWS["b"], ROWS["ab"]], dtype=torch.float32)
    torch.testing.assert_close(row, weights @ near)


def test_the_clone_tells_numbers_and_lengths_of_kept_and_of_new_rows(root):
    """Lengths of special rows: 0, 1, 2, 3, 4; of the others 64 in all."""
    _, facts = new_row(root, method="mean")
    assert facts["kept"] == {"rows": 15, "mean_norm": round(74 / 15, 6)}
    assert facts["new"] == {"rows": 1, "mean_norm": round(29**0.5, 6)}
    assert facts["rows"] == {"before": 15, "after": 16}
    assert facts["parameters"]["after"] - facts["parameters"]["before"] == 4


# -- byte-pair grafts -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bpe():
    """Byte-level BPE of the letters a to f with the one merge ``ab``."""
    vocab = {token: i for i, token in enumerate([*"abcdef", "ab"])}
    tokenizer = Tokenizer(models.BPE(vocab, [("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return BytePairFamily.from_spec(json.loads(tokenizer.to_str()), {})


def grafts(bpe, words, limit, min_count=1):
    kept = np.arange(len(bpe.tokens), dtype=np.int32)
    return [(g.token, g.count, g.merge, g.origin) for g in bpe.propose_grafts(kept, words, limit, min_count, None)]


def test_training_goes_on_with_the_pair_that_is_used_most(bpe):
    """ab|c|d x 5, c|d x 2, e|f x 4. Pairs: c d 7, ab c 5, e f 4; behind cd: ab cd 5, e f 4."""
    words = {"abcd": 5, "cd": 2, "ef": 4}
    assert grafts(bpe, words, 3) == [
        ("cd", 7, ("c", "d"), "target-language"),
        ("abcd", 5, ("ab", "cd"), "target-language"),
        ("ef", 4, ("e", "f"), "target-language"),
    ]


def test_training_stops_before_a_pair_that_is_used_too_little_and_takes_one_that_is_used_just_enough(bpe):
    words = {"abcd": 5, "cd": 2, "ef": 4}
    assert [token for token, *_ in grafts(bpe, words, 9, min_count=5)] == ["cd", "abcd"]
    assert [token for token, *_ in grafts(bpe, words, 9, min_count=4)] == ["cd", "abcd", "ef"]


def test_a_run_of_one_letter_counts_every_other_pair(bpe):
    """ccccc holds the pair c c twice, not four times; ef stands three times."""
    assert [(token, count) for token, count, *_ in grafts(bpe, {"ccccc": 1, "ef": 3}, 2)] == [("ef", 3), ("cc", 2)]


def donor_of(vocab, merges):
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(vocab)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return json.loads(tokenizer.to_str())


def test_a_donors_token_brings_the_merge_that_the_donor_does_not_name(bpe):
    """The donor makes cdef of cd and ef and has no cd of its own left to give once cdef swallowed it."""
    donor = donor_of([*"abcdef", "cd", "cde", "cdef"], [("c", "d"), ("cd", "e"), ("cde", "f")])
    kept = np.arange(len(bpe.tokens), dtype=np.int32)
    found = bpe.propose_grafts(kept, {"cdef": 3, "ab": 1}, 9, 1, donor)
    assert [(g.token, g.count, g.origin) for g in found][-1] == ("cdef", 3, "target-language")
    assert {g.origin for g in found[:-1]} == {"closure"}
    assert all(g.count == 3 for g in found)


def test_a_donors_token_that_is_used_too_little_is_passed_over_with_its_merges(bpe):
    donor = donor_of([*"abcdef", "cd", "ef"], [("c", "d"), ("e", "f")])
    kept = np.arange(len(bpe.tokens), dtype=np.int32)
    found = bpe.propose_grafts(kept, {"cd": 3, "ef": 2}, 9, 3, donor)
    assert [(g.token, g.count) for g in found] == [("cd", 3)]


@pytest.fixture(scope="module")
def with_bytes():
    """BPE with byte fallback whose only tokens are the bytes and the space mark."""
    vocab = {token: i for i, token in enumerate(["<unk>", *BYTE_TOKENS, "▁"])}
    tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return BytePairFamily.from_spec(json.loads(tokenizer.to_str()), {})


def test_a_character_of_three_bytes_saves_two_tokens_each_time(with_bytes):
    """本 x 3 saves 6 tokens; z, one byte, saves none but counts its 5 uses; ж x 4, two bytes, saves 4."""
    words = {"本": 3, "z": 5, "ж": 4}
    assert [(token, count) for token, count, *_ in grafts(with_bytes, words, 3)] == [("本", 3), ("z", 5), ("ж", 4)]
    assert [token for token, *_ in grafts(with_bytes, words, 1)] == ["本"]


def test_a_donors_token_whose_text_an_earlier_graft_has_taken_is_passed_over(bpe):
    """The donor reads cde as cd|e. Here de comes first, 14 times, and leaves no cd behind."""
    donor = donor_of([*"abcdef", "cd", "de"], [("c", "d"), ("d", "e")])
    kept = np.arange(len(bpe.tokens), dtype=np.int32)
    found = bpe.propose_grafts(kept, {"cde": 4, "de": 10}, 9, 1, donor)
    assert [(g.token, g.count) for g in found] == [("de", 14)]
