"""The demo's stages by the methods of the published scripts, in one plain script: what a user would otherwise run.

Count tokens with ``encode_batch`` and a ``Counter``; keep the most frequent and add WordPiece tokens trained on the target
language; make the rows in a loop over all tokens, each the mean of its pieces (the method of ``transformer-cloner``); embed
with ``SentenceTransformer.encode`` into a Parquet list column; train with ``MSELoss`` and sentence-transformers' trainer;
encode the test texts with teacher, clone and student and score them. ``bench_end_to_end.py`` runs it::

    python benchmarks/published_methods.py TEXTS --config demo.yaml --out FOLDER
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from datasets import Dataset
from measure import SEED, minilm, tell
from public_data import lines_of
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.losses import MSELoss
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from tokenizers import Tokenizer
from tokenizers.trainers import WordPieceTrainer

_BATCH = 32
_TARGET, _PIVOT = "tr", "en"


@dataclass(frozen=True)
class Texts:
    """One language: texts and what the teacher reads of each, split by their order."""

    texts: list[str]
    read: list[str]
    quotas: Mapping[str, int]

    def part(self, split: str) -> tuple[list[str], list[str]]:
        """Texts of ``train``, ``validation`` or ``test``, and what the teacher reads."""
        starts = {"train": 0, "validation": self.quotas["train"]}
        first = starts.get(split, self.quotas["train"] + self.quotas["validation"])
        chosen = slice(first, first + self.quotas[split])
        return self.texts[chosen], self.read[chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, help="folder with tr.tsv (text, tab, English) and so on, and en.txt")
    parser.add_argument("--config", type=Path, required=True, help="the run's configuration")
    parser.add_argument("--out", type=Path, required=True, help="folder of tokenizer, vectors and models")
    options = parser.parse_args()
    config = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    corpus = {lang: _read(options.texts, lang, config["corpus"]["quotas"]) for lang in config["corpus"]["languages"]}
    torch.manual_seed(SEED)
    teacher = SentenceTransformer(str(minilm()), device="cpu")
    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    vocabulary = _vocabulary(tokenizer, corpus, config["vocabulary"])
    clone = _clone(tokenizer, vocabulary, options.out)
    vectors = _vectors(teacher, corpus, options.out / "vectors.parquet")
    student = _trained(clone, vectors, config["distillation"], options.out)
    models = {"teacher": teacher, "clone": SentenceTransformer(str(clone), device="cpu"), "student": student}
    scores = {name: _scores(model, teacher, corpus) for name, model in models.items()}
    (options.out / "scores.json").write_text(json.dumps(scores, indent=1), encoding="utf-8")
    tell(scores["student"])


def _read(folder: Path, lang: str, quotas: Mapping[str, int]) -> Texts:
    if lang == _PIVOT:
        lines = lines_of(folder / f"{lang}.txt")
        return Texts(lines, lines, quotas)
    rows = [line.split("\t") for line in lines_of(folder / f"{lang}.tsv")]
    return Texts([text for text, _ in rows], [pair for _, pair in rows], quotas)


def _vocabulary(tokenizer: Tokenizer, corpus: Mapping[str, Texts], settings: Mapping[str, Any]) -> list[str]:
    """The new vocabulary: special tokens, new ones of the target language, then the teacher's by frequency."""
    uses: Counter[int] = Counter()
    for texts in corpus.values():
        train, _ = texts.part("train")
        for at in range(0, len(train), 1_000):
            for encoding in tokenizer.encode_batch(train[at : at + 1_000], add_special_tokens=False):
                uses.update(encoding.ids)
    known, size = tokenizer.get_vocab(), settings["size"]
    special = [token for token in known if token.startswith("[") and token.endswith("]") and "unused" not in token]
    new = _new_tokens(tokenizer, corpus[_TARGET].part("train")[0], round(settings["graft"]["share"] * size))
    frequent = [tokenizer.id_to_token(i) for i, _ in uses.most_common()]
    rest = sorted(known, key=known.__getitem__)
    return list(dict.fromkeys([*special, *new, *frequent, *rest]))[:size]


