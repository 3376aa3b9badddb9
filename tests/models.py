"""Tiny teachers for the tests: random weights behind trained tokenizers, laid out as on the Hub.

Each function writes a complete sentence-transformers folder and returns it; equal calls give equal bytes. The vectors
mean nothing, but they tell texts apart.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
    Qwen3Model,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from tests.unit.surgery_teachers import (
    TEXTS,
    byte_level_spec,
    write_byte_level,
    write_json,
    write_unigram,
    write_wordpiece,
)

HIDDEN = 32
MAX_LENGTH = 128
GEMMA_PROMPTS = {
    "query": "task: search result | query: ",
    "document": "title: none | text: ",
    "STS": "task: sentence similarity | query: ",
}
_SHAPE = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 2 * HIDDEN,
    # Wide, so that the vectors of different texts lie apart.
    "initializer_range": 0.2,
}


def make_tiny_bert_teacher(folder: Path) -> Path:
    """BERT with lowercasing WordPiece, mean pooling and Normalize, laid out like all-MiniLM-L6-v2.

    As in copies that went through git or a wheel, the empty folder ``2_Normalize`` is missing.
    """
    write_wordpiece(folder)
    rows = len((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    _save_model(folder, BertModel, BertConfig(vocab_size=rows, max_position_embeddings=MAX_LENGTH, **_SHAPE))
    _write_modules(folder, "Normalize")
    return folder


def make_tiny_xlmr_teacher(folder: Path) -> Path:
    """XLM-R with a Unigram tokenizer and mean pooling, without Normalize; its positions start behind the padding id."""
    write_unigram(folder)
    rows = len(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    config = XLMRobertaConfig(
        vocab_size=rows, max_position_embeddings=MAX_LENGTH + 2, pad_token_id=1, type_vocab_size=1, **_SHAPE
    )
    _save_model(folder, XLMRobertaModel, config)
    _write_modules(folder)
    return folder


def make_tiny_gemma_teacher(folder: Path) -> Path:
    """Gemma 3 with attention in both directions, mean pooling, two Dense modules and Normalize, like EmbeddingGemma.

    As in the real one, the tokenizer ends with ``<image_soft_token>``, whose id lies one past the embedding table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec = json.loads(_gemma_spec())
    rows = len(spec["model"]["vocab"])
    write_json(folder / "tokenizer.json", spec)
    write_json(folder / "tokenizer_config.json", _gemma_tokenizer_config(spec["added_tokens"]))
    config = Gemma3TextConfig(
        vocab_size=rows,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        max_position_embeddings=MAX_LENGTH,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
        use_bidirectional_attention=True,
        **_SHAPE,
    )
    _save_model(folder, Gemma3TextModel, config)
    _write_modules(folder, "Dense", "Dense", "Normalize", prompts=GEMMA_PROMPTS)
    write_dense(folder / "2_Dense", HIDDEN, 2 * HIDDEN, seed=2)
    write_dense(folder / "3_Dense", 2 * HIDDEN, HIDDEN, seed=3)
    return folder


def make_tiny_qwen3_teacher(folder: Path) -> Path:
    """Qwen3 with a byte-level BPE, padding on the left, pooling of the last token and Normalize, like Qwen3-Embedding."""
    rows = _write_byte_level_tokenizer(folder, "left")
    config = Qwen3Config(
        vocab_size=rows, num_key_value_heads=1, head_dim=16, max_position_embeddings=MAX_LENGTH, **_SHAPE
    )
    _save_model(folder, Qwen3Model, config)
    _write_modules(folder, "Normalize", pooling="lasttoken")
    return folder


def make_tiny_modernbert_teacher(folder: Path) -> Path:
    """ModernBERT with a byte-level BPE, local attention in one of its layers, and mean pooling."""
    rows = _write_byte_level_tokenizer(folder, "right")
    tokenizer = Tokenizer.from_str(byte_level_spec())
    end = dict.fromkeys(
        ("bos_token_id", "cls_token_id", "eos_token_id", "sep_token_id"), tokenizer.token_to_id("<|end|>")
    )
    config = ModernBertConfig(
        vocab_size=rows,
        max_position_embeddings=MAX_LENGTH,
        local_attention=16,
        global_attn_every_n_layers=2,
        pad_token_id=tokenizer.token_to_id("<|pad|>"),
        **end,
        **_SHAPE,
    )
    _save_model(folder, ModernBertModel, config)
    _write_modules(folder)
    return folder


