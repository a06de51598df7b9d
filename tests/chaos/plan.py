"""What is killed when: a plan made of a seed, so that the same seed kills the same things at the same moments."""

import random
from dataclasses import dataclass

KILLED = (
    "worker-1", "worker-2", "web-1", "web-2", "redis", "mariadb", "space", "scheduler", "maintenance",
)  # fmt: skip
SHORTEST_DOWN_S, LONGEST_DOWN_S = 1.0, 5.0
FIRST_AT_S = 3.0
DISK_FULL_S = 4.0


@dataclass(frozen=True)
class Event:
    """One misfortune: `at_s` seconds after the start, it befalls `target` for `down_s` seconds."""

    at_s: float
    kind: str
    target: str
    down_s: float

    @property
    def line(self) -> str:
        """The event in words."""
        return f"{self.at_s:6.1f} s  {self.kind} {self.target} for {self.down_s:.1f} s"


def plan(seed: int, seconds: float, *, pause_s: float, fills_disk: bool) -> list[Event]:
    """The misfortunes of a run of this length: each target at least once, one pause of a worker, one full disk.

    No target is struck again before it is back, and at most one of the two web processes is down at a time, so that
    visitors always have one to turn to.
    """
    chance = random.Random(seed)
    targets = list(KILLED)
    chance.shuffle(targets)
    pace = seconds / (len(KILLED) + 1)
    pause_at, full_at = seconds * 0.15, seconds * 0.6
    events = [Event(pause_at, "pause", "worker-2", pause_s)]
    if fills_disk:
        events.append(Event(full_at, "fill", "disk", DISK_FULL_S))
    busy_until = {"worker-2": pause_at + pause_s, "web": 0.0}
    moment = FIRST_AT_S
    while moment < seconds:
        if not targets:
            targets = list(KILLED)
            chance.shuffle(targets)
        target = targets.pop()
        down = round(chance.uniform(SHORTEST_DOWN_S, LONGEST_DOWN_S), 1)
        place = "web" if target.startswith("web") else target
        at_pause = target == "worker-2" and moment + down >= pause_at
        if busy_until.get(place, 0.0) <= moment and (not at_pause or moment > busy_until["worker-2"]):
            events.append(Event(round(moment, 1), "kill", target, down))
            busy_until[place] = moment + down + 2.0
        moment += chance.uniform(0.6, 1.2) * min(pace, 10.0)
    return sorted(events, key=lambda event: event.at_s)
