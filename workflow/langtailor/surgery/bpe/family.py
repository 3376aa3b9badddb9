"""The BPE families behind the protocol of :mod:`langtailor.surgery.base`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langtailor.errors import UnsupportedTokenizerError
from langtailor.surgery.base import Graft, Ids, Layout, TokenizerFiles
from langtailor.surgery.bpe import grafts as grafting
from langtailor.surgery.bpe.merges import Derivations, MergeTable, parse_merges
from langtailor.surgery.bpe.pieces import Cutter, provable_cuts
from langtailor.surgery.bpe.reader import Habits, Reader
from langtailor.surgery.donor_tokens import donor_uses
from langtailor.surgery.sentencepiece_model import rewrite_sentencepiece
from langtailor.surgery.spec import (
    added_tokens,
    assert_bijection,
    config_tokens,
    processor_tokens,
    remap_shared,
    special_tokens,
    tokens_by_id,
)
from langtailor.surgery.spelling import BYTE_TOKENS, FallbackSpelling, Spelling, spelling_of
from langtailor.surgery.word_models import encode_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_NUMBERED_SLOT = re.compile(r"[<\[]\|?\w*(?:unused|reserved|extra|control|dummy|placeholder)\w*?[ _]?\d+\|?[>\]]", re.I)
_MEDIA_SLOT = re.compile(r"[<\[]\|?\w*(?:image|img|audio|video|vision)\w*\|?[>\]]", re.I)


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
        sentencepiece_model: bytes | None,
    ) -> None:
        self.spec = spec
        self.spelling = spelling
        self.name = "BPE with byte fallback" if isinstance(spelling, FallbackSpelling) else "byte-level BPE"
        self._vocab: dict[str, int] = spec["model"]["vocab"]
        self._added = added_tokens(spec)
        self._pairs = parse_merges(spec["model"]["merges"])
        self._merges = MergeTable.of(self._pairs, self._vocab)
        self._sentencepiece_model = sentencepiece_model
        self.tokens: Sequence[str | None] = tokens_by_id(self._vocab, spec)
        self._ids = {token: token_id for token_id, token in enumerate(self.tokens) if token is not None}
        unknown = spec["model"].get("unk_token")
        # What a config, a processor or the model calls by name must stay, whatever it looks like.
        padding = (spec.get("padding") or {}).get("pad_token")
        self._named = config_tokens(tokenizer_config) | processor_tokens(spec) | ({unknown, padding} - {None})
        self._special = (special_tokens(spec, tokenizer_config) | self._named) - self._slots

    @staticmethod
    def recognises(spec: Mapping[str, Any]) -> bool:
        """Whether the content of a ``tokenizer.json`` is a BPE model; old files do not name the type."""
        model = spec.get("model", {})
        return bool(model.get("type", "BPE" if "merges" in model else None) == "BPE")

    @classmethod
    def from_spec(
        cls, spec: Mapping[str, Any], tokenizer_config: Mapping[str, Any], sentencepiece_model: bytes | None = None
    ) -> BytePairFamily:
        """Bind the family to a tokenizer.

        Args:
            spec: content of ``tokenizer.json``; kept and never changed.
            tokenizer_config: content of ``tokenizer_config.json``.
            sentencepiece_model: content of ``tokenizer.model`` where there is one; :meth:`write` then writes it anew.

        Raises:
            UnsupportedTokenizerError: the model is no BPE, or uses a part of BPE that is not supported.
        """
        if not cls.recognises(spec):
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
        return cls(spec, tokenizer_config, spelling, sentencepiece_model)

    # -- what must stay ---------------------------------------------------------------------------------------------

    def special_ids(self) -> Ids:
        """Special tokens, those with a name in a config or processor, the unknown token, and whole-word added tokens.

        An added token with ``single_word`` that stands inside a word hides others that overlap with it, without being
        emitted: dropping it could change text that never used it.
        """
        hiding = {content for content, entry in self._added.items() if entry["single_word"]}
        return self._sorted_ids(self._special | hiding)

    def alphabet_ids(self) -> Ids:
        """The byte tokens and the space mark, or the byte letters; those that the teacher has."""
        return self._sorted_ids(self.spelling.alphabet)

    def letter_ids(self) -> Ids:
        """None: what is left of a character without a token are its bytes."""
        return self._sorted_ids(())

    def placeholder_ids(self) -> Ids:
        """Numbered slots and media tokens that no config and no processor names."""
        return self._sorted_ids(self._slots)

    def requirements(self, token_id: int, kept: Container[int] = ()) -> tuple[int, ...]:
        """Ids of the tokens in this token's derivation; none for a token that its own characters do not end in."""
        return self._derivations.needs(token_id, kept)

    # -- names ------------------------------------------------------------------------------------------------------

    def surfaces(self, tokens: Sequence[str]) -> list[str | None]:
        """The text each token stands for; ``None`` for specials, byte tokens and parts of characters."""
        return [self._surface(token) for token in tokens]

    def _surface(self, token: str) -> str | None:
        if token in self._special or token in self._slots:
            return None
        if token in self._added and token not in self._vocab:
            return token
        return self.spelling.surface(token)

    # -- writing ----------------------------------------------------------------------------------------------------

    def layout(self, kept: Ids, grafts: Sequence[Graft], padding: int) -> Layout:
        """Kept tokens in the teacher's order, then grafts, then padding.

        Raises:
            ValueError: a kept token lacks what it requires, or a graft is not new or has unknown parts.
        """
        kept = np.asarray(kept, np.int32)
        self._check_closed(kept)
        tokens = [self.tokens[i] for i in kept.tolist()]
        present = {token for token in tokens if token is not None}
        for graft in grafts:
            if graft.token in present or not present.issuperset(graft.merge or ()):
                raise ValueError(f"graft {graft} is not new, or its parts are not there before it")
            present.add(graft.token)
        names = self._padding_names(padding, present)
        new = len(grafts) + len(names)
        return Layout(
            tokens=(*(token for token in tokens if token is not None), *(graft.token for graft in grafts), *names),
            teacher_ids=np.concatenate([kept, np.full(new, -1, np.int32)]),
            grafts={graft.token: graft for graft in grafts},
            padding=frozenset(names),
        )

    def write(self, layout: Layout) -> TokenizerFiles:
        """``tokenizer.json``, and ``tokenizer.model`` where the teacher has one.

        Raises:
            CertificateError: ids are no bijection, or a named token is missing.
        """
        new_id = layout.new_id
        assert_bijection(new_id)
        spec = remap_shared(self.spec, new_id)
        spec["model"]["vocab"] = self._model_vocab(layout)
        spec["model"]["merges"] = self._in_file_format(self._new_pairs(layout))
        others = {}
        if self._sentencepiece_model is not None:
            others["tokenizer.model"] = rewrite_sentencepiece(self._sentencepiece_model, layout, self._special)
        return TokenizerFiles(spec, others)

    def unreachable(self, layout: Layout) -> list[str]:
        """Tokens that were reachable in the teacher, or are grafts, and that the new tokenizer does not reach.

        A token is reachable when its own characters are encoded as the token by merging alone. The new side is asked of
        the ``tokenizers`` library itself, over the written merges.
        """
        reachable = self._derivations.reachable
        claimed = [
            (new, token)
            for new, (token, teacher_id) in enumerate(zip(layout.tokens, layout.teacher_ids.tolist(), strict=True))
            if token in layout.grafts or (0 <= teacher_id < len(reachable) and reachable[teacher_id])
        ]
        rows = encode_words(self._encoder(layout, ignore_merges=False), (token for _, token in claimed))
        return [token for (new, token), ids in zip(claimed, rows, strict=True) if ids != [new]]

    # -- text -------------------------------------------------------------------------------------------------------

    def words(self, texts: Iterable[str]) -> Counter[str]:
        """Pieces that no token crosses, in the vocabulary's spelling, with their uses; an added token is a piece."""
        return Counter(self._cutter.pieces(texts))

    def propose_grafts(
        self, kept: Ids, words: Mapping[str, int], limit: int, min_count: int, donor: Mapping[str, Any] | None
    ) -> list[Graft]:
        """New tokens in the order of their ranks, by continued training or from a donor; see ``bpe/grafts.py``.

        A graft may bear the name of a teacher's token that is not kept; it is a new token all the same.
        """
        if limit < 1:
            return []
        base = self.layout(kept, (), 0)
        reader = Reader(base.tokens, self._encoder(base), {*self._added, *BYTE_TOKENS})
        sequences = reader.sequences(words, self._joins if donor is None else self._inside_word)
        if donor is None:
            return grafting.train(sequences, reader.symbols, limit, min_count)
        rows = reader.rows(self._candidates(donor, words, min_count))
        return grafting.adopt(sequences, reader.symbols, [(t, row) for t, row in rows if row], limit, min_count)

    # -- parts ------------------------------------------------------------------------------------------------------

    @cached_property
    def _derivations(self) -> Derivations:
        return self._merges.derivations(self._vocab)

    @cached_property
    def _slots(self) -> frozenset[str]:
        """Numbered slots that merging does not make, and special media tokens, unless they have a part to play."""
        made = set(self._merges.products)
        numbered = {
            token
            for token, token_id in self._ids.items()
            if token[:1] in ("<", "[") and token_id not in made and _NUMBERED_SLOT.fullmatch(token)
        }
        media = {token for token, entry in self._added.items() if entry["special"] and _MEDIA_SLOT.fullmatch(token)}
        return frozenset(numbered | media) - self._named

    @cached_property
    def _products(self) -> list[str]:
        return [token for i in sorted(set(self._merges.products)) if (token := self.tokens[i]) is not None]

    @cached_property
    def _cutter(self) -> Cutter:
        cuts = None
        # Looked up as a whole, a piece must stay whole.
        if isinstance(self.spelling, FallbackSpelling) and not self.spec["model"].get("ignore_merges"):
            known = set(self._vocab)
            if known.issuperset(BYTE_TOKENS):
                known.add("\n")
            cuts = provable_cuts(self._products, self.spelling.mark, known)
        return Cutter(self.spec, cuts)

    @cached_property
    def _habits(self) -> Habits:
        return Habits(self._products, self.spelling.mark if isinstance(self.spelling, FallbackSpelling) else None)

    def _inside_word(self, left: str, right: str) -> bool:
        """Whether a graft may hold these neighbours without joining two words.

        Byte-level pieces are pre-tokens and their letters are bytes: the pre-tokenizer has decided what goes together.
        """
        return not isinstance(self.spelling, FallbackSpelling) or self._habits.inside_word(left, right)

    def _joins(self, left: str, right: str) -> bool:
        """Whether a graft may hold these neighbours because the teacher's own tokens do."""
        return not isinstance(self.spelling, FallbackSpelling) or self._habits.joins(left, right)

    def _candidates(self, donor: Mapping[str, Any], words: Mapping[str, int], min_count: int) -> list[str]:
        """The donor's tokens in this family's spelling, most used first, ties by name."""
        texts: Counter[str] = Counter()
        for word, count in words.items():
            if word not in self._added and (text := self.spelling.surface(word)) is not None:
                texts[text] += count
        uses: Counter[str] = Counter()
        for surface, count in donor_uses(donor, texts).items():
            uses[self.spelling.spell(surface)] += count
        often = [token for token, count in uses.items() if count >= min_count and token]
        return sorted(often, key=lambda token: (-uses[token], token))

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

    def _model_vocab(self, layout: Layout) -> dict[str, int]:
        """Id by token of the model.

        Added tokens that the teacher has outside the model stay outside if they are the last ones. Otherwise they join
        the model, because the library numbers outside tokens from the model's size on, whatever the file says.
        """
        outside = [i for i, token in enumerate(layout.tokens) if token in self._added and token not in self._vocab]
        if outside == list(range(len(layout) - len(outside), len(layout))):
            return {token: i for i, token in enumerate(layout.tokens[: len(layout) - len(outside)])}
        return layout.new_id

    def _new_pairs(self, layout: Layout) -> list[tuple[str, str]]:
        """Merges among kept tokens in the teacher's order, then those of the grafts."""
        kept = np.zeros(len(self.tokens), bool)
        kept[layout.teacher_ids[layout.teacher_ids >= 0]] = True
        grafts = (layout.grafts[token] for token in layout.tokens if token in layout.grafts)
        return [
            *(self._pairs[rank] for rank in self._merges.within(kept)),
            *(graft.merge for graft in grafts if graft.merge is not None),
        ]

    def _in_file_format(self, pairs: list[tuple[str, str]]) -> list[str] | list[list[str]]:
        """Strings where the teacher's file has strings and no token holds the space that parts them, else lists."""
        old = self.spec["model"]["merges"]
        if old and isinstance(old[0], str) and not any(" " in left or " " in right for left, right in pairs):
            return [f"{left} {right}" for left, right in pairs]
        return [[left, right] for left, right in pairs]

    def _padding_names(self, count: int, present: set[str]) -> list[str]:
        """Names that no text is encoded as.

        They are no added tokens and no merge makes them, so only ``ignore_merges``, which looks a whole piece up, could
        find one. Then, and in byte-level families, the name holds a plain space: no byte letter is one, and where
        spaces are replaced no piece has one.
        """
        plain = isinstance(self.spelling, FallbackSpelling) and not self.spec["model"].get("ignore_merges")
        shape = "<unused{}>" if plain else "<unused {}>"
        taken = present | self._ids.keys()
        numbers = (name for n in range(len(taken) + count) if (name := shape.format(n)) not in taken)
        return list(islice(numbers, count))

    def _check_closed(self, kept: NDArray[np.int32]) -> None:
        if np.any(np.diff(kept) <= 0) or any(self.tokens[i] is None for i in kept.tolist()):
            raise ValueError("kept ids must be sorted, distinct and those of tokens")
        alive = np.zeros(len(self.tokens), bool)
        alive[kept] = True
        missing = self._derivations.missing(alive[: len(self._derivations.lefts)])
        if missing.size:
            raise ValueError(f"kept ids are not closed: {[self.tokens[i] for i in missing[:5].tolist()]} are required")

    def _sorted_ids(self, tokens: Iterable[str]) -> Ids:
        return np.array(sorted({self._ids[token] for token in tokens if token in self._ids}), np.int32)
