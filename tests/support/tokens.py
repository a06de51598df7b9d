"""What tests of the Hub's tokens share: three tokens, an evening, and short ways to lease and use one."""

from __future__ import annotations

from datetime import UTC, datetime

from ghibli_flask.services import gpu_tokens
from ghibli_flask.services.gpu_tokens import Lease, TokenStatus

ADA, BEA, CYD = TOKENS = ("hf_AdaAdaAdaAdaAda0001", "hf_BeaBeaBeaBeaBea0002", "hf_CydCydCydCydCyd0003")
EVENING = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
SPACE = "https://somebody-painter.hf.space"


def leased() -> Lease:
    """A lease that must be there."""
    lease = gpu_tokens.lease()
    assert lease is not None
    return lease


def use(seconds: float) -> str:
    """Lease a token, use it for so long and give it back; tells which it was."""
    lease = leased()
    gpu_tokens.give_back(lease, seconds)
    return lease.token


def status_of(token: str) -> TokenStatus:
    """How one token is doing."""
    mask = gpu_tokens.mask(token)
    return next(status for status in gpu_tokens.statuses() if status.mask == mask)
