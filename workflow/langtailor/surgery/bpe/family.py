"""The BPE families behind the protocol of :mod:`langtailor.surgery.base`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langtailor.errors import UnsupportedTokenizerError
from langtailor.surgery.base import Graft, Ids, Layout, TokenizerFiles
from langtailor.surgery.bpe.merges import Derivations, MergeTable
from langtailor.surgery.bpe.model_section import format_merges, model_vocabulary, parse_merges
from langtailor.surgery.bpe.pieces import PieceSplitter, provable_boundaries
from langtailor.surgery.bpe.proposals import GraftProposer
from langtailor.surgery.placeholders import media_tokens, numbered_tokens
from langtailor.surgery.sentencepiece_model import matching_files, rewrite_sentencepiece
from langtailor.surgery.spec import (
    added_tokens,
    assert_bijection,
    config_tokens,
    model_type,
    processor_tokens,
    remap_shared,
    sorted_ids,
    special_tokens,
    tokens_by_id,
    unused_names,
)
from langtailor.surgery.spelling import BYTE_TOKENS, FallbackSpelling, Spelling, spelling_of
from langtailor.surgery.word_models import encode_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class BytePairFamily:
    """BPE with byte fallback or byte-level BPE, bound to one teacher's tokenizer.

    Use :meth:`from_spec`.

    Attributes:
        name: the family's name in messages and manifests.
        spec: content of the teacher's ``tokenizer.json``; never changed.
        tokens: token by teacher id, ``None`` where no token has the id.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        tokenizer_config: Mapping[str, Any],
        spelling: Spelling,
        sentencepiece: Mapping[str, bytes],
    ) -> None:
        self.spec = spec
        self.spelling = spelling
        self.name = "BPE with byte fallback" if isinstance(spelling, FallbackSpelling) else "byte-level BPE"
        self._vocab: dict[str, int] = spec["model"]["vocab"]
        self._added = added_tokens(spec)
        self._pairs = parse_merges(spec["model"]["merges"])
        self._merges = MergeTable.of(self._pairs, self._vocab)
        self.tokens: Sequence[str | None] = tokens_by_id(self._vocab, spec)
        self._ids = {token: token_id for token_id, token in enumerate(self.tokens) if token is not None}
        self._sentencepiece = matching_files(sentencepiece, self._ids)
        unknown = spec["model"].get("unk_token")
        # What a config, a processor or the model names must be kept, whatever it is called.
        padding = (spec.get("padding") or {}).get("pad_token")
        self._named = config_tokens(tokenizer_config) | processor_tokens(spec) | ({unknown, padding} - {None})
        self._special = (special_tokens(spec, tokenizer_config) | self._named) - self._placeholders

    @classmethod
    def from_spec(
        cls,
        spec: Mapping[str, Any],
        tokenizer_config: Mapping[str, Any],
        sentencepiece: Mapping[str, bytes] | None = None,
    ) -> BytePairFamily:
        """Bind the family to a tokenizer.

        Args:
            spec: content of ``tokenizer.json``; never changed.
            tokenizer_config: content of ``tokenizer_config.json``.
            sentencepiece: content by name of the SentencePiece files beside it, which :meth:`write` rewrites.

        Raises:
            UnsupportedTokenizerError: the model is no BPE, or uses a part of BPE that is not supported.
        """
        if model_type(spec) != "BPE":
            raise UnsupportedTokenizerError(f"tokenizer.json: the model is {spec['model'].get('type')!r}, not BPE")
        model, spelling = spec["model"], spelling_of(spec)
        for option in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
            if model.get(option):
                raise UnsupportedTokenizerError(
                    f"tokenizer.json: BPE with `{option}` = {model[option]!r} is not supported; it must be empty. "
                    "Choose another teacher"
                )
        if spelling is None:
            raise UnsupportedTokenizerError(
                "tokenizer.json: BPE that is neither byte-level (a ByteLevel pre-tokenizer) nor with `byte_fallback` "
                "loses the characters of dropped tokens; these two are supported. Choose another teacher"
            )
        return cls(spec, tokenizer_config, spelling, sentencepiece or {})

    # -- what must be kept ----------------------------------------------------------------------------------------------

    def special_ids(self) -> Ids:
        """Special tokens, those named by a config or processor, the unknown token, and whole-word added tokens.

        An added token with ``single_word`` that occurs inside a word hides others that overlap with it, without being
        emitted: dropping it could change text that never contained it as a token.
        """
        hiding = {content for content, entry in self._added.items() if entry["single_word"]}
        return sorted_ids(self._special | hiding, self._ids)

    def alphabet_ids(self) -> Ids:
        """The byte tokens and the space mark, or the byte letters; those that the teacher has."""
        return sorted_ids(self.spelling.alphabet, self._ids)

    def character_ids(self) -> Ids:
        """None: a character without a token is encoded in bytes."""
        return sorted_ids((), self._ids)

    def placeholder_ids(self) -> Ids:
        """Numbered reserved tokens and media tokens that neither a config nor a processor names."""
        return sorted_ids(self._placeholders, self._ids)

    def requirements(self, token_id: int, kept: Container[int] = ()) -> tuple[int, ...]:
        """Ids of the tokens in this token's derivation; none for a token that its own characters do not merge into."""
        return self._derivations.requirements(token_id, kept)

    # -- names ------------------------------------------------------------------------------------------------------

    def surfaces(self, tokens: Sequence[str]) -> list[str | None]:
        """The text of each token; ``None`` for specials, byte tokens and parts of characters."""
        return [self._surface(token) for token in tokens]

    def _surface(self, token: str) -> str | None:
        if token in self._special or token in self._placeholders:
            return None
        if token in self._added and token not in self._vocab:
            return token
        return self.spelling.surface(token)

    # -- writing ----------------------------------------------------------------------------------------------------

    def layout(self, kept: Ids, grafts: Sequence[Graft], padding: int) -> Layout:
        """Kept tokens in the teacher's order, then grafts, then padding.

        Raises:
            ValueError: a kept token lacks what it requires, or a graft is not new or lacks its parts.
        """
        kept = np.asarray(kept, np.int32)
        self._check_closed(kept)
        tokens = [self.tokens[i] for i in kept.tolist()]
        present = {token for token in tokens if token is not None}
        for graft in grafts:
            if graft.token in present or not present.issuperset(graft.merge or ()):
                raise ValueError(f"graft {graft} is not new, or its parts do not come before it")
            present.add(graft.token)
        names = unused_names(self._padding_shape(), padding, present | self._ids.keys())
        new = len(grafts) + len(names)
        return Layout(
            tokens=(*(token for token in tokens if token is not None), *(graft.token for graft in grafts), *names),
            teacher_ids=np.concatenate([kept, np.full(new, -1, np.int32)]),
            grafts={graft.token: graft for graft in grafts},
            padding=frozenset(names),
        )

    def write(self, layout: Layout) -> TokenizerFiles:
        """``tokenizer.json``, and the SentencePiece files that the teacher has.

        Raises:
            CertificateError: ids are no bijection, or a named token is missing.
        """
        new_id = layout.new_id
        assert_bijection(new_id)
        spec = remap_shared(self.spec, new_id)
        spec["model"]["vocab"] = model_vocabulary(layout, self._added.keys() - self._vocab.keys())
        spec["model"]["merges"] = format_merges(self._new_pairs(layout), self.spec["model"]["merges"])
        files = self._sentencepiece.items()
        return TokenizerFiles(spec, {name: rewrite_sentencepiece(data, layout, self._special) for name, data in files})

    def unreachable(self, layout: Layout) -> list[str]:
        """Tokens that are reachable in the teacher, or grafts, and that the new tokenizer does not reach.

        A token is reachable when its own characters are encoded as the token by merging alone. The new tokenizer is
        tried with the ``tokenizers`` library itself, with the written merges.
        """
        reachable = self._derivations.reachable
        tokens = [
            (new, token)
            for new, (token, teacher_id) in enumerate(zip(layout.tokens, layout.teacher_ids.tolist(), strict=True))
            if token in layout.grafts or (0 <= teacher_id < len(reachable) and reachable[teacher_id])
        ]
        rows = encode_words(self._encoder(layout, ignore_merges=False), (token for _, token in tokens))
        return [token for (new, token), ids in zip(tokens, rows, strict=True) if ids != [new]]

    # -- text -------------------------------------------------------------------------------------------------------

    def words(self, texts: Iterable[str]) -> Counter[str]:
        """Pieces that no token spans, in the vocabulary's spelling, with their counts; an added token is a piece."""
        return Counter(self._splitter.pieces(texts))

    def propose_grafts(
        self, kept: Ids, words: Mapping[str, int], limit: int, min_count: int, donor: Mapping[str, Any] | None
    ) -> list[Graft]:
        """New tokens in the order of their ranks, by continued training or from a donor; see ``bpe/grafts.py``.

        A graft may have the name of a teacher's token that is not kept; it is a new token all the same.
        """
        if limit < 1:
            return []
        base = self.layout(kept, (), 0)
        return self._proposer.propose(base.tokens, self._encoder(base), words, limit, min_count, donor)

    # -- internals ------------------------------------------------------------------------------------------------------

    @cached_property
    def _derivations(self) -> Derivations:
        return self._merges.derivations(self._vocab)

    @cached_property
    def _placeholders(self) -> frozenset[str]:
        """Numbered reserved tokens that no merge makes, and special media tokens, unless something names them."""
        made = set(self._merges.products)
        numbered = {token for token in numbered_tokens(self._ids) if self._ids[token] not in made}
        return frozenset(numbered | media_tokens(self._added)) - self._named

    @cached_property
    def _products(self) -> list[str]:
        return [token for i in sorted(set(self._merges.products)) if (token := self.tokens[i]) is not None]

    @cached_property
    def _splitter(self) -> PieceSplitter:
        boundaries = None
        # With `ignore_merges` a piece is looked up as a whole, so it must stay whole.
        if isinstance(self.spelling, FallbackSpelling) and not self.spec["model"].get("ignore_merges"):
            encodable = set(self._vocab)
            if encodable.issuperset(BYTE_TOKENS):
                encodable.add("\n")
            boundaries = provable_boundaries(self._products, self.spelling.mark, encodable)
        return PieceSplitter(self.spec, boundaries)

    @cached_property
    def _proposer(self) -> GraftProposer:
        return GraftProposer(self.spelling, self._products, self._added)

    def _encoder(self, layout: Layout, *, ignore_merges: bool | None = None) -> Tokenizer:
        return self._model(layout.new_id, self._new_pairs(layout), ignore_merges=ignore_merges)

    def _model(
        self, vocab: dict[str, int], merges: list[tuple[str, str]], *, ignore_merges: bool | None = None
    ) -> Tokenizer:
        """A model alone, with the teacher's options, for text in the vocabulary's spelling."""
        from tokenizers import Tokenizer, models

        model = self.spec["model"]
        return Tokenizer(
            models.BPE(
                vocab=vocab,
                merges=merges,
                unk_token=model.get("unk_token"),
                fuse_unk=bool(model.get("fuse_unk")),
                byte_fallback=bool(model.get("byte_fallback")),
                ignore_merges=bool(model.get("ignore_merges")) if ignore_merges is None else ignore_merges,
            )
        )

    def _new_pairs(self, layout: Layout) -> list[tuple[str, str]]:
        """Merges among kept tokens in the teacher's order, then those of the grafts."""
        kept = np.zeros(len(self.tokens), bool)
        kept[layout.teacher_ids[layout.teacher_ids >= 0]] = True
        grafts = (layout.grafts[token] for token in layout.tokens if token in layout.grafts)
        return [
            *(self._pairs[rank] for rank in self._merges.within(kept)),
            *(graft.merge for graft in grafts if graft.merge is not None),
        ]

    def _padding_shape(self) -> str:
        """A name with ``{}`` for a number, that no text is encoded as.

        It is no added token and no merge makes it, so only ``ignore_merges``, which looks a whole piece up, could
        find it. There, and in byte-level families, the name contains a space: no byte letter is one, and where spaces
        are replaced no piece has one.
        """
        merged_only = isinstance(self.spelling, FallbackSpelling) and not self.spec["model"].get("ignore_merges")
        return "<unused{}>" if merged_only else "<unused {}>"

    def _check_closed(self, kept: NDArray[np.int32]) -> None:
        if np.any(np.diff(kept) <= 0) or any(self.tokens[i] is None for i in kept.tolist()):
            raise ValueError("kept ids must be sorted, distinct and those of tokens")
        is_kept = np.zeros(len(self.tokens), bool)
        is_kept[kept] = True
        missing = self._derivations.missing(is_kept[: len(self._derivations.lefts)])
        if missing.size:
            raise ValueError(f"kept ids are not closed: {[self.tokens[i] for i in missing[:5].tolist()]} are required")
