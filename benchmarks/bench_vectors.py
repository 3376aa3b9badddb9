"""The teacher's vectors: langtailor's encoder and ``SentenceTransformer.encode`` at its best batch size.

Both encode the same texts with the same model in the same precision and must agree (cosine over 0.9999 in float32). Two
sets of texts: DATA's sentences as they are, and *mixed*: words of them joined to 8 to 2,048 tokens, drawn from a log-normal
distribution. The model is all-MiniLM-L6-v2; its 512 positions are repeated up to 2,048, which changes no arithmetic. The
peer's batch size is tuned beforehand, on all of the texts. On a GPU::

    python benchmarks/bench_vectors.py DATA --device cuda --dtype bfloat16 --passages 20000 --mixed 4000 --out vectors.json
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import LOG, SEED, Row, alternate, minilm, parser, sentences, start, write
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from langtailor.models.encoder import Encoder
from langtailor.models.loading import load_sentence_transformer

_SIGMA = 1.0
_SHORTEST, _LONGEST = 8, 2_048
_POSITIONS = "embeddings.position_embeddings.weight"
_COSINE = {"float32": 0.9999, "bfloat16": 0.999}
Vectors = NDArray[np.float32]


def main() -> None:
    options = _options()
    start()
    with tempfile.TemporaryDirectory() as folder:
        model = load_sentence_transformer(options.model or _long_minilm(Path(folder)), options.device, options.dtype)
        lines = random.Random(SEED).choices(sentences(options.data), k=max(options.passages, 20_000))
        sets = {"the corpus's own lengths": lines[: options.passages], "mixed lengths": _mixed(lines, model, options)}
        found = {name: _compare(name, texts, model, options) for name, texts in sets.items()}
    target = 2.0 if options.device == "cuda" else 1.5
    rows = [
        Row(
            f"teacher vectors, {name}",
            "SentenceTransformer.encode",
            figures["times"],
            target,
            note=f"{figures['passages']:,} passages, {figures['tokens']:,} tokens, {options.dtype}; its best batch size is "
            f"{figures['best']}; least cosine {figures['least_cosine']}",
        )
        for name, figures in found.items()
    ]
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    write(options.out, rows, {"device": device, "threads": torch.get_num_threads(), "texts": found})


def _options() -> Any:
    made = parser(__doc__)
    made.add_argument("--model", type=Path, help="sentence-transformers folder instead of all-MiniLM-L6-v2")
    made.add_argument("--device", default="cpu")
    made.add_argument("--dtype", default="float32", choices=sorted(_COSINE))
    made.add_argument("--passages", type=int, default=1_024, help="sentences as they are")
    made.add_argument("--mixed", type=int, default=256, help="texts of mixed length")
    made.add_argument("--median", type=int, default=128, help="median tokens of the mixed texts")
    made.add_argument("--batch-sizes", nargs="*", type=int, default=[8, 32, 128], help="of sentence-transformers")
    made.add_argument("--batch-tokens", type=int, default=16_384, help="of langtailor")
    return made.parse_args()


def _long_minilm(folder: Path) -> Path:
    """all-MiniLM-L6-v2 that reads 2,048 tokens."""
    made = folder / "model"
    shutil.copytree(minilm(), made)
    for name, key in (("config.json", "max_position_embeddings"), ("sentence_bert_config.json", "max_seq_length")):
        settings = json.loads((made / name).read_text(encoding="utf-8"))
        (made / name).write_text(json.dumps(settings | {key: _LONGEST}), encoding="utf-8")
    weights = load_file(made / "model.safetensors")
    table = weights[_POSITIONS]
    weights[_POSITIONS] = table.repeat(_LONGEST // len(table), 1)
    save_file(weights, made / "model.safetensors", {"format": "pt"})
    return made


def _mixed(lines: Sequence[str], model: Any, options: Any) -> list[str]:
    """Neighbouring words of the lines, as many as have the tokens that were drawn."""
    words = " ".join(lines).split()
    encoded = model.tokenizer(words, add_special_tokens=False)["input_ids"]
    ends = np.cumsum([len(ids) for ids in encoded])
    draw, texts = random.Random(SEED), []
    for _ in range(options.mixed):
        tokens = min(_LONGEST, max(_SHORTEST, round(options.median * draw.lognormvariate(0, _SIGMA)))) - 2
        first = draw.randrange(len(words) - _LONGEST)
        last = int(np.searchsorted(ends, ends[first - 1] + tokens if first else tokens, side="right"))
        texts.append(" ".join(words[first : max(last, first + 1)]))
    return texts


def _compare(name: str, texts: list[str], model: Any, options: Any) -> dict[str, Any]:
    encoders: list[Encoder] = []

    def langtailor() -> Vectors:
        encoders.append(Encoder(model, "", options.batch_tokens))
        return encoders[-1].encode(texts, name)

    def peer(size: int) -> Callable[[], Vectors]:
        return lambda: model.encode(texts, batch_size=size, prompt="", show_progress_bar=False, convert_to_numpy=True)

    def check(made: Mapping[str, Vectors]) -> None:
        least.append(_least_cosine(made["langtailor"], made["peer"]))
        if least[-1] < _COSINE[options.dtype]:
            raise AssertionError(f"{name}: the sides differ, least cosine {least[-1]}")

    least: list[float] = []
    tuned = {size: _seconds(peer(size)) for size in options.batch_sizes}
    best = min(tuned, key=lambda size: tuned[size])
    LOG.info("%s: seconds by batch size %s", name, tuned)
    timed = alternate({"langtailor": langtailor, "peer": peer(best)}, options.turns, check)
    tokens = encoders[-1].tokens
    return {
        **timed.to_json(),
        "passages": len(texts),
        "tokens": tokens,
        "passages_per_second": {side: round(len(texts) / timed.seconds(side), 1) for side in timed.wall},
        "tokens_per_second": {side: round(tokens / timed.seconds(side)) for side in timed.wall},
        "padding": {"langtailor": round(encoders[-1].padding_share, 4), "peer": round(_padding(model, texts, best), 4)},
        "best": best,
        "tuning_seconds": tuned,
        "least_cosine": round(min(least), 7),
        "times": round(timed.times("peer", "langtailor"), 3),
    }


def _seconds(encode: Callable[[], Vectors]) -> float:
    begin = time.perf_counter()
    encode()
    return round(time.perf_counter() - begin, 3)


def _least_cosine(one: Vectors, other: Vectors) -> float:
    pair = (torch.from_numpy(np.asarray(v, np.float64)) for v in (one, other))
    return float(torch.cosine_similarity(*pair).min())


def _padding(model: Any, texts: list[str], size: int) -> float:
    """Share of padding in the batches of ``SentenceTransformer.encode``: by characters, longest first."""
    order = np.argsort([-len(text) for text in texts])
    batches = [[texts[row] for row in order[at : at + size]] for at in range(0, len(order), size)]
    masks = [model.preprocess(batch)["attention_mask"] for batch in batches]
    return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)


if __name__ == "__main__":
    main()
