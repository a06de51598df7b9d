"""Every failure a caller may meet, and nothing about how it is presented.

Services, images and storage raise these; `error_handlers` alone turns them into HTTP. The tree:

    AppError
    ├── MalformedRequest           400  malformed
    ├── GoogleSignInFailed         400  google_sign_in_failed
    │   ├── GoogleDenied           403  google_denied
    │   ├── GoogleUnverified       403  google_unverified
    │   ├── GoogleNotLinked        409  google_not_linked
    │   ├── GoogleTaken            409  google_taken
    │   └── GoogleAway             503  google_away
    ├── SignInRequired             401  sign_in_required
    ├── NotSignedIn                401  not_signed_in
    ├── WrongCredentials           401  wrong_credentials
    ├── Unauthorized               401  unauthorized
    ├── NoCredits                  402  no_credits
    ├── Forbidden                  403  forbidden
    │   ├── ForeignOrigin          403  foreign_origin
    │   ├── Blocked                403  blocked
    │   ├── NotYourPicture         403  not_your_picture
    │   └── FreshSignInNeeded      403  fresh_sign_in_needed
    ├── NotFound                   404  not_found
    ├── WrongState                 409  wrong_state
    │   └── NotPainted             409  not_painted
    ├── Conflict                   409  conflict
    ├── InsufficientCredits        409  insufficient_credits
    ├── SourceGone                 410  source_gone
    ├── LinkExpired                410  link_expired
    ├── TooLarge                   413  too_large
    ├── NotAPicture                415  not_a_picture
    ├── InvalidFields              422  invalid_fields
    │   ├── ModeUnavailable        422  mode_unavailable
    │   ├── IdempotencyMismatch    422  idempotency_mismatch
    │   └── SchemaOutdated         422  schema_outdated
    ├── TooManyRequests            429  too_many_requests
    └── Unavailable                503  unavailable
        ├── QueueFull              503  queue_full
        └── Busy                   503  busy

Each leaf has a stable code for programs, a status, and a sentence for people. The sentences are marked for
translation here and translated where they are shown; they may hold `%(name)s` parameters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass


def _(text: str) -> str:
    """Mark a sentence for the translation catalogue without translating it yet."""
    return text


@dataclass(frozen=True)
class FieldError:
    """One refused field of a request: its name on the wire, a sentence marked for translation, its parameters."""

    field: str
    message: str
    params: Mapping[str, object] = dataclasses.field(default_factory=dict)


class AppError(Exception):
    """A failure with a stable code, an HTTP status and a sentence that a person understands.

    `retry_after` is in whole seconds and is given when trying again later makes sense.
    """

    code = "error"
    status = 500
    title = _("Something went wrong")
    default_detail = _("Something went wrong on our side. Nothing was charged. Please try again in a moment.")

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after: int | None = None,
        fields: tuple[FieldError, ...] = (),
        **params: object,
    ) -> None:
        self.detail = detail or self.default_detail
        self.retry_after = retry_after
        self.fields = fields
        self.params = params
        super().__init__(self.detail % params if params else self.detail)


class MalformedRequest(AppError):
    """The request could not be parsed at all."""

    code = "malformed"
    status = 400
    title = _("Unreadable request")
    default_detail = _("The request could not be read. Please check its form and send it again.")


class GoogleSignInFailed(AppError):
    """A sign-in with Google came back late, twice, to another browser, or with a token that does not hold."""

    code = "google_sign_in_failed"
    status = 400
    title = _("That did not work")
    default_detail = _(
        "Signing in with Google took too long or was begun in another window. Nothing was changed. Please start again."
    )


class GoogleDenied(GoogleSignInFailed):
    """The visitor did not agree at Google."""

    code = "google_denied"
    status = 403
    title = _("Not signed in")
    default_detail = _("You came back from Google without signing in. Nothing was changed.")


class GoogleUnverified(GoogleSignInFailed):
    """The Google account names no address that Google has verified."""

    code = "google_unverified"
    status = 403
    title = _("Address not verified")
    default_detail = _(
        "Google has not verified the mail address of this Google account. Please verify it there, or sign up here "
        "with a password."
    )


class GoogleNotLinked(GoogleSignInFailed):
    """The address has an account with a password, and an address alone never opens one."""

    code = "google_not_linked"
    status = 409
    title = _("Your account has a password")
    default_detail = _(
        "This address has an account with a password here. Please sign in with the password first; then you can add "
        "Google on your account page."
    )


class GoogleTaken(GoogleSignInFailed):
    """The Google account, or ours, belongs together with another one already."""

    code = "google_taken"
    status = 409
    title = _("Already linked")
    default_detail = _(
        "This Google account opens another account here, or your account is opened by another Google account. "
        "Nothing was changed."
    )


class GoogleAway(GoogleSignInFailed):
    """Google did not answer in time."""

    code = "google_away"
    status = 503
    title = _("Google does not answer")
    default_detail = _("Google cannot be reached at this moment. Nothing was changed. Please try again in a minute.")


class SignInRequired(AppError):
    """The free tries of a guest or of an address are used up."""

    code = "sign_in_required"
    status = 401
    title = _("Today's free tries are used up")
    default_detail = _(
        "Today's free pictures are used up. New ones come at midnight UTC. Nothing was stored or charged."
    )


class NotSignedIn(AppError):
    """The page or call belongs to a signed-in user."""

    code = "not_signed_in"
    status = 401
    title = _("Please sign in")
    default_detail = _("This belongs to an account. Please sign in and come back.")


class WrongCredentials(AppError):
    """Address and password do not belong together, or the address is not confirmed yet: not told which."""

    code = "wrong_credentials"
    status = 401
    title = _("That did not fit")
    default_detail = _("This address and this password do not belong together, or the address is not confirmed yet.")


class Unauthorized(AppError):
    """A key or a secret is missing or wrong."""

    code = "unauthorized"
    status = 401
    title = _("Key needed")
    default_detail = _("This address needs a valid key.")


class NoCredits(AppError):
    """The payer's balance does not cover a picture."""

    code = "no_credits"
    status = 402
    title = _("No pictures left")
    default_detail = _("There are no pictures left on this account for now. Nothing was stored or charged.")


