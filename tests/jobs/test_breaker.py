"""The circuit breaker: when it opens, who may probe, and how it closes."""

import threading

import pytest

from jobs.breaker import FAILURES_IN_A_ROW, FIRST_REST_S, LONGEST_REST_S, Breaker


class Watch:
    """A monotonic clock that a test moves."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    """The breaker's clock."""
    return Watch()


@pytest.fixture
def breaker(watch: Watch) -> Breaker:
    """A closed breaker."""
    return Breaker("gradio", watch)


def must_not_probe() -> bool:
    """A probe that nobody may make."""
    raise AssertionError("This is no time for a probe.")


def broken(breaker: Breaker) -> Breaker:
    """The same breaker after as many failures as open it."""
    for _ in range(FAILURES_IN_A_ROW):
        breaker.failed()
    return breaker


def test_failures_in_a_row_open_it(breaker: Breaker) -> None:
    """One failure fewer than the limit lets calls through; the last one refuses them without a probe."""
    for _ in range(FAILURES_IN_A_ROW - 1):
        breaker.failed()
    assert breaker.allows(must_not_probe)
    breaker.failed()
    assert breaker.is_open
    assert not breaker.allows(must_not_probe)


def test_a_success_between_failures_counts_anew(breaker: Breaker) -> None:
    """Failures with successes between them never open it."""
    for _ in range(5 * FAILURES_IN_A_ROW):
        breaker.failed()
        breaker.succeeded()
    assert breaker.allows(must_not_probe)


def test_a_probe_closes_it(breaker: Breaker, watch: Watch) -> None:
    """After its rest one probe that is answered closes it for everybody."""
    broken(breaker)
    watch.seconds = FIRST_REST_S
    assert breaker.allows(lambda: True)
    assert not breaker.is_open
    assert breaker.allows(must_not_probe)


def test_a_failed_probe_doubles_the_rest(breaker: Breaker, watch: Watch) -> None:
    """A probe without an answer opens it again for twice as long, up to a limit."""
    broken(breaker)
    rest = FIRST_REST_S
    for _ in range(8):
        watch.seconds += rest
        assert not breaker.allows(lambda: False)
        rest = min(2 * rest, LONGEST_REST_S)
        watch.seconds += rest - 0.01
        assert not breaker.allows(must_not_probe)
        watch.seconds += 0.01 - rest
    assert rest == LONGEST_REST_S


def test_one_caller_probes_and_the_others_are_refused(breaker: Breaker, watch: Watch) -> None:
    """While a probe is under way everybody else is told no at once."""
    broken(breaker)
    watch.seconds = FIRST_REST_S
    under_way, may_answer = threading.Event(), threading.Event()

    def slow_probe() -> bool:
        under_way.set()
        return may_answer.wait(10)

    first: list[bool] = []
    thread = threading.Thread(target=lambda: first.append(breaker.allows(slow_probe)))
    thread.start()
    assert under_way.wait(10)
    assert not any(breaker.allows(must_not_probe) for _ in range(20))
    may_answer.set()
    thread.join()
    assert first == [True]
    assert breaker.allows(must_not_probe)


def test_a_probe_that_raises_leaves_it_open(breaker: Breaker, watch: Watch) -> None:
    """A probe that ends with an error counts as unanswered, and the next one is allowed later."""
    broken(breaker)
    watch.seconds = FIRST_REST_S

    def raises() -> bool:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError):
        breaker.allows(raises)
    assert breaker.is_open
    watch.seconds += 2 * FIRST_REST_S
    assert breaker.allows(lambda: True)
