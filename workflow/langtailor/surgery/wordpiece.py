"""WordPiece, as in BERT, LaBSE and MiniLM (Devlin et al. 2019; ``tokenizers/src/models/wordpiece``).

**The encoder.** A word is read from the left: the longest token that the rest begins with is taken (at the start of
the word as it is, later with the prefix ``##``), until nothing is left. When no token fits, or the word is longer than
``max_input_chars_per_word``, the *whole* word becomes one ``[UNK]``.

**Same ids on kept text.** *Remove tokens. A word whose tokens t1 ... tn are all kept, none of them* ``[UNK]`` *, is
segmented as before.* Proof by induction over the word: the rest to be read is the same text as before; the tokens that
it begins with are a part of those it began with, and t_i, the longest of those, is among them. So t_i is the longest
again.

Two limits of this. (1) Nothing is promised for a word that was ``[UNK]``, although ``[UNK]`` is kept: where greedy
choice had run into a dead end, a shorter first token may now avoid it. Such a change can only make an unknown word known.
(2) A word with a dropped token gets other tokens, and becomes ``[UNK]`` if one of its characters has no token of the
required form (initial or ``##``) any more. So both forms of all characters of small scripts belong to the alphabet,
which is always kept, as far as the teacher ever emits them: 1,410 tokens in MiniLM. CJK ideographs and Hangul
syllables, of which there are thousands, compete by their counts instead; :mod:`langtailor.surgery.unknowns` finds
those that given text requires.

**Grafts.** A new token may occur in every word as soon as it exists, so a candidate is counted in the segmentation by
kept tokens and all other grafts together. It is proposed in the initial form, the ``##`` form or both, as they occur.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from langtailor.errors import UnsupportedTokenizerError
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.surgery.base import Graft, Ids, Layout, TokenizerFiles
from langtailor.surgery.donor_tokens import donor_counts
from langtailor.surgery.lexicon import SEPARATOR, Counts, Lexicon, choose_candidates, repeated
from langtailor.surgery.spec import assert_bijection, remap_shared, sorted_ids
from langtailor.surgery.word_models import encode_words, word_tokenizer
from langtailor.surgery.wordwise import WordwiseFamily, of_small_script, savings

if TYPE_CHECKING:
    from tokenizers import models

#: Words that the trainer reads at most; larger counts are scaled down together.
_TRAINER_WORDS = 10_000_000
#: Candidates trained for each graft wanted: many are tokens of the teacher or lose their occurrences to longer ones.
_SURPLUS = 2
#: First letters that are tried in front of the text of a ``##`` token to reach it.
_FIRST_LETTERS = 500


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

    @classmethod
    def from_spec(
        cls, spec: Mapping[str, Any], tokenizer_config: Mapping[str, Any], vocab_file: bool = False
    ) -> WordPieceFamily:
        """Bind the family to a tokenizer.

        Args:
            spec: content of ``tokenizer.json``; never changed.
            tokenizer_config: content of ``tokenizer_config.json``.
            vocab_file: whether there is a ``vocab.txt`` beside it, which :meth:`write` rewrites.

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
        """Tokens of one character, initial and continued, except CJK ideographs and Hangul syllables.

        Those that the teacher never emits are left out, such as ``##!`` where punctuation is a word of its own.
        """
        return sorted_ids(self._alphabet, self._ids)

    def character_ids(self) -> Ids:
        """The whole alphabet."""
        return self.alphabet_ids()

    @cached_property
    def _alphabet(self) -> set[str]:
        ordinary = (token for token in self._vocab if token not in self._special and token not in self._placeholders)
        single = [token for token in ordinary if of_small_script(token.removeprefix(self._prefix))]
        return set(single) - set(self._unreached(self.spec, self._ids, single, self._first_letters(self._vocab)))

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
        """Grafts, and kept tokens that the teacher reaches, that no text is encoded as by the new tokenizer.

        The complete tokenizers are tried. An initial token is encoded by itself, a ``##`` token after single letters of
        all scripts, until one is found that does not merge with a part of it.
        """
        exempt = self._special | self._placeholders | layout.padding
        tokens = [token for token in layout.tokens if token in layout.grafts or token not in exempt]
        letters = self._first_letters(token for token in layout.tokens if token in self._vocab)
        unreached = self._unreached(self.write(layout).tokenizer, layout.new_id, tokens, letters)
        kept = [token for token in unreached if token not in layout.grafts]
        unreached_by_teacher = set(self._unreached(self.spec, self._ids, kept, letters))
        return [token for token in unreached if token not in unreached_by_teacher]

    def _first_letters(self, tokens: Iterable[str]) -> list[str]:
        """Single letters among the tokens, from all scripts."""
        letters = sorted(token for token in tokens if of_small_script(token) and token.isalpha())
        step = -(-len(letters) // _FIRST_LETTERS) if letters else 1
        return letters[::-step]

    def _unreached(
        self, spec: Mapping[str, Any], ids: Mapping[str, int], tokens: Sequence[str], letters: Sequence[str]
    ) -> list[str]:
        """Those of the tokens that are not emitted for any of the texts tried."""
        tokenizer = tokenizer_of(spec)
        initial = [token for token in tokens if not token.startswith(self._prefix)]
        unreached = [t for t, row in zip(initial, encode_words(tokenizer, initial), strict=True) if row != [ids[t]]]
        continued = [token for token in tokens if token.startswith(self._prefix)]
        for letter in letters:
            texts = [letter + token.removeprefix(self._prefix) for token in continued]
            rows = zip(continued, encode_words(tokenizer, texts), strict=True)
            continued = [token for token, row in rows if row != [ids[letter], ids[token]]]
            if not continued:
                break
        return unreached + continued

    # -- grafts -----------------------------------------------------------------------------------------------------

    def propose_grafts(
        self, kept: Ids, words: Mapping[str, int], limit: int, min_count: int, donor: Mapping[str, Any] | None
    ) -> list[Graft]:
        """New tokens, those first that save most tokens: count x (pieces of the kept tokens - 1).

        Candidates are trained here (WordPiece's trainer is byte-pair merging over ``##`` pieces) or taken from the
        donor by surface. In a word that the kept tokens cannot encode, each character counts as a token saved. Any
        part of the list can be grafted by itself.
        """
        ordinary = self._without_added(words).items()
        encodable = {word: n for word, n in ordinary if len(word) <= self._longest and SEPARATOR not in word}
        if limit < 1 or not encodable:
            return []
        base, lexicon = self.layout(kept, (), 0), Lexicon(encodable)
        taken = {*base.tokens, *self._added, *self._placeholders}
        candidates = (
            self._trained(encodable, limit, min_count, taken) if donor is None else self._from_donor(donor, encodable)
        )
        chosen = choose_candidates(
            [token for token in candidates if token not in taken],
            lambda tokens: self._savings(base, tokens),
            lambda tokens: self._graft_counts(lexicon, kept, [Graft(token, 0) for token in tokens]),
            limit,
            min_count,
        )
        return [Graft(token, count) for token, count in chosen]

    def _trained(self, words: Mapping[str, int], limit: int, min_count: int, taken: set[str]) -> list[str]:
        """Tokens trained on the words, more than ``limit`` new ones where the words give them."""
        characters = sorted(set().union(*words))
        # Listed in order, the characters have fixed ids. The trainer otherwise numbers them as it meets them, and breaks
        # ties between merges by these ids.
        alphabet = [*characters, *(self._prefix + character for character in characters)]
        size = len(alphabet) + _SURPLUS * limit
        while True:
            tokens = self._train(words, alphabet, size, min_count)
            new = sum(token not in taken for token in tokens)
            if new >= _SURPLUS * limit or len(tokens) < size:
                return tokens
            size += _SURPLUS * (_SURPLUS * limit - new)

    def _train(self, words: Mapping[str, int], alphabet: list[str], size: int, min_count: int) -> list[str]:
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        least = max(1, round(min_count * min(1.0, _TRAINER_WORDS / sum(words.values()))))
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=least,
            show_progress=False,
            special_tokens=alphabet,
            continuing_subword_prefix=self._prefix,
        )
        tokenizer = Tokenizer(models.BPE(continuing_subword_prefix=self._prefix))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(SEPARATOR, "removed")
        tokenizer.train_from_iterator(repeated(words, _TRAINER_WORDS), trainer)
        return sorted(tokenizer.get_vocab(with_added_tokens=False))

    def _from_donor(self, donor: Mapping[str, Any], words: Mapping[str, int]) -> list[str]:
        """The tokens that the donor uses on the words, in this family's spelling."""
        texts = sorted(donor_counts(donor, {f" {word}": count for word, count in words.items()}))
        inside_word = [text for text in texts if text.strip(" ") and " " not in text[1:]]
        return [text[1:] if text.startswith(" ") else self._prefix + text for text in inside_word]

    def _savings(self, base: Layout, tokens: Sequence[str]) -> Counts:
        """Tokens that one occurrence of each token saves; int64, shape of ``tokens``."""
        continued = np.array([token.startswith(self._prefix) for token in tokens], bool)
        saved = np.zeros(len(tokens), np.int64)
        for chosen, model in ((~continued, self._model(base)), (continued, self._continuation_model(base))):
            texts = [token.removeprefix(self._prefix) for token, is_one in zip(tokens, chosen, strict=True) if is_one]
            saved[chosen] = savings(encode_words(word_tokenizer(model), texts), texts, base.new_id[self._unknown])
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

    def _continuation_model(self, layout: Layout) -> models.Model:
        """A model that segments a text as :meth:`_model` does after the start of a word."""
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
        # With a space inside, which ends every word, the name cannot occur in a word.
        return "[unused {}]"
