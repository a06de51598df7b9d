"""One part of an export as a job of the maintenance queue, which asks for the next. See `services.exports`."""

from ghibli_flask.services import exports


def pack(public_id: str, part: int) -> None:
    """Pack the next pictures of this export."""
    exports.pack(public_id, part)