def _write_byte_level_tokenizer(folder: Path, padding_side: str) -> int:
    """Write the tokenizer and return the rows of its table."""
    write_byte_level(folder)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": MAX_LENGTH,
            "padding_side": padding_side,
            "eos_token": "<|end|>",
            "pad_token": "<|pad|>",
        },
    )
    return Tokenizer.from_str(byte_level_spec()).get_vocab_size()


def add_tiny_model(folder: Path) -> Path:
    """Make a folder that has a tokenizer alone a sentence-transformers model: BERT, mean pooling."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
    _save_model(folder, BertModel, BertConfig(vocab_size=rows, max_position_embeddings=MAX_LENGTH, **_SHAPE))
    _write_modules(folder)
    return folder


def make_tiny_model(folder: Path, kind: str, *further: str, **config: Any) -> Path:
    """Make a folder that has a tokenizer alone a model of a named architecture with four layers and further modules."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
    shape = {"max_position_embeddings": MAX_LENGTH, **_SHAPE, "num_hidden_layers": 4, **config}
    _save_model(
        folder, getattr(transformers, f"{kind}Model"), getattr(transformers, f"{kind}Config")(vocab_size=rows, **shape)
    )
    _write_modules(folder, *further)
    return folder


def _save_model(folder: Path, architecture: type[PreTrainedModel], config: PreTrainedConfig) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        architecture(config).save_pretrained(folder)


def _write_modules(
    folder: Path, *further: str, prompts: dict[str, str] | None = None, pooling: str = "mean_tokens"
) -> None:
    """What makes a transformers folder one of sentence-transformers, in the spelling of the models on the Hub."""
    kinds = ["Transformer", "Pooling", *further]
    paths = ["", *(f"{index}_{kind}" for index, kind in enumerate(kinds) if index)]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": MAX_LENGTH, "do_lower_case": False})
    (folder / "1_Pooling").mkdir()
    named = dict.fromkeys(("cls_token", "mean_tokens", "max_tokens", pooling))
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in named}
    width = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("hidden_size", HIDDEN)
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **modes})
    config: dict[str, Any] = {"__version__": {"sentence_transformers": "5.1.0"}, "similarity_fn_name": "cosine"}
    write_json(
        folder / "config_sentence_transformers.json", {**config, "prompts": prompts or {}, "default_prompt_name": None}
    )


def write_dense(folder: Path, inputs: int, outputs: int, seed: int) -> None:
    folder.mkdir()
    activation = "torch.nn.modules.linear.Identity"
    settings = {"in_features": inputs, "out_features": outputs, "bias": False, "activation_function": activation}
    write_json(folder / "config.json", settings)
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed)) / inputs**0.5
    save_file({"linear.weight": weight}, folder / "model.safetensors")


@cache
def _gemma_spec() -> str:
    """A ``tokenizer.json`` like Gemma's: BPE with byte fallback, spaces as ``▁``, slots, runs of blanks as tokens."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    plain = ["<mask>", "[multimodal]", *(f"<unused{i}>" for i in range(10)), "\n\n", "▁▁", "▁▁▁", "<table>"]
    images = ["<start_of_image>", "<end_of_image>"]
    letters = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    # Trained on words, as SentencePiece does; used without a cut.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("▁", "merged_with_next"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(r"[\p{P}\n]"), "isolated"),
        ]
    )
    named = [*special, *plain, *letters, *images]
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=named, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    spec = json.loads(tokenizer.to_str())
    known = {*special, *plain, *images}
    spec["added_tokens"] = [
        {**entry, "special": entry["content"] in {*special, *images}}
        for entry in spec["added_tokens"]
        if entry["content"] in known
    ]
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>",
        pair="<bos> $A <eos> <bos>:1 $B:1 <eos>:1",
        special_tokens=[("<bos>", 2), ("<eos>", 1)],
    )
    tokenizer.add_special_tokens([AddedToken("<image_soft_token>", normalized=False, special=True)])
    return str(tokenizer.to_str())


def _gemma_tokenizer_config(added: list[dict[str, Any]]) -> dict[str, Any]:
    images = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    return {
        "add_bos_token": True,
        "add_eos_token": True,
        "added_tokens_decoder": {
            str(entry["id"]): {key: value for key, value in entry.items() if key != "id"} for entry in added
        },
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<eos>",
        "extra_special_tokens": images,
        **images,
        "model_max_length": MAX_LENGTH,
        "pad_token": "<pad>",
        "padding_side": "right",
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
    }
