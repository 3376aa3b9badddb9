"""Unigram, as in XLM-R, multilingual-e5 and BGE-M3 (Kudo 2018, https://aclanthology.org/P18-1007).

**The encoder** (``encode_optimized`` in ``tokenizers/src/models/unigram/model.rs``, after SentencePiece's). A word is
cut into the pieces whose scores have the largest sum. Positions are visited from the left; from each, an edge leads to
the end of every piece that starts there, and where no piece is just the next character, an edge of score ``lowest -
10`` over this character, which stands for ``<unk>`` (or, with ``byte_fallback``, for its bytes). Each position
remembers the best sum with which it was reached, and by which edge; a later edge has to be better, not equal, to
replace it.

**Same pieces on kept text.** *Take away pieces, but not the one of lowest score. A word all of whose pieces stay is
cut as before.* Proof. Taking away pieces takes away edges; where it takes the piece of a single character c it adds an
unknown edge over c, of score ``lowest - 10``, less than that of the lost piece. So edges over the same stretch got
worse or vanished, none got better and none came where none was. Adding is monotone, in floating point too, so by
induction no position is now reached with a larger sum than before. Follow the old path: its edges are there still,
with the same scores (the score of unknown edges hangs on ``lowest``, which stayed). By induction its positions are
reached with the same sums: where it was chosen, edges from further left, which are tried earlier, were smaller and
still are; those tried later were not larger and still are not. So at each position of the old path the same edge is
chosen. ∎ This covers ties and words with ``<unk>``.

**Alphabet.** A character whose own piece is gone can become unknown. With ``byte_fallback`` the 256 byte pieces
prevent that and are the alphabet. Without, it is the pieces of one character, but for CJK ideographs and Hangul
syllables, of which there are thousands and which compete by their counts (:mod:`langtailor.surgery.unknowns` finds
those that given text cannot do without). The space mark ``▁`` and the piece of lowest score belong to it in both
cases.

**Grafts and their scores.** Scores are log-probabilities. Those of new pieces come from the target text alone, so they
have to be brought to the teacher's scale. Had the teacher been trained with target text in a share w, a piece that
occurs in this text only would have the score ``log w`` + its score here; one that other text uses too would have more.
So ``log w`` is read off the pieces that both know, as the lowest tenth of the differences, and added to every new
score. Ratios among new pieces, on which the choice between them rests, stay as they were trained. (Mean difference and
linear regression, which give new pieces more, were tried: the target text got no shorter, and a tenth more of the
other languages' passages was segmented anew.) A new score is never below the teacher's lowest, which would move the
score of unknown characters.

Each candidate is then put to the test: kept are only those that the encoder really uses, beside all others, on the
target text, and that leave every kept piece reachable.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from langtailor.errors import UnsupportedTokenizerError
from langtailor.surgery.base import Graft, Ids, Layout, TokenizerFiles
from langtailor.surgery.donor_tokens import donor_uses
from langtailor.surgery.lexicon import SEPARATOR, Lexicon, settle
from langtailor.surgery.sentencepiece_model import Kind, read_pieces, rewrite_sentencepiece, without_last_outside
from langtailor.surgery.spec import assert_bijection, remap_shared
from langtailor.surgery.spelling import BYTE_TOKENS, space_mark
from langtailor.surgery.word_models import encode_words, word_tokenizer
from langtailor.surgery.wordwise import WordwiseFamily, of_small_script, savings

if TYPE_CHECKING:
    from tokenizers import models

#: SentencePiece splits its work, and its sums, by this number, so it is part of the result and not of the machine.
_TRAINER_THREADS = 2
#: Candidates trained for each graft wanted: many are the teacher's own or lose their uses to others.
_SURPLUS = 2
#: Share of the common pieces that are taken to occur in target text only.
_ONLY_TARGET = 0.1
_LONGEST_LINE = 4_000  # bytes; SentencePiece leaves out longer ones
_BREAKS = (SEPARATOR, "\t", "\n", "\r")


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
        self._sentencepiece = sentencepiece

    @staticmethod
    def recognises(spec: Mapping[str, Any]) -> bool:
        """Whether the content of a ``tokenizer.json`` is a Unigram model; old files do not name the type."""
        model = spec["model"]
        return bool(model.get("type", "Unigram" if isinstance(model.get("vocab"), list) else None) == "Unigram")

    @classmethod
    def from_spec(
        cls,
        spec: Mapping[str, Any],
        tokenizer_config: Mapping[str, Any],
        sentencepiece: Mapping[str, bytes] | None = None,
    ) -> UnigramFamily:
        """Bind the family to a tokenizer.

        Args:
            spec: content of ``tokenizer.json``; kept and never changed.
            tokenizer_config: content of ``tokenizer_config.json``.
            sentencepiece: content by name of SentencePiece files that lie beside it; :meth:`write` then writes them
            anew.

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
                "tokenizer.json: Unigram that leaves spaces as they are is not supported; SentencePiece's mark is `▁` "
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
        return self._sorted_ids({*self._bytes, *self._letters, *self._anchors})

    def letter_ids(self) -> Ids:
        """Pieces of one character of small scripts; none where bytes stand in for them."""
        return self._sorted_ids(self._letters)

    @cached_property
    def _letters(self) -> set[str]:
        if self._bytes:
            return set()
        plain = (token for token in self._vocab if token not in self._special and token not in self._slots)
        return {token for token in plain if of_small_script(token)} - self._anchors

    @cached_property
    def _anchors(self) -> set[str]:
        """The space mark, and the piece of lowest score, by which unknown characters are scored."""
        return {self._mark, min(self._scores, key=self._scores.__getitem__)}

    def surface(self, token: str) -> str | None:
        """The text of a piece, a space for each mark; ``None`` for byte tokens, which stand for parts of characters."""
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
        """Grafts, and kept tokens that the teacher reaches, that no text reaches in the new tokenizer.

        A piece is reached when the encoder leaves it whole. If it cuts it, it does so in every text: put in the
        piece's place, the better parts would improve any path with it.
        """
        outside = self._special | self._slots | self._bytes | layout.padding
        claimed = [token for token in layout.tokens if token not in outside]
        missed = self._cut(layout, claimed)
        whole_vocabulary = self._teacher_layout
        never = set(self._cut(whole_vocabulary, [token for token in missed if token not in layout.grafts]))
        return [token for token in missed if token not in never]

    def _cut(self, layout: Layout, tokens: Sequence[str]) -> list[str]:
        """Those of the tokens that the encoder does not leave whole."""
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
        """New pieces, those first that save most tokens: uses x (pieces of the kept tokens - 1).

        Candidates and their log-probabilities are trained here by SentencePiece, or are the donor's tokens with their
        frequency on the words. Words that the kept pieces cannot write count one token saved for each character. Any
        part of the list can be grafted alone: with fewer rivals a piece stays reachable.
        """
        readable = {w: n for w, n in self._plain_words(words).items() if not any(b in w for b in _BREAKS)}
        if limit < 1 or not readable:
            return []
        base, lexicon = self.layout(kept, (), 0), Lexicon(readable)
        own = self._trained(readable, limit) if donor is None else self._given(donor, readable)
        scores = self._on_teachers_scale(own, base)
        taken = {*base.tokens, *self._added, *self._slots, *self._bytes}
        candidates = [token for token in scores if token not in taken]
        base_encoder, unknown = word_tokenizer(self._model(base)), base.new_id[self._unknown]
        kept_pieces = [t for t in base.tokens if t not in self._special | self._slots | self._bytes]
        whole_pieces = sorted(set(kept_pieces) - set(self._cut(base, kept_pieces)))
        while True:
            settled = settle(
                candidates,
                lambda tokens: savings(encode_words(base_encoder, tokens), tokens, unknown),
                lambda tokens: self._uses(lexicon, kept, [Graft(t, 0, score=scores[t]) for t in tokens]),
                limit,
                min_count,
            )
            grafts = [Graft(token, count, score=scores[token]) for token, count in settled]
            if not (blocking := self._blocking(self.layout(kept, grafts, 0), whole_pieces)):
                return grafts
            candidates = [graft.token for graft in grafts if graft.token not in blocking]

    def _blocking(self, layout: Layout, pieces: Sequence[str]) -> set[str]:
        """Grafts into which the encoder cuts one of the kept pieces."""
        rows = encode_words(word_tokenizer(self._model(layout)), self._cut(layout, pieces))
        return {layout.tokens[i] for row in rows for i in row} & layout.grafts.keys()

    def _trained(self, words: Mapping[str, int], limit: int) -> dict[str, float]:
        """Pieces with their log-probabilities, trained on the words."""
        from sentencepiece import SentencePieceTrainer

        lines = [f"{word}\t{count}" for word, count in words.items() if 0 < len(word.encode()) < _LONGEST_LINE]
        if not lines:
            return {}
        characters = len(set().union(*words))
        model = io.BytesIO()
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            input_format="tsv",
            model_type="unigram",
            vocab_size=characters + 1 + _SURPLUS * limit,
            hard_vocab_limit=False,
            character_coverage=1.0,
            # The words have been normalised and marked already.
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            bos_id=-1,
            eos_id=-1,
            num_threads=_TRAINER_THREADS,
            minloglevel=2,
        )
        pieces = read_pieces(model.getvalue())
        return {piece.text.replace("▁", self._mark): piece.score for piece in pieces if piece.kind is Kind.NORMAL}

    def _given(self, donor: Mapping[str, Any], words: Mapping[str, int]) -> dict[str, float]:
        """The donor's tokens in this family's spelling, with the logarithm of their frequency on the words."""
        found = donor_uses(donor, {word.replace(self._mark, " "): count for word, count in words.items()})
        total = sum(found.values())
        used = sorted((text, count) for text, count in found.items() if text and count)
        return {text.replace(" ", self._mark): float(np.log(count / total)) for text, count in used}

    def _on_teachers_scale(self, own: Mapping[str, float], base: Layout) -> dict[str, float]:
        """Log-probabilities shifted by the share that the target text seems to have had in the teacher's training."""
        lowest = min(self._scores.values())
        common = [token for token in base.tokens if token in own and token not in self._special]
        gains = [self._scores[token] - own[token] for token in common]
        # No share exceeds the whole, whose logarithm is 0.
        shift = min(0.0, float(np.quantile(gains, _ONLY_TARGET))) if gains else 0.0
        # SentencePiece stores float32; with the same numbers both libraries choose alike.
        return {token: float(np.float32(max(score + shift, lowest))) for token, score in own.items()}

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
        # With a plain space inside: in words each one has become a mark.
        return "<unused {}>"
