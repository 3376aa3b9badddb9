"""What the paper's recipe asks of the Hub, small: the teacher, Wikipedia in 40 languages, two STS data sets."""

import io
import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from sentencepiece import sentencepiece_model_pb2

from langtailor.storage.json_files import load_json_object
from tests.hub.server import Hub
from tests.models import make_tiny_gemma_teacher

SAMPLE = Path(__file__).parents[2] / "workflow" / "langtailor" / "corpus" / "sample"
#: First and last letter of the alphabets of languages that the sample corpus does not have; Latin ones are left out.
LETTERS = {
    "arz": "اي", "fa": "اي", "bg": "ая", "ce": "ая", "tt": "ая", "uk": "ая", "el": "αω", "he": "את", "hy": "աֆ", "ko": "가힣",
}  # fmt: skip


def publish_teacher(hub: Hub, folder: Path) -> None:
    """A gated model shaped like EmbeddingGemma: Gemma 3, two Dense modules, bfloat16, prompts and ``tokenizer.model``."""
    make_tiny_gemma_teacher(folder)
    for file in folder.rglob("*.safetensors"):
        save_file({name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    (folder / "tokenizer.model").write_bytes(sentencepiece_file(folder))
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.model("google/embeddinggemma-300m", files, gated=True)
    hub.tokens["hf_tester"] = True


def sentencepiece_file(folder: Path) -> bytes:
    """The SentencePiece model that a byte-fallback ``tokenizer.json`` would have been converted from."""
    spec = load_json_object(folder / "tokenizer.json")
    added = {entry["content"] for entry in spec["added_tokens"]}
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece.Type
    special = {"<unk>": kinds.UNKNOWN, **dict.fromkeys(("<pad>", "<eos>", "<bos>"), kinds.CONTROL)}
    model = sentencepiece_model_pb2.ModelProto()
    for rank, token in enumerate(sorted(spec["model"]["vocab"], key=spec["model"]["vocab"].__getitem__)):
        byte = len(token) == 6 and token.startswith("<0x")
        kind = kinds.BYTE if byte else kinds.USER_DEFINED if token in added else kinds.NORMAL
        kind = special.get(token, kind)
        model.pieces.add(piece=token, score=-float(rank) if kind == kinds.NORMAL else 0.0, type=kind)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.byte_fallback, trainer.vocab_size = trainer.BPE, True, len(model.pieces)
    for index, name in enumerate(("pad", "eos", "bos", "unk")):
        setattr(trainer, f"{name}_id", index)
        setattr(trainer, f"{name}_piece", f"<{name}>")
    normalizer.name, normalizer.escape_whitespaces = "identity", True
    normalizer.add_dummy_prefix = normalizer.remove_extra_whitespaces = False
    return model.SerializeToString()


def publish_wikipedia(hub: Hub, languages: Sequence[str], articles: int) -> None:
    """Subsets as the real data set lays them out: ``20231101.{lang}/train-*.parquet``, named in the card."""
    names = {lang: f"20231101.{lang}" for lang in languages}
    subsets = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train-*\n" for name in names.values()
    )
    files = {"README.md": f"---\nlicense: cc-by-sa-3.0\nconfigs:\n{subsets}---\n".encode()}
    for lang, name in names.items():
        files[f"{name}/train-00000-of-00001.parquet"] = parquet(
            id=[str(number) for number in range(articles)],
            url=[f"https://{lang}.wikipedia.org/wiki/{number}" for number in range(articles)],
            title=[f"{lang} {number}" for number in range(articles)],
            text=article_texts(lang, articles),
        )
    hub.dataset("wikimedia/wikipedia", files)


def publish_sts(hub: Hub) -> None:
    """The two STS test splits of the recipe."""
    for name, lang in (("emrecan/stsb-mt-turkish", "tr"), ("mteb/stsbenchmark-sts", "en")):
        first = sentences(lang)[:40]
        second = [*first[1:], first[0]]
        data = parquet(sentence1=first, sentence2=second, score=[float(number % 6) for number in range(len(first))])
        hub.dataset(name, {"README.md": b"---\n---\n", "data/test-00000-of-00001.parquet": data})


def article_texts(lang: str, articles: int) -> list[str]:
    """Articles of a few sentences, no two alike."""
    known, draw = sentences(lang), random.Random(lang)
    return [" ".join(draw.sample(known, 4)) for _ in range(articles)]


def sentences(lang: str) -> list[str]:
    """Those of the sample corpus, or words of drawn letters where it does not have the language."""
    file = SAMPLE / f"{lang}.txt"
    if file.is_file():
        return file.read_text(encoding="utf-8").splitlines()
    first, last = LETTERS.get(lang, "az")
    draw = random.Random(f"words of {lang}")
    letters = [chr(code) for code in range(ord(first), ord(last) + 1) if chr(code).isalpha()]
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(400)]
    return [" ".join(draw.choices(words, k=8)).capitalize() + "." for _ in range(150)]


def parquet(**columns: list) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()
