"""Teachers' tokenizers for the tests: trained here, configured as the real ones, written as complete folders."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from langtailor.surgery.protobuf import read_fields
from langtailor.surgery.sentencepiece_model import Kind, read_pieces

#: What the teachers have read: several languages, none of them much.
TEXTS = (
    "The old ferry crosses the strait every morning before the market opens.",
    "She keeps her letters in a wooden box under the window.",
    "After the storm the fishermen repaired their nets and sang old songs.",
    "There are seven bridges over the river, and none of them is straight.",
    "Nobody remembers who planted the walnut tree behind the school.",
    "He paid 12.50 for two tickets; the train left at 9:45, wasn't it late?",
    "Eski vapur her sabah pazar açılmadan önce boğazı geçer.",
    "Mektuplarını pencerenin altındaki tahta kutuda saklıyor.",
    "Fırtınadan sonra balıkçılar ağlarını onardı ve eski türküler söyledi.",
    "Irmağın üzerinde yedi köprü var ve hiçbiri düz değil.",
    "İğde ağacını okulun arkasına kimin diktiğini kimse hatırlamıyor.",
    "Die alte Fähre überquert jeden Morgen die Meerenge, bevor der Markt öffnet.",
    "Ihre Briefe liegen in einer hölzernen Kiste unter dem Fenster.",
    "Nach dem Sturm flickten die Fischer ihre Netze und sangen alte Lieder.",
    "Старый паром каждое утро пересекает пролив до открытия рынка.",
    "Она хранит письма в деревянной коробке под окном.",
    "Το παλιό πλοίο περνά το στενό κάθε πρωί πριν ανοίξει η αγορά.",
    "العبّارة القديمة تعبر المضيق كل صباح قبل أن يفتح السوق",
    "古い渡し船は毎朝、市場が開く前に海峡を渡ります。",
    "彼女は窓の下の木箱に手紙をしまっています。",
    "老渡轮每天早上在市场开门之前穿过海峡。",
    "낡은 배는 매일 아침 시장이 열리기 전에 해협을 건넌다.",
    "पुरानी नाव हर सुबह बाज़ार खुलने से पहले जलडमरूमध्य पार करती है।",
)
_STEMS = ("deniz", "köprü", "balık", "pencere", "mektup", "ağaç", "sabah", "okul", "pazar", "ırmak", "gemi", "yol")
#: Turkish, much of it, with endings that the teachers have hardly seen.
TARGET = tuple(
    f"{stem}{first} {stem}{second} ve {other}{second} {other}{first}."
    for stem, other in zip(_STEMS, _STEMS[3:] + _STEMS[:3], strict=True)
    for first, second in (("lerimizden", "likler"), ("lerinizde", "sizlik"), ("cilerimiz", "lerimizden"))
)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


# -- WordPiece ---------------------------------------------------------------------------------------------------------


@cache
def wordpiece_spec(lowercase: bool = True, size: int = 600, texts: Sequence[str] = TEXTS) -> str:
    """A ``tokenizer.json`` like BERT's: slots, specials behind them, no accents when lowercased."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    slots = [f"[unused{i}]" for i in range(5)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted({c for text in texts for c in tokenizer.normalizer.normalize_str(text) if not c.isspace()})
    alphabet = [*letters, *(f"##{letter}" for letter in letters)]
    named = [special[0], *slots, *special[1:], *alphabet]
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=named, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = [entry for entry in spec["added_tokens"] if entry["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=128)
    return str(tokenizer.to_str())


def write_wordpiece(folder: Path, lowercase: bool = True, spec: str | None = None) -> Path:
    """A BERT folder: ``tokenizer.json``, both configs, ``vocab.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.loads(spec or wordpiece_spec(lowercase))
    vocab = content["model"]["vocab"]
    named = {f"{part}_token": f"[{part.upper()}]" for part in ("pad", "unk", "cls", "sep", "mask")}
    decoder = {str(entry["id"]): {k: v for k, v in entry.items() if k != "id"} for entry in content["added_tokens"]}
    write_json(folder / "tokenizer.json", content)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": lowercase,
            "model_max_length": 512,
            "added_tokens_decoder": decoder,
            **named,
        },
    )
    write_json(folder / "special_tokens_map.json", named)
    write_json(folder / "config.json", {"model_type": "bert", "vocab_size": len(vocab)})
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in sorted(vocab, key=vocab.get)), encoding="utf-8")
    return folder


# -- Unigram -----------------------------------------------------------------------------------------------------------


@cache
def sentencepiece_model(kind: str = "unigram", size: int = 700, texts: Sequence[str] = TEXTS, **options: Any) -> bytes:
    """A model by SentencePiece's own trainer, with its default normalisation (``nmt_nfkc``)."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def charsmap(model: bytes) -> bytes:
    """The precompiled normalisation table of a SentencePiece model (field 3, in it field 2)."""
    normalizer = next(field.value for field in read_fields(model) if field.number == 3)
    assert isinstance(normalizer, bytes)
    found = next(field.value for field in read_fields(normalizer) if field.number == 2)
    assert isinstance(found, bytes)
    return found


def unigram_spec(model: bytes) -> dict[str, Any]:
    """XLM-R's ``tokenizer.json`` for a SentencePiece model, as transformers' converter makes it."""
    regular = [[piece.text, piece.score] for piece in read_pieces(model)[3:]]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocab = [*([token, 0.0] for token in special), *regular, ["<mask>", 0.0]]
    flags = {"single_word": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": i, "content": token, "lstrip": False, **flags} for i, token in enumerate(special)]
    added.append({"id": len(vocab) - 1, "content": "<mask>", "lstrip": True, **flags})
    template = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(model)).decode()},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": json.loads(template.__getstate__()),
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": False},
    }


