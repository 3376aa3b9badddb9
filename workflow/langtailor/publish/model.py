"""The student, its exports and its card as one repository of the Hub.

The student's folder is the repository's root. An export adds its graph where the runtimes look for it, because all else that it
has is the student's; one that has other files than the student goes into a folder of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from langtailor.export.description import OF_EXPORT, OF_STUDENT
from langtailor.publish.receipt import write_receipt
from langtailor.sources.hub_client import PATIENCE, Patience
from langtailor.sources.hub_upload import Target, upload
from langtailor.storage.artifacts import MANIFEST_NAME, Manifest, file_digests, read_manifest, seal_directory
from langtailor.storage.atomic import scratch_directory

_CARD, _CERTIFICATE = "README.md", "certificate.json"
#: What the student's card calls the place where the model is.
_PLACE = "path/to/this/folder"
#: Kind of the repository, as its manifest names it.
PUBLISHED_KIND = "published model"


def publish_model(
    student: Path, exports: Mapping[str, Path], target: Target, out: Path, patience: Patience = PATIENCE
) -> None:
    """Publish a student with its exports, in one commit, or in none where the repository has them already.

    Args:
        student: its folder (kind ``student``).
        exports: folder (kind ``export``) by format.
        target: the repository.
        out: the receipt.
        patience: how long to try.

    Raises:
        ArtifactError: an input is damaged.
        HubError: as for :func:`langtailor.sources.hub_upload.upload`.
    """
    made = read_manifest(student, "student")
    digests = {student / name: digest for name, digest in made.files.items()}
    for folder in exports.values():
        digests |= {folder / name: digest for name, digest in read_manifest(folder, "export").files.items()}
    files = repository_files(student, exports, digests)
    with scratch_directory(out) as scratch:
        (scratch / _CARD).write_text(repository_card(student, exports, target.name), encoding="utf-8")
        listed = {name: digests[path] for name, path in files.items()} | file_digests(scratch)
        seal_directory(scratch, Manifest(PUBLISHED_KIND, facts={"exports": sorted(exports)}, files=listed))
        files |= {name: scratch / name for name in (_CARD, MANIFEST_NAME)}
        write_receipt(out, upload(files, target, "Publish the model made by langtailor", patience))


def repository_files(student: Path, exports: Mapping[str, Path], digests: Mapping[Path, str]) -> dict[str, Path]:
    """Local file by path in the repository, without card and manifest.

    Args:
        student: its folder.
        exports: folder by format.
        digests: SHA-256 of each file of these folders that belongs to them.
    """
    files = _below(student, digests)
    for name, folder in sorted(exports.items()):
        added = _below(folder, digests)
        certificate = added.pop(_CERTIFICATE)
        if any(path in files and digests[files[path]] != digests[file] for path, file in added.items()):
            added = {f"{name}/{path}": file for path, file in added.items()}
        files |= added | {f"certificates/{name}.json": certificate}
    return files


def _below(folder: Path, digests: Mapping[Path, str]) -> dict[str, Path]:
    """The files of a folder by their relative paths, without its card, which is written anew."""
    names = {path.relative_to(folder).as_posix(): path for path in digests if path.is_relative_to(folder)}
    return {name: path for name, path in names.items() if name != _CARD}


def repository_card(student: Path, exports: Mapping[str, Path], repo: str) -> str:
    """The student's card, which loads the model from the Hub, with a section about each export.

    Args:
        student: its folder.
        exports: folder by format.
        repo: ``owner/name``.
    """
    card = (student / _CARD).read_text(encoding="utf-8")
    sections = [f"\n## Export `{name}`\n\n{_own_part(folder)}\n" for name, folder in sorted(exports.items())]
    return "".join([card, *sections]).replace(_PLACE, repo)


def _own_part(export: Path) -> str:
    """What an export's card says of the export itself."""
    text = (export / _CARD).read_text(encoding="utf-8")
    return text.partition(f"\n{OF_EXPORT}\n")[2].partition(f"\n{OF_STUDENT}\n")[0].strip()
