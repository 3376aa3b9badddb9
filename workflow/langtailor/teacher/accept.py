"""Whether a teacher's vectors can be trusted: checked in seconds, before anything is paid for.

transformers initialises a tensor that it does not find at random and goes on with a warning. So the model is loaded as
every later job loads it; what the library says of its tensors is read; and two texts are encoded in several ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from langtailor.errors import ConfigError, LangtailorError, is_disk_full, is_out_of_memory
from langtailor.models.folder import ModelInfo
from langtailor.models.loading import load_sentence_transformer
from langtailor.storage.json_files import load_json_object
from langtailor.teacher.preprocessing import adopt_preprocessing
from langtailor.teacher.truncation import adopt_truncation, ignores_limit

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

Vectors = NDArray[np.float32]
T = TypeVar("T")
#: Two texts, one of which needs much padding in a batch with the other.
_TEXTS = (
    "The ferry leaves at eight.",
    "Nobody remembers who planted the walnut tree in the courtyard, but every autumn the children of the whole street "
    "come with baskets, and the old man on the second floor pretends to be angry with them.",
)
#: Cosine between vectors of one text that counts as agreement: half precision rounds.
_AGREEMENT = 0.99
#: Precision in which the model is loaded: that in which it is stored.
_STORED = "auto"
_SHOWN = 3


def accept_teacher(folder: Path, name: str, *, trust_remote_code: bool, pruned: bool = False) -> ModelInfo:
    """Refuse a teacher that is incomplete, damaged, or gives other vectors than its files promise.

    Where the loaded model truncates text otherwise than its files say, these are changed to do the same.

    Args:
        folder: the fetched teacher.
        name: what messages call it.
        trust_remote_code: run Python code that comes with the model.
        pruned: its tokenizer is to be pruned: ``tokenizer.json``, too, is changed to treat text as the loaded model does.

    Returns:
        What the folder says of itself, which is now known to be true.

    Raises:
        ConfigError: a tensor is missing although the vectors depend on it, has another shape, or is not finite; the
            tokenizer cannot pad; vectors depend on padding or differ between two loads; it does not truncate text at its
            limit; it reads text otherwise than its ``tokenizer.json`` can say; the library cannot load it.
    """
    info, refusal = ModelInfo.read(folder), _Refusal(name, folder)
    with _quiet_transformers():
        model = refusal.explain("load", lambda: _load(folder, trust_remote_code), hint=_processor_hint(folder))
        if model.tokenizer.pad_token is None:
            raise refusal("has a tokenizer without a padding token; name one as `pad_token` in tokenizer_config.json")
        first = refusal.explain("encode a text with", lambda: _encode(model, _TEXTS))
        _check_tensors(model, _reload_transformer(model, folder, trust_remote_code), refusal)
        _check_finite(model, refusal)
        _check_vectors(model, first, info.dimension, refusal)
        if ignores_limit(model):
            raise refusal(
                "does not truncate a text at its `max_seq_length`: take `max_length` and `truncation` out of "
                "`processing_kwargs` in sentence_bert_config.json"
            )
        info = adopt_truncation(folder, model, info)
        if pruned:
            adopt_preprocessing(folder, model, name)
    return info


class _Refusal:
    """Makes the errors that refuse one model."""

    def __init__(self, model: str, folder: Path) -> None:
        self._model, self._folder = model, folder

    def __call__(self, message: str) -> ConfigError:
        return ConfigError("teacher.model", f"{self._model!r} {message}. Choose another teacher, or fix this one")

    def explain(self, action: str, function: Callable[[], T], hint: str = "") -> T:
        """The function's result; what a library raises becomes an error that a user understands."""
        try:
            return function()
        except Exception as error:
            if isinstance(error, LangtailorError) or is_disk_full(error) or is_out_of_memory(error):
                raise
            reason = " ".join(str(error).split()).replace(str(self._folder), self._model) or type(error).__name__
            reason = reason if len(reason) <= 300 else f"{reason[:297]}..."
            raise self(f"is refused, as sentence-transformers cannot {action} it: {reason}{hint}") from error


def _load(folder: Path, trust_remote_code: bool) -> SentenceTransformer:
    # With tensors of another shape, too: they are named below.
    return load_sentence_transformer(
        folder, "cpu", _STORED, trust_remote_code=trust_remote_code, ignore_mismatched_sizes=True
    )


def _reload_transformer(model: SentenceTransformer, folder: Path, trust_remote_code: bool) -> dict[str, Any]:
    """Put a transformer that is loaded anew in the place of the first; returns what the library says of the loading."""
    module: Any = model[0]
    first = module.auto_model
    transformer, loading = type(first).from_pretrained(
        folder,
        config=first.config,
        dtype=_STORED,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=trust_remote_code,
    )
    place = next(name for name, child in module.named_children() if child is first)
    setattr(module, place, transformer.eval())
    return dict(loading)


