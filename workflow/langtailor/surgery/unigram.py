"""Unigram, as in XLM-R, multilingual-e5 and BGE-M3 (Kudo 2018, https://aclanthology.org/P18-1007).

**The encoder** (``encode_optimized`` in ``tokenizers/src/models/unigram/model.rs``, after SentencePiece's). A word is
segmented into the pieces whose scores have the largest sum. Positions are visited from the left; from each, an edge
leads to the end of every piece that starts there, and where no piece is just the next character, an edge of score
``lowest - 10`` over this character, which stands for ``<unk>`` (or, with ``byte_fallback``, for its bytes). Each
position stores the best sum with which it was reached, and by which edge; a later edge has to be better, not equal, to
replace it.

**Same pieces on kept text.** *Remove pieces, but not the one of lowest score. A word all of whose pieces are kept is
segmented as before.* Proof. Removing pieces removes edges; where it removes the piece of a single character c it adds
an unknown edge over c, of score ``lowest - 10``, less than that of the lost piece. So edges over the same stretch got
worse or vanished, none got better, and none was added where none was. Adding is monotone, in floating point too, so by
induction no position is now reached with a larger sum than before. Follow the old path: its edges still exist, with the
same scores (the score of unknown edges depends on ``lowest``, which did not change). By induction its positions are
reached with the same sums: where an edge was chosen, edges from further left, which are tried earlier, were smaller and
still are; those tried later were not larger and still are not. So at each position of the old path the same edge is
chosen. ∎ This covers ties and words with ``<unk>``.

**Alphabet.** A character whose piece was dropped can become unknown. With ``byte_fallback`` the 256 byte pieces
prevent that and are the alphabet. Without, it is the pieces of one character, except CJK ideographs and Hangul
syllables, of which there are thousands and which compete by their counts (:mod:`langtailor.surgery.unknowns` finds
those that given text requires). The space mark ``▁`` and the piece of lowest score belong to it in both cases.

**Grafts** get a score on the teacher's scale (:mod:`langtailor.surgery.unigram_candidates`). Each candidate is then
tested: kept are only those that the encoder uses, beside all others, on the target text, and that leave every kept piece
reachable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from langtailor.errors import UnsupportedTokenizerError
from langtailor.surgery.base import Graft, Ids, Layout, TokenizerFiles
from langtailor.surgery.lexicon import Lexicon, choose_candidates
from langtailor.surgery.sentencepiece_model import matching_files, rewrite_sentencepiece, without_last_outside
from langtailor.surgery.spec import assert_bijection, remap_shared, sorted_ids
from langtailor.surgery.spelling import BYTE_TOKENS, space_mark
from langtailor.surgery.unigram_candidates import donor_pieces, on_teachers_scale, trainable, trained_pieces
from langtailor.surgery.word_models import encode_words, word_tokenizer
from langtailor.surgery.wordwise import WordwiseFamily, of_small_script, savings

if TYPE_CHECKING:
    from tokenizers import models


class UnigramFamily(WordwiseFamily):
    """Unigram bound to one teacher's tokenizer. Use :meth:`from_spec`.

    Attributes:
        name: the family's name in messages and manifests.
        spec: content of the teacher's ``tokenizer.json``; never changed.
        tokens: token by teacher id, ``None`` where no token has the id.
    """

    name = "Unigram"

    def __init__(
        self, spec: Mapping[str, Any], tokenizer_config: Mapping[str, Any], sentencepiece: Mapping[str, bytes]
    ) -> None:
        model = spec["model"]
        self._scores: dict[str, float] = {token: float(score) for token, score in model["vocab"]}
        self._unknown: str = model["vocab"][model["unk_id"]][0]
        vocab = {token: i for i, (token, _) in enumerate(model["vocab"])}
        super().__init__(spec, tokenizer_config, vocab, self._unknown)
        self._mark = space_mark(spec)
        self._byte_fallback = bool(model.get("byte_fallback"))
        self._bytes = frozenset(BYTE_TOKENS) if self._byte_fallback else frozenset[str]()
        self._sentencepiece = matching_files(sentencepiece, self._ids)

    @classmethod
    def from_spec(
        cls,
        spec: Mapping[str, Any],
        tokenizer_config: Mapping[str, Any],
        sentencepiece: Mapping[str, bytes] | None = None,
    ) -> UnigramFamily:
        """Bind the family to a tokenizer.

        Args:
            spec: content of ``tokenizer.json``; never changed.
            tokenizer_config: content of ``tokenizer_config.json``.
            sentencepiece: content by name of the SentencePiece files beside it, which :meth:`write` rewrites.

        Raises:
            UnsupportedTokenizerError: there is no unknown token, spaces are not marked, or byte tokens are missing.
        """
        model = spec["model"]
        vocab = {token for token, _ in model["vocab"]}
        unknown = model.get("unk_id")
        if unknown is None or not 0 <= unknown < len(model["vocab"]):
            raise UnsupportedTokenizerError(
                f"tokenizer.json: Unigram with `unk_id` {unknown} is not supported; it must be the id of a token. "
                "Choose another teacher"
            )
        if space_mark(spec) == " ":
            raise UnsupportedTokenizerError(
                "tokenizer.json: Unigram without a mark for spaces is not supported; SentencePiece's mark is `▁` "
                "(a Metaspace pre-tokenizer). Choose another teacher"
            )
        if model.get("byte_fallback") and not vocab.issuperset(BYTE_TOKENS):
            raise UnsupportedTokenizerError(
                "tokenizer.json: `byte_fallback` is on but some of the tokens <0x00> ... <0xFF> are missing, so that "
                "it never works. Repair the teacher's tokenizer.json"
            )
        return cls(spec, tokenizer_config, sentencepiece or {})

    def alphabet_ids(self) -> Ids:
        """Byte tokens, or else pieces of one character of small scripts; the space mark; the piece of lowest score."""
        return sorted_ids({*self._bytes, *self._characters, *self._indispensable}, self._ids)

    def character_ids(self) -> Ids:
        """Pieces of one character of small scripts; none with byte fallback."""
        return sorted_ids(self._characters, self._ids)

    @cached_property
    def _characters(self) -> set[str]:
        if self._bytes:
            return set()
        ordinary = (token for token in self._vocab if token not in self._special and token not in self._placeholders)
        return {token for token in ordinary if of_small_script(token)} - self._indispensable

    @cached_property
    def _indispensable(self) -> set[str]:
        """The space mark, and the piece of lowest score, by which unknown characters are scored."""
        return {self._mark, min(self._scores, key=self._scores.__getitem__)}

    def surface(self, token: str) -> str | None:
        """The text of a piece, a space for each mark; ``None`` for byte tokens, which are parts of characters."""
        return None if token in self._bytes else token.replace(self._mark, " ")

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, layout: Layout) -> TokenizerFiles:
        """``tokenizer.json``, and the SentencePiece files that the teacher has.

        Raises:
            CertificateError: ids are no bijection, or a named token is missing.
        """
        assert_bijection(layout.new_id)
        spec = remap_shared(self.spec, layout.new_id)
        spec["model"]["vocab"] = [[token, self._score(layout, token)] for token in self._model_tokens(layout)]
        spec["model"]["unk_id"] = layout.new_id[self._unknown]
        return TokenizerFiles(spec, dict(self._sentencepiece_files(layout)))

    def _sentencepiece_files(self, layout: Layout) -> Iterator[tuple[str, bytes]]:
        for name, data in self._sentencepiece.items():
            yield name, rewrite_sentencepiece(data, without_last_outside(layout, data), self._special)

    def unreachable(self, layout: Layout) -> list[str]:
        """Grafts, and kept tokens that the teacher reaches, that no text is encoded as by the new tokenizer.

        A piece is reachable when the encoder does not split it. If it does, it does so in every text: put in the
        piece's place, the better parts would improve any path with it.
        """
        exempt = self._special | self._placeholders | self._bytes | layout.padding
        split = self._split(layout, [token for token in layout.tokens if token not in exempt])
        split_by_teacher = set(self._split(self._teacher_layout, [t for t in split if t not in layout.grafts]))
        return [token for token in split if token not in split_by_teacher]

    def _split(self, layout: Layout, tokens: Sequence[str]) -> list[str]:
        """Those of the tokens that the encoder splits."""
        new_id = layout.new_id
        rows = encode_words(word_tokenizer(self._model(layout)), tokens)
        return [token for token, row in zip(tokens, rows, strict=True) if row != [new_id[token]]]

    @cached_property
    def _teacher_layout(self) -> Layout:
        ids = np.array([i for i, token in enumerate(self.tokens) if token is not None], np.int32)
        return self.layout(ids, (), 0)

    # -- grafts -----------------------------------------------------------------------------------------------------

    def propose_grafts(
        self, kept: Ids, words: Mapping[str, int], limit: int, min_count: int, donor: Mapping[str, Any] | None
    ) -> list[Graft]:
        """New pieces, those first that save most tokens: count x (pieces of the kept tokens - 1).

        Candidates and their log-probabilities are trained here by SentencePiece, or are the donor's tokens with their
        relative frequency on the words. In a word that the kept pieces cannot encode, each character counts as a token
        saved. Any part of the list can be grafted by itself: with fewer rivals a piece stays reachable.
        """
        lines = trainable(self._without_added(words))
        if limit < 1 or not lines:
            return []
        base, lexicon = self.layout(kept, (), 0), Lexicon(lines)
        scores = self._candidate_scores(base, lines, limit, donor)
        taken = {*base.tokens, *self._added, *self._placeholders, *self._bytes}
        candidates = [token for token in scores if token not in taken]
        base_encoder, unknown = word_tokenizer(self._model(base)), base.new_id[self._unknown]
        reachable = self._reachable(base)
        while True:
            chosen = choose_candidates(
                candidates,
                lambda tokens: savings(encode_words(base_encoder, tokens), tokens, unknown),
                lambda tokens: self._graft_counts(lexicon, kept, [Graft(t, 0, score=scores[t]) for t in tokens]),
                limit,
                min_count,
            )
            grafts = [Graft(token, count, score=scores[token]) for token, count in chosen]
            if not (blocking := self._blocking(self.layout(kept, grafts, 0), reachable)):
                return grafts
            candidates = [graft.token for graft in grafts if graft.token not in blocking]

    def _candidate_scores(
        self, base: Layout, words: Mapping[str, int], limit: int, donor: Mapping[str, Any] | None
    ) -> dict[str, float]:
        pieces = trained_pieces(words, limit, self._mark) if donor is None else donor_pieces(donor, words, self._mark)
        common = [token for token in base.tokens if token in pieces and token not in self._special]
        return on_teachers_scale(pieces, self._scores, common)

    def _reachable(self, base: Layout) -> list[str]:
        """The kept pieces that the encoder does not split, sorted."""
        exempt = self._special | self._placeholders | self._bytes
        pieces = [token for token in base.tokens if token not in exempt]
        return sorted(set(pieces) - set(self._split(base, pieces)))

    def _blocking(self, layout: Layout, pieces: Sequence[str]) -> set[str]:
        """Grafts into which the encoder splits one of the kept pieces."""
        rows = encode_words(word_tokenizer(self._model(layout)), self._split(layout, pieces))
        return {layout.tokens[i] for row in rows for i in row} & layout.grafts.keys()

    # -- models -----------------------------------------------------------------------------------------------------

    def _model(self, layout: Layout) -> models.Model:
        from tokenizers import models

        pieces = [(token, self._score(layout, token)) for token in self._model_tokens(layout)]
        return models.Unigram(pieces, layout.new_id[self._unknown], self._byte_fallback)

    def _score(self, layout: Layout, token: str) -> float:
        graft = layout.grafts.get(token)
        score = self._scores.get(token, 0.0) if graft is None else graft.score
        if score is None:
            raise ValueError(f"graft {token!r} has no score")
        return score

    def _padding_shape(self) -> str:
        # With a space inside, which in words is replaced by the mark.
        return "<unused {}>"