class Forbidden(AppError):
    """The caller is known and may not do this."""

    code = "forbidden"
    status = 403
    title = _("Not allowed")
    default_detail = _("Only the person who made this picture can do that.")


class ForeignOrigin(Forbidden):
    """A state-changing request came from another site, or without its token."""

    code = "foreign_origin"
    title = _("Request refused")
    default_detail = _(
        "This request did not come from our own page, so it was refused. Please reload the page and try again."
    )


class Blocked(Forbidden):
    """An operator has blocked this account."""

    code = "blocked"
    title = _("Account blocked")
    default_detail = _("This account is blocked. Please write to us if you think that is a mistake.")


class NotYourPicture(Forbidden):
    """The address that was given leads to no picture of the caller's own."""

    code = "not_your_picture"
    title = _("Not your picture")
    default_detail = _("Only a picture that you made here can be shared.")


class SignUpsClosed(Forbidden):
    """An operator takes no new accounts at present."""

    code = "sign_ups_closed"
    title = _("No new accounts for now")
    default_detail = _("New accounts are not taken in at the moment. Whoever has one signs in as ever.")


class FreshSignInNeeded(Forbidden):
    """The action is guarded by a sign-in of the last minutes."""

    code = "fresh_sign_in_needed"
    title = _("Please sign in once more")
    default_detail = _("For this we ask you to sign in again, so that nobody else does it at your open screen.")


class NotFound(AppError):
    """There is nothing here, or nothing that this caller may know of."""

    code = "not_found"
    status = 404
    title = _("Nothing here")
    default_detail = _("There is nothing at this address. It may have been deleted, or the address is incomplete.")


class WrongState(AppError):
    """The thing exists and its state does not allow this move."""

    code = "wrong_state"
    status = 409
    title = _("Not possible any more")
    default_detail = _("This picture is no longer in a state in which that is possible.")


class NotPainted(WrongState):
    """The task has no painted picture: it is not finished, failed, or gave the photograph back as it was."""

    code = "not_painted"
    title = _("Not painted")
    default_detail = _("This picture was not painted, so there is nothing to share.")


class Conflict(AppError):
    """The same business key was used before for something else."""

    code = "conflict"
    status = 409
    title = _("Already used differently")
    default_detail = _("The same task was already booked with another user or amount.")


class InsufficientCredits(AppError):
    """A balance would fall below zero."""

    code = "insufficient_credits"
    status = 409
    title = _("Not enough credits")
    default_detail = _("The balance does not cover this.")


class LinkExpired(AppError):
    """A link from a mail was used before, or is too old."""

    code = "link_expired"
    status = 410
    title = _("This link no longer works")
    default_detail = _("The link was used already or is too old. Please ask for a new one.")


