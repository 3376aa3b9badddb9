"""Words of the teacher's own vocabulary instead of text, for users who have none.

The only thing known of a token without text is whether a language's alphabet can write it, and its place in the teacher's
vocabulary. So every word that the alphabet can write stands in one document, and so does every continuation of a word,
behind one of the words. Counts of such a text say which tokens may occur, not how often.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from langtailor.config.corpus import VocabularySource
from langtailor.errors import SourceError
from langtailor.storage.artifacts import Manifest
from langtailor.storage.batching import batched
from langtailor.storage.digests import sha256_file
from langtailor.storage.spool import Row, record_batches
from langtailor.storage.tables import DOCUMENTS, table_writer
from langtailor.surgery.registry import load_family

_LOG = logging.getLogger("langtailor")
#: Words of one document, about as many as a sentence has.
_WORDS = 12
_RANGE = re.compile(r"(.)-(.)", re.DOTALL)


@dataclass(frozen=True)
class Alphabet:
    """What a language is written in.

    Attributes:
        letters: small letters.
        scripts: beginnings of the Unicode names of further letters, in capitals.
    """

    letters: frozenset[str]
    scripts: tuple[str, ...]

    @classmethod
    def of(cls, source: VocabularySource, lang: str) -> Alphabet:
        """The alphabet that a source gives for a language.

        Raises:
            SourceError: it gives none.
        """
        letters, scripts = source.letters.get(lang, ""), source.scripts.get(lang, ())
        if not letters and not scripts:
            raise SourceError(
                f"the vocabulary source says nothing about {lang!r}: give its lower-case letters in `letters`, such as "
                f"`{{{lang}: a-z}}`, or its `scripts`, such as `{{{lang}: [Cyrillic]}}`"
            )
        spelt = _RANGE.sub(lambda ends: "".join(map(chr, range(ord(ends[1]), ord(ends[2]) + 1))), letters)
        return cls(frozenset(spelt.lower()), tuple(script.upper() for script in scripts))

    def writes(self, word: str) -> bool:
        """Whether a word has letters, and all are of the alphabet. Marks go with any letter of a script."""
        return bool(word) and all(self._has(character) for character in word)

    def _has(self, character: str) -> bool:
        # Turkish İ is two characters in small letters.
        if self.letters.issuperset(character.lower().replace("\u0307", "")):
            return character.isalpha()
        is_letter = unicodedata.category(character)[0] in "LM"
        return is_letter and unicodedata.name(character, "").startswith(self.scripts or ("-",))


def list_words(source: VocabularySource, source_lang: str, lang: str, teacher: Path, out: Path) -> None:
    """Write the words of a teacher's vocabulary that a language's alphabet can write as documents.

    Args:
        source: the alphabets.
        source_lang: what the source calls the language.
        lang: what the corpus calls it.
        teacher: the teacher's folder.
        out: ``corpus/documents/{lang}.parquet``.

    Raises:
        SourceError: the source gives no alphabet for the language, or no word is written in it.
    """
    _LOG.warning("%s has no text: using words from the teacher's vocabulary instead; scores on them say little", lang)
    alphabet = Alphabet.of(source, source_lang)
    documents = list(_documents(*_words(teacher, alphabet)))
    if not documents:
        raise SourceError(
            f"no word of the teacher's vocabulary is written in the alphabet of {source_lang!r}: check `letters` and "
            "`scripts` of its source"
        )
    made_by = {"source": source.model_dump(mode="json"), "source_lang": source_lang, "lang": lang}
    facts = {
        "documents": len(documents),
        "characters": sum(map(len, documents)),
        "revision": sha256_file(teacher / "tokenizer.json"),
    }
    rows: Iterable[Row] = ((f"words:{number:06d}", text, None) for number, text in enumerate(documents))
    with table_writer(out, DOCUMENTS) as table:
        for batch in record_batches(rows, DOCUMENTS):
            table.write(batch)
        table.seal(Manifest("documents", made_by=made_by, facts=facts))


def _documents(starts: Sequence[str], parts: Sequence[str]) -> Iterator[str]:
    """Words, and words with a part behind them, a dozen in a document."""
    if starts:
        joined = (start + part for start, part in zip(cycle(starts), parts, strict=False))
        yield from (" ".join(words) for words in batched([*starts, *joined], _WORDS))


def _words(teacher: Path, alphabet: Alphabet) -> tuple[Sequence[str], Sequence[str]]:
    """Words that the alphabet can write, and parts that continue words, each once and in the vocabulary's order."""
    family = load_family(teacher)
    texts = family.surfaces([token for token in family.tokens if token is not None])
    written = dict.fromkeys(text for text in texts if text and alphabet.writes(text.removeprefix(" ")))
    starts = [text[1:] for text in written if text.startswith(" ")]
    return starts, [text for text in written if not text.startswith(" ")]
