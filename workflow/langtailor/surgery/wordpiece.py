"""WordPiece, as in BERT, LaBSE and MiniLM (Devlin et al. 2019; ``tokenizers/src/models/wordpiece``).

**The encoder.** A word is read from the left: the longest token that the rest begins with is taken (at the start of
the word as it is, later with the prefix ``##``), until nothing is left. When no token fits, or the word is longer than
``max_input_chars_per_word``, the *whole* word becomes one ``[UNK]``.

**Same ids on kept text.** *Take away tokens. A word whose tokens t1 ... tn all stay, none of them* ``[UNK]`` *, is cut
as before.* Proof by induction over the word: the rest to be read is the same text as before; the tokens that it begins
with are some of those it began with, and t_i, the longest of those, is among them. So t_i is the longest again.

Two limits of this. (1) A word that was ``[UNK]`` gives no such promise although ``[UNK]`` stays: where greedy choice
had run into a dead end, a shorter first token may now lead out of it. Such a change only makes an unknown word known.
(2) A word with a dropped token gets other tokens, and becomes ``[UNK]`` if one of its characters has no token in the
needed form (initial or ``##``) any more. So both forms of all characters of small scripts belong to the alphabet,
which always stays, as far as the teacher emits them at all: 1,410 tokens in MiniLM. CJK ideographs and Hangul
syllables, of which there are thousands, compete by their counts instead; :mod:`langtailor.surgery.unknowns` finds
those that given text cannot do without.

**Grafts.** A new token takes part in every word from the moment it is there, so a candidate's uses are those in the
real segmentation by kept tokens and all other grafts together. It comes in the initial form, the ``##`` form or both,
as the text uses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from langtailor.errors import UnsupportedTokenizerError
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.surgery.base import Graft, Ids, Layout, TokenizerFiles
from langtailor.surgery.donor_tokens import donor_uses
from langtailor.surgery.lexicon import SEPARATOR, Counts, Lexicon, repeated, settle
from langtailor.surgery.spec import assert_bijection, remap_shared
from langtailor.surgery.word_models import encode_words, word_tokenizer
from langtailor.surgery.wordwise import WordwiseFamily, of_small_script, savings

if TYPE_CHECKING:
    from tokenizers import models

#: Uses that the trainer is shown at most; larger counts are scaled down together.
_TRAINER_USES = 10_000_000
#: Candidates trained for each graft wanted: many are the teacher's own or lose their uses to longer ones.
_SURPLUS = 2
#: Neutral first letters tried before a ``##`` token's text to reach it.
_PREFIXES = 500


class WordPieceFamily(WordwiseFamily):
    """WordPiece bound to one teacher's tokenizer. Use :meth:`from_spec`.

    Attributes:
        name: the family's name in messages and manifests.
        spec: content of the teacher's ``tokenizer.json``; never changed.
        tokens: token by teacher id, ``None`` where no token has the id.
    """

    name = "WordPiece"

    def __init__(self, spec: Mapping[str, Any], tokenizer_config: Mapping[str, Any], vocab_file: bool) -> None:
        model = spec["model"]
        super().__init__(spec, tokenizer_config, model["vocab"], model["unk_token"])
        self._prefix: str = model["continuing_subword_prefix"]
        self._unknown: str = model["unk_token"]
        self._longest: int = model["max_input_chars_per_word"]
        self._vocab_file = vocab_file

    @staticmethod
    def recognises(spec: Mapping[str, Any]) -> bool:
        """Whether the content of a ``tokenizer.json`` is a WordPiece model; old files do not name the type."""
        model = spec["model"]
        return bool(model.get("type", "WordPiece" if "max_input_chars_per_word" in model else None) == "WordPiece")

    @classmethod
    def from_spec(
        cls, spec: Mapping[str, Any], tokenizer_config: Mapping[str, Any], vocab_file: bool = False
    ) -> WordPieceFamily:
        """Bind the family to a tokenizer.

        Args:
            spec: content of ``tokenizer.json``; kept and never changed.
            tokenizer_config: content of ``tokenizer_config.json``.
            vocab_file: whether a ``vocab.txt`` lies beside it; :meth:`write` then writes it anew.

        Raises:
            UnsupportedTokenizerError: continued pieces are not marked, or the unknown token is missing.
        """
        model = spec["model"]
        if not model["continuing_subword_prefix"]:
            raise UnsupportedTokenizerError(
                "tokenizer.json: WordPiece with an empty `continuing_subword_prefix` is not supported; BERT's is `##`. "
                "Choose another teacher"
            )
        if model["unk_token"] not in model["vocab"]:
            raise UnsupportedTokenizerError(
                f"tokenizer.json: the unknown token {model['unk_token']!r} is not in the WordPiece vocabulary. "
                "Repair the teacher's tokenizer.json"
            )
        return cls(spec, tokenizer_config, vocab_file)

    def alphabet_ids(self) -> Ids:
        """Tokens of one character, initial and continued, but for CJK ideographs and Hangul syllables.

        Left out are those that the teacher never emits, such as ``##!`` where punctuation is a word of its own.
        """
        return self._sorted_ids(self._alphabet)

    def letter_ids(self) -> Ids:
        """The whole alphabet."""
        return self.alphabet_ids()

    @cached_property
    def _alphabet(self) -> set[str]:
        plain = (token for token in self._vocab if token not in self._special and token not in self._slots)
        single = [token for token in plain if of_small_script(token.removeprefix(self._prefix))]
        return set(single) - set(self._missed(self.spec, self._ids, single, self._letters(self._vocab)))

    def surface(self, token: str) -> str | None:
        """The text of a token; a leading space marks the start of a word."""
        return token.removeprefix(self._prefix) if token.startswith(self._prefix) else f" {token}"

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, layout: Layout) -> TokenizerFiles:
        """``tokenizer.json``, and ``vocab.txt`` where the teacher has one.

        Raises:
            CertificateError: ids are no bijection, or a named token is missing.
        """
        assert_bijection(layout.new_id)
        spec = remap_shared(self.spec, layout.new_id)
        tokens = self._model_tokens(layout)
        spec["model"]["vocab"] = {token: i for i, token in enumerate(tokens)}
        others = {"vocab.txt": "".join(f"{token}\n" for token in tokens).encode()} if self._vocab_file else {}
        return TokenizerFiles(spec, others)

    def unreachable(self, layout: Layout) -> list[str]:
        """Grafts, and kept tokens that the teacher reaches, that no text reaches in the new tokenizer.

        Asked of the complete tokenizers. A first token is given alone. A ``##`` token is given behind single letters
        of all scripts, until one is found that does not take part of it.
        """
        claimed = [
            token
            for token, teacher_id in zip(layout.tokens, layout.teacher_ids.tolist(), strict=True)
            if token in layout.grafts or (teacher_id >= 0 and token not in self._special and token not in self._slots)
        ]
        prefixes = self._letters(token for token in layout.tokens if token in self._vocab)
        missed = self._missed(self.write(layout).tokenizer, layout.new_id, claimed, prefixes)
        in_teacher = [token for token in missed if token not in layout.grafts]
        never = set(self._missed(self.spec, self._ids, in_teacher, prefixes))
        return [token for token in missed if token not in never]

    def _letters(self, tokens: Iterable[str]) -> list[str]:
        """Single letters among the tokens, from all scripts."""
        letters = sorted(token for token in tokens if of_small_script(token) and token.isalpha())
        step = -(-len(letters) // _PREFIXES) if letters else 1
        return letters[::-step]

    def _missed(
        self, spec: Mapping[str, Any], ids: Mapping[str, int], tokens: Sequence[str], prefixes: Sequence[str]
    ) -> list[str]:
        """Those of the tokens that are not emitted for any of the texts tried."""
        tokenizer = tokenizer_of(spec)
        first = [token for token in tokens if not token.startswith(self._prefix)]
        missed = [t for t, row in zip(first, encode_words(tokenizer, first), strict=True) if row != [ids[t]]]
        rest = [token for token in tokens if token.startswith(self._prefix)]
        for letter in prefixes:
            texts = [letter + token.removeprefix(self._prefix) for token in rest]
            rows = zip(rest, encode_words(tokenizer, texts), strict=True)
            rest = [token for token, row in rows if row != [ids[letter], ids[token]]]
            if not rest:
                break
        return missed + rest

    # -- grafts -----------------------------------------------------------------------------------------------------

    def propose_grafts(
        self, kept: Ids, words: Mapping[str, int], limit: int, min_count: int, donor: Mapping[str, Any] | None
    ) -> list[Graft]:
        """New tokens, those first that save most tokens: uses x (pieces of the kept tokens - 1).

        Candidates are trained here (WordPiece's trainer is byte-pair merging over ``##`` pieces) or taken from the
        donor by surface. Words that the kept tokens cannot write count one token saved for each character. Any part of
        the list can be grafted alone.
        """
        readable = {w: n for w, n in self._plain_words(words).items() if len(w) <= self._longest and SEPARATOR not in w}
        if limit < 1 or not readable:
            return []
        base, lexicon = self.layout(kept, (), 0), Lexicon(readable)
        taken = {*base.tokens, *self._added, *self._slots}
        candidates = self._trained(readable, limit, min_count, taken) if donor is None else self._given(donor, readable)
        settled = settle(
            [token for token in candidates if token not in taken],
            lambda tokens: self._savings(base, tokens),
            lambda tokens: self._uses(lexicon, kept, [Graft(token, 0) for token in tokens]),
            limit,
            min_count,
        )
        return [Graft(token, count) for token, count in settled]

    def _trained(self, words: Mapping[str, int], limit: int, min_count: int, taken: set[str]) -> list[str]:
        """Tokens trained on the words, more than wanted where the words give them."""
        letters = sorted(set().union(*words))
        # Given in order, the letters have fixed ids; the trainer numbers them as it meets them otherwise, and breaks
        # ties between merges by these ids.
        alphabet = [*letters, *(self._prefix + letter for letter in letters)]
        size = len(alphabet) + _SURPLUS * limit
        while True:
            tokens = self._train(words, alphabet, size, min_count)
            new = sum(token not in taken for token in tokens)
            if new >= _SURPLUS * limit or len(tokens) < size:
                return tokens
            size += _SURPLUS * (_SURPLUS * limit - new)

    def _train(self, words: Mapping[str, int], alphabet: list[str], size: int, min_count: int) -> list[str]:
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        least = max(1, round(min_count * min(1.0, _TRAINER_USES / sum(words.values()))))
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=least,
            show_progress=False,
            special_tokens=alphabet,
            continuing_subword_prefix=self._prefix,
        )
        tokenizer = Tokenizer(models.BPE(continuing_subword_prefix=self._prefix))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(SEPARATOR, "removed")
        tokenizer.train_from_iterator(repeated(words, _TRAINER_USES), trainer)
        return sorted(tokenizer.get_vocab(with_added_tokens=False))

    def _given(self, donor: Mapping[str, Any], words: Mapping[str, int]) -> list[str]:
        """The donor's tokens on the words, in this family's spelling."""
        texts = sorted(donor_uses(donor, {f" {word}": count for word, count in words.items()}))
        plain = [text for text in texts if text.strip(" ") and " " not in text[1:]]
        return [text[1:] if text.startswith(" ") else self._prefix + text for text in plain]

    def _savings(self, base: Layout, tokens: Sequence[str]) -> Counts:
        first = [token for token in tokens if not token.startswith(self._prefix)]
        rest = [token.removeprefix(self._prefix) for token in tokens if token.startswith(self._prefix)]
        unknown = base.new_id[self._unknown]
        saved = np.zeros(len(tokens), np.int64)
        continued = np.array([token.startswith(self._prefix) for token in tokens], bool)
        saved[~continued] = savings(encode_words(word_tokenizer(self._model(base)), first), first, unknown)
        saved[continued] = savings(encode_words(word_tokenizer(self._continued_model(base)), rest), rest, unknown)
        return saved

    # -- models -----------------------------------------------------------------------------------------------------

    def _model(self, layout: Layout) -> models.Model:
        from tokenizers import models

        return models.WordPiece(
            vocab={token: i for i, token in enumerate(layout.tokens)},
            unk_token=self._unknown,
            continuing_subword_prefix=self._prefix,
            max_input_chars_per_word=self._longest,
        )

    def _continued_model(self, layout: Layout) -> models.Model:
        """A model that cuts a text as :meth:`_model` does behind the start of a word."""
        from tokenizers import models

        start = len(self._prefix)
        pieces = {token[start:]: i for i, token in enumerate(layout.tokens) if self._continues(token)}
        pieces[self._unknown] = layout.new_id[self._unknown]
        return models.WordPiece(
            vocab=pieces,
            unk_token=self._unknown,
            continuing_subword_prefix="",
            max_input_chars_per_word=self._longest,
        )

    def _continues(self, token: str) -> bool:
        return token.startswith(self._prefix) and token != self._prefix

    def _padding_shape(self) -> str:
        # With a space inside, which ends every word, the name can be no part of a word.
        return "[unused {}]"