class SourceGone(AppError):
    """The photograph of an earlier order is no longer kept."""

    code = "source_gone"
    status = 410
    title = _("The photo is gone")
    default_detail = _("The photo of this order is no longer kept. Please choose it again.")


class TooLarge(AppError):
    """More bytes or more pixels than are accepted."""

    code = "too_large"
    status = 413
    title = _("Too large")
    default_detail = _("That file is too large. Nothing was charged.")


class NotAPicture(AppError):
    """The bytes do not decode to a picture."""

    code = "not_a_picture"
    status = 415
    title = _("Not a picture we can read")
    default_detail = _(
        "That file isn't a picture we can read. Please choose a JPEG, PNG, WebP, HEIC or AVIF. Nothing was charged."
    )


class InvalidFields(AppError):
    """Fields are missing or out of range; `fields` names each."""

    code = "invalid_fields"
    status = 422
    title = _("Please check the fields")
    default_detail = _("Some of the fields need another look. Nothing was charged.")


class ModeUnavailable(InvalidFields):
    """No configured engine can work in the wished mode."""

    code = "mode_unavailable"
    title = _("Not offered here")
    default_detail = _("This site cannot make pictures from words alone at the moment. Please add a photo.")


class IdempotencyMismatch(InvalidFields):
    """An Idempotency-Key came again with another order."""

    code = "idempotency_mismatch"
    title = _("Key already used")
    default_detail = _("This Idempotency-Key was already used for a different order.")


class SchemaOutdated(InvalidFields):
    """The tasks' table of an earlier installation lacks the columns that a report is written to."""

    code = "schema_outdated"
    title = _("The database is behind")
    default_detail = _("The table image_tasks lacks columns for reports. Please run: %(command)s")


class TooManyRequests(AppError):
    """A limit was met; `retry_after` says when to come back."""

    code = "too_many_requests"
    status = 429
    title = _("One moment, please")
    default_detail = _("That was a lot at once. Please wait a moment and try again. Nothing was charged.")


class Unavailable(AppError):
    """The database or every store is away: nothing was charged or stored."""

    code = "unavailable"
    status = 503
    title = _("Back in a moment")
    default_detail = _("We cannot take orders at this moment. Nothing was charged. Please try again in a minute.")

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after: int | None = 30,
        fields: tuple[FieldError, ...] = (),
        **params: object,
    ) -> None:
        super().__init__(detail, retry_after=retry_after, fields=fields, **params)


class QueueFull(Unavailable):
    """The expected wait would pass the deadline of a new order."""

    code = "queue_full"
    title = _("The queue is full")
    default_detail = _(
        "So many pictures are waiting that yours would not be done in time. Nothing was charged. "
        "Please come back in a few minutes."
    )


class Maintenance(Unavailable):
    """An operator takes no orders for a while; `detail` is what the operator wrote."""

    code = "maintenance"
    title = _("We are tidying up")
    default_detail = _("No pictures are taken in at this moment. Those that are being painted go on.")


class SiteLimit(Unavailable):
    """The whole site has taken as many orders as it may today."""

    code = "site_limit"
    title = _("Enough for today")
    default_detail = _("All the pictures of today are taken. Nothing was charged. Please come back tomorrow.")


class Busy(Unavailable):
    """Every core is decoding a photograph."""

    code = "busy"
    title = _("Many photos at once")
    default_detail = _("Many photos are arriving at once. Nothing was charged. Please try again in a few seconds.")


# Why an accepted order failed, by the code that its row keeps. The page shows these sentences.
TASK_FAILURES: dict[str, str] = {
    "engine_unavailable": _("The painter could not be reached."),
    "engine_busy": _("The painter had too much to do."),
    "engine_rejected": _("The painter could not work with this picture."),
    "moderation": _("The painter's rules do not allow this picture or these words."),
    "quota": _("The painter's time is used up for the moment."),
    "engine_timeout": _("The painting took too long and was stopped."),
    "result_unreadable": _("The painter's answer was not a picture."),
    "source_gone": _("The photo was no longer there when its turn came."),
    "storage": _("The finished picture could not be stored."),
    "too_late": _("It was not done within the promised time."),
    "interrupted": _("The painting was interrupted more than once."),
    "stopped": _("We had to stop this painting."),
    "internal": _("Something went wrong on our side."),
}