def _new_tokens(tokenizer: Tokenizer, texts: Sequence[str], count: int) -> list[str]:
    trained = Tokenizer.from_str(tokenizer.to_str())
    trained.train_from_iterator(texts, WordPieceTrainer(vocab_size=8 * count, min_frequency=2, show_progress=False))
    known, found = tokenizer.get_vocab(), trained.get_vocab()
    return [token for token in sorted(found, key=found.__getitem__) if token not in known][:count]


def _clone(tokenizer: Tokenizer, vocabulary: Sequence[str], out: Path) -> Path:
    """The teacher with the new vocabulary; each row is the mean of the rows of its token's pieces."""
    model = SentenceTransformer(str(minilm()), device="cpu")
    spec = json.loads(tokenizer.to_str())
    ids = {token: i for i, token in enumerate(vocabulary)}
    spec["model"]["vocab"] = ids
    spec["added_tokens"] = [entry | {"id": ids[entry["content"]]} for entry in spec["added_tokens"]]
    for name, entry in spec["post_processor"]["special_tokens"].items():
        entry["ids"] = [ids[name]]
    transformer: Any = model.transformers_model
    old = transformer.get_input_embeddings().weight.detach()
    new = torch.zeros(len(vocabulary), old.shape[1])
    known = tokenizer.get_vocab()
    for token, i in ids.items():
        pieces = [known[token]] if token in known else tokenizer.encode(token, add_special_tokens=False).ids
        new[i] = old[pieces].mean(dim=0)
    transformer.resize_token_embeddings(len(vocabulary))
    transformer.get_input_embeddings().weight.data.copy_(new)
    folder = out / "clone"
    model.save_pretrained(str(folder), create_model_card=False)
    (folder / "tokenizer.json").write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
    return folder


def _vectors(teacher: SentenceTransformer, corpus: Mapping[str, Texts], out: Path) -> Dataset:
    parts = [texts.part("train") for texts in corpus.values()]
    read = [text for _, part in parts for text in part]
    made = teacher.encode(read, batch_size=_BATCH, show_progress_bar=False)
    texts = [text for part, _ in parts for text in part]
    Dataset.from_dict({"text": texts, "label": list(made)}).to_parquet(out)
    return Dataset.from_parquet(str(out), cache_dir=str(out.parent / "cache"))


def _trained(clone: Path, vectors: Dataset, settings: Mapping[str, Any], out: Path) -> SentenceTransformer:
    model = SentenceTransformer(str(clone), device="cpu")
    model.max_seq_length = settings["max_length"]
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out / "training"),
        per_device_train_batch_size=settings["batch_size"],
        num_train_epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        warmup_steps=settings["warmup"],
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=vectors, loss=MSELoss(model)).train()
    model.save_pretrained(str(out / "student"), create_model_card=False)
    return model.eval()


def _scores(model: SentenceTransformer, teacher: SentenceTransformer, corpus: Mapping[str, Texts]) -> dict[str, float]:
    """Cosine to what the teacher makes of the read side, tokens a word, and translations found, as the demo's tasks."""
    scores: dict[str, float] = {}
    for lang, texts in corpus.items():
        mine, read = texts.part("test")
        expected, found = (_unit(m.encode(t, batch_size=_BATCH)) for m, t in ((teacher, read), (model, mine)))
        scores[f"agreement {lang}"] = float((expected * found).sum(axis=1).mean())
        tokens = sum(len(ids) for ids in model.tokenizer(mine, add_special_tokens=False)["input_ids"])
        scores[f"fertility {lang}"] = tokens / sum(len(text.split()) for text in mine)
    for lang in ("tr", "de"):
        source, target = (_unit(model.encode(side, batch_size=_BATCH)) for side in corpus[lang].part("test"))
        cosines = source @ target.T
        hits = [cosines.argmax(axis=axis) == np.arange(len(cosines)) for axis in (0, 1)]
        scores[f"bitext {lang}-en"] = 100 * float(np.mean(hits))
    return scores


def _unit(vectors: Any) -> np.ndarray[Any, Any]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


if __name__ == "__main__":
    main()
