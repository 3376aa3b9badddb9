"""What the paper's recipe asks of the Hub, small: the teacher, Wikipedia in 40 languages, two STS data sets."""

import io
import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from langtailor.storage.json_files import load_json_object
from langtailor.surgery.protobuf import BYTES, FIXED32, VARINT, Field, write_fields
from langtailor.surgery.sentencepiece_model import Kind
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
    """The SentencePiece model that a byte-fallback ``tokenizer.json`` would have been converted from.

    Field numbers: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
    """
    spec = load_json_object(folder / "tokenizer.json")
    added = {entry["content"] for entry in spec["added_tokens"]}
    special = {"<unk>": Kind.UNKNOWN, **dict.fromkeys(("<pad>", "<eos>", "<bos>"), Kind.CONTROL)}
    fields = []
    for rank, token in enumerate(sorted(spec["model"]["vocab"], key=spec["model"]["vocab"].__getitem__)):
        byte = len(token) == 6 and token.startswith("<0x")
        kind = Kind.BYTE if byte else Kind.USER_DEFINED if token in added else Kind.NORMAL
        kind = special.get(token, kind)
        score = struct.pack("<f", -float(rank) if kind is Kind.NORMAL else 0.0)
        piece = [Field(1, BYTES, token.encode()), Field(2, FIXED32, score), Field(3, VARINT, kind.value)]
        fields.append(Field(1, BYTES, write_fields(piece)))
    ids = {"unk": (40, 45), "bos": (41, 46), "eos": (42, 47), "pad": (43, 48)}
    trainer = [Field(3, VARINT, 2), Field(4, VARINT, len(fields)), Field(35, VARINT, 1)]
    trainer += [Field(ids[name][0], VARINT, index) for index, name in enumerate(("pad", "eos", "bos", "unk"))]
    trainer += [Field(number, BYTES, f"<{name}>".encode()) for name, (_, number) in ids.items()]
    # No dummy prefix, no removal of extra whitespace, whitespace escaped.
    normalizer = [Field(1, BYTES, b"identity"), Field(3, VARINT, 0), Field(4, VARINT, 0), Field(5, VARINT, 1)]
    return write_fields([*fields, Field(2, BYTES, write_fields(trainer)), Field(3, BYTES, write_fields(normalizer))])


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