def write_unigram(folder: Path, model: bytes | None = None) -> Path:
    """An XLM-R folder: ``tokenizer.json``, both configs, ``sentencepiece.bpe.model``."""
    folder.mkdir(parents=True, exist_ok=True)
    model = model or sentencepiece_model()
    spec = unigram_spec(model)
    named = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": {"content": "<mask>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False},
    }
    write_json(folder / "tokenizer.json", spec)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer", **named})
    write_json(folder / "special_tokens_map.json", named)
    write_json(folder / "config.json", {"model_type": "xlm-roberta", "vocab_size": len(spec["model"]["vocab"])})
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    return folder


def unigram_with_bytes_spec(model: bytes) -> dict[str, Any]:
    """A Unigram with byte fallback whose ids are SentencePiece's own."""
    spec = unigram_spec(model)
    vocab = [[piece.text, piece.score] for piece in read_pieces(model)]
    spec["model"] = {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": True}
    spec["added_tokens"] = [
        {**spec["added_tokens"][0], "id": i, "content": token} for i, token in enumerate(("<unk>", "<s>", "</s>"))
    ]
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    spec["decoder"] = json.loads(decoders.Sequence(steps).__getstate__())
    template = processors.TemplateProcessing(
        single="<s> $A </s>", pair="$A $B", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    spec["post_processor"] = json.loads(template.__getstate__())
    return spec


# -- BPE with byte fallback --------------------------------------------------------------------------------------------


@cache
def byte_fallback_model() -> bytes:
    """A BPE model by SentencePiece's own trainer, set up as Gemma's."""
    return sentencepiece_model(
        "bpe", 1000, TEXTS, byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False,
        remove_extra_whitespaces=False, split_digits=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
    )  # fmt: skip


def byte_fallback_spec() -> dict[str, Any]:
    """Its ``tokenizer.json`` as transformers' converter makes it: every split of every piece is a merge."""
    pieces = read_pieces(byte_fallback_model())
    vocab = {piece.text: i for i, piece in enumerate(pieces)}
    scores = {piece.text: piece.score for piece in pieces if piece.kind in (Kind.NORMAL, Kind.USER_DEFINED)}
    merges = [
        (-score, vocab[token[:at]], [token[:at], token[at:]])
        for token, score in scores.items()
        for at in range(1, len(token))
        if token[:at] in scores and token[at:] in scores
    ]
    tokenizer = Tokenizer(models.BPE(vocab, [], byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 2), ("</s>", 1)]
    )
    spec: dict[str, Any] = json.loads(tokenizer.to_str())
    spec["model"]["merges"] = [merge for *_, merge in sorted(merges)]
    return spec


def write_byte_fallback(folder: Path) -> Path:
    """A folder like Gemma's: ``tokenizer.json``, both configs, ``tokenizer.model``."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_json(folder / "tokenizer.json", byte_fallback_spec())
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **named})
    write_json(folder / "special_tokens_map.json", named)
    (folder / "tokenizer.model").write_bytes(byte_fallback_model())
    return folder


# -- byte-level BPE ----------------------------------------------------------------------------------------------------


@cache
def byte_level_spec(size: int = 500, texts: Sequence[str] = TEXTS) -> str:
    """A ``tokenizer.json`` like ModernBERT's, with a slot and a media token among the added ones."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=sorted(letters), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(["<|end|>", "<|pad|>", "<|image_3|>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|end|>", special_tokens=[("<|end|>", tokenizer.token_to_id("<|end|>"))]
    )
    return str(tokenizer.to_str())


def write_byte_level(folder: Path) -> Path:
    """A folder with all that a byte-level BPE may have: vocab.json, merges.txt, added_tokens.json, a template."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = json.loads(byte_level_spec())
    named = {"eos_token": "<|end|>", "pad_token": "<|pad|>"}
    added = {entry["content"]: entry["id"] for entry in spec["added_tokens"]}
    decoder = {str(entry["id"]): {k: v for k, v in entry.items() if k != "id"} for entry in spec["added_tokens"]}
    write_json(folder / "tokenizer.json", spec)
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": decoder, **named},
    )
    write_json(folder / "special_tokens_map.json", {**named, "additional_special_tokens": ["<|image_3|>", "<|end|>"]})
    write_json(folder / "added_tokens.json", added)
    write_json(folder / "vocab.json", spec["model"]["vocab"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in spec["model"]["merges"]))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


#: A teacher's tokenizer of each family, by the family's name.
FAMILIES = {
    "WordPiece": write_wordpiece,
    "Unigram": write_unigram,
    "byte fallback": write_byte_fallback,
    "byte level": write_byte_level,
}
