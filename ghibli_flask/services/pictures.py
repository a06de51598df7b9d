"""Where the pictures of a task lie, and who may see them. Called by the routes that send them and take orders."""

from __future__ import annotations

from ghibli_flask.errors import Forbidden, NotFound
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import files, progress, sharing, tasks, uploads
from ghibli_flask.services.files import Leftover
from ghibli_flask.services.payers import Payer
from ghibli_flask.storage import StoredFile
from ghibli_flask.task_states import Outcome


def result_file(public_id: str, payer: Payer) -> StoredFile:
    """Where the finished picture lies. A returned original follows the access rule of the original."""
    return _result_of(_finished(public_id, payer))


def thumbnail_file(public_id: str, payer: Payer) -> StoredFile | None:
    """Where the thumbnail lies that was kept with the finished picture; None when it has to be made from it.

    Raises what `result_file` raises.
    """
    task = _finished(public_id, payer)
    if task.thumbnail_store is None or task.thumbnail_key is None:
        return None
    return StoredFile(task.thumbnail_store, task.thumbnail_key)


def _finished(public_id: str, payer: Payer) -> ImageTask:
    task = progress.look_up(public_id)
    _result_of(task)
    if task.outcome == Outcome.ORIGINAL and task.owner is not None and task.owner != payer.owner:
        raise Forbidden
    return task


def _result_of(task: ImageTask) -> StoredFile:
    if task.result_store is None or task.result_key is None:
        raise NotFound
    return StoredFile(task.result_store, task.result_key)


def source_file(public_id: str, payer: Payer) -> StoredFile:
    """Where the photograph lies, for its owner alone; a task without owner shows it to nobody."""
    task = progress.look_up(public_id)
    if task.owner is None or task.owner != payer.owner:
        raise Forbidden
    return tasks.source_of(task)


def leftover_of(task: ImageTask) -> Leftover | None:
    """What stays for a while when this task is deleted, because the store of its picture cannot delete."""
    if task.result_store is None or task.result_key is None:
        return None
    return next(iter(files.leftovers_of([StoredFile(task.result_store, task.result_key)])), None)


def photo_behind(address: str, payer: Payer) -> bytes:
    """The bytes behind an address of one of the caller's own pictures, or of one in an open share.

    Resolved without any fetch; raises NotFound for anything else.
    """
    path = address.removeprefix(runtime().settings.public_url)
    parts = path.strip("/").split("/")
    if path.startswith("/") and len(parts) == 3 and parts[0] == "share" and parts[2] in {"picture", "original"}:
        return files.read(sharing.file_of(parts[1], "original" if parts[2] == "original" else "picture"))
    if path.startswith("/") and len(parts) == 3 and parts[:2] == ["api", "upload"]:
        return uploads.photo_of(parts[2], payer)
    if not path.startswith("/") or parts[:2] != ["api", "image"] or len(parts) not in {3, 4}:
        raise NotFound
    try:
        if len(parts) == 4 and parts[3] == "original":
            return files.read(source_file(parts[2], payer))
        task = tasks.owned(parts[2], payer)
    except Forbidden as error:
        raise NotFound from error
    if len(parts) == 4 or task.result_store is None or task.result_key is None or task.owner is None:
        raise NotFound
    return files.read(StoredFile(task.result_store, task.result_key))