def _check_tensors(model: SentenceTransformer, loading: Mapping[str, Any], refusal: _Refusal) -> None:
    """Refuse a transformer whose files lack a tensor, or have one of another shape."""
    for name, stored, expected in sorted(loading["mismatched_keys"]):
        raise refusal(f"has the tensor {name} of shape {tuple(stored)}; its config.json requires {tuple(expected)}")
    needed = _needed(model, loading["missing_keys"])
    if needed:
        others = sorted(loading["unexpected_keys"])
        named = f"; its files have {_listed(others)}, which belong to no part of it" if others else ""
        raise refusal(f"lacks {_listed(needed)}{named}")


def _needed(model: SentenceTransformer, missing: Collection[str]) -> list[str]:
    """Which of the missing tensors take part in a vector; a pooler, say, does not."""
    import torch

    tensors = dict(_transformer(model).named_parameters())
    parameters = {name: tensors[name].requires_grad_() for name in sorted(missing) if name in tensors}
    if not parameters:
        return []
    vectors = model(model.preprocess(list(_TEXTS)))["sentence_embedding"]
    gradients = torch.autograd.grad(vectors.sum(), list(parameters.values()), allow_unused=True)
    without_gradient = dict(zip(parameters, (gradient is None for gradient in gradients), strict=True))
    return [name for name in parameters if _is_in_layer(name) or not without_gradient[name]]


def _is_in_layer(name: str) -> bool:
    """Whether a tensor belongs to a numbered layer. Two texts may miss a part of one, such as an expert."""
    return any(part.isdecimal() for part in name.split("."))


def _check_finite(model: SentenceTransformer, refusal: _Refusal) -> None:
    broken = [name for name, tensor in _weights(model) if not bool(tensor.isfinite().all())]
    if broken:
        raise refusal(f"has weights that are not finite: {_listed(broken)}")


def _weights(model: SentenceTransformer) -> Iterator[tuple[str, torch.Tensor]]:
    """All parameters under the names that their own module gives them."""
    yield from _transformer(model).named_parameters()
    for module in list(model)[1:]:
        yield from ((f"{type(module).__name__}.{name}", tensor) for name, tensor in module.named_parameters())


def _transformer(model: SentenceTransformer) -> torch.nn.Module:
    module: Any = model[0]
    transformer: torch.nn.Module = module.auto_model
    return transformer


def _check_vectors(model: SentenceTransformer, first: Vectors, dimension: int, refusal: _Refusal) -> None:
    """Refuse vectors that are not finite, of another length than stated, or not the same by all ways.

    Args:
        model: the model, its transformer loaded anew.
        first: its vectors before that.
        dimension: length of the vectors as the folder states it.
        refusal: makes the error.
    """
    together = _encode(model, _TEXTS)
    alone = np.concatenate([_encode(model, [text]) for text in _TEXTS])
    if not np.isfinite(together).all():
        raise refusal("gives vectors that are not finite, although its weights are")
    if (width := model.truncate_dim) is not None and width < dimension:
        raise refusal(
            f"has config_sentence_transformers.json: truncate_dim {width}, which shortens its vectors of {dimension} numbers "
            "when they are done; take it out in a copy of the model, and for shorter vectors set `student.dimensions`"
        )
    if together.shape[1] != dimension:
        raise refusal(f"gives vectors of {together.shape[1]} numbers, but its modules state {dimension}")
    if (cosine := _least_cosine(first, together)) < _AGREEMENT:
        raise refusal(
            f"gives different vectors at each load (cosine {cosine:.2f}): part of it is initialised at random"
        )
    if (cosine := _least_cosine(alone, together)) < _AGREEMENT:
        raise refusal(
            f"gives a text another vector in a batch with a longer one (cosine {cosine:.2f}): it reads the padding"
        )


def _encode(model: SentenceTransformer, texts: Collection[str]) -> Vectors:
    """Vectors of the texts, in one batch, padded to the longest; float32, shape (n, d)."""
    vectors: Vectors = model.encode(list(texts), batch_size=len(texts), show_progress_bar=False)
    return vectors.astype(np.float32)


def _least_cosine(one: Vectors, other: Vectors) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosine = float((np.einsum("nd,nd->n", one, other) / np.maximum(lengths, 1e-12)).min())
    return cosine if math.isfinite(cosine) else -1.0


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without the library's report on tensors: what matters in it becomes our message."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _processor_hint(folder: Path) -> str:
    """Where the files name a processor of images or sound, which a text model does without."""
    for file in ("tokenizer_config.json", "processor_config.json", "preprocessor_config.json"):
        content = load_json_object(folder / file, missing_is_empty=True)
        for key in ("processor_class", "image_processor_type", "feature_extractor_type"):
            if key in content:
                return f". {file} names {content[key]!r} as `{key}`, which a text model does without: take it out"
    return ""


def _listed(names: Collection[str]) -> str:
    """The first few of the names, and how many more there are."""
    first = ", ".join(list(names)[:_SHOWN])
    return first if len(names) <= _SHOWN else f"{first} and {len(names) - _SHOWN} more"
