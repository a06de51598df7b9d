"""The one clock: everything that asks for the time asks it here, so that a test can hold it still.

The factory keeps a `Clock` in the application's runtime; `jobs` and `services` read it from there.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """The system's time, always aware and always UTC."""

    def now(self) -> datetime:
        """The present moment, with microseconds."""
        return datetime.now(UTC)


class FixedClock(Clock):
    """A clock that stands still until it is moved; for tests and for replaying an incident."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment.astimezone(UTC)

    def now(self) -> datetime:
        """The moment at which this clock was last set."""
        return self.moment

    def advance(self, **duration: float) -> None:
        """Move on by a `timedelta` given in its own keywords, such as `seconds=30`."""
        self.moment += timedelta(**duration)


def start_of_next_day(moment: datetime) -> datetime:
    """Midnight UTC after `moment`: when free tries renew."""
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(days=1)


def epoch_ms(moment: datetime) -> int:
    """Milliseconds since 1970, the form in which times stand in Redis."""
    return int(moment.timestamp() * 1000)
