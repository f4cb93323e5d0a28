"""The numbers that the engine is given; ``common/config.py`` says what each means."""

from dataclasses import dataclass, field

from conductor.plan.model import Estimates, Limits


@dataclass(frozen=True)
class Settings:
    """Lengths in seconds; the defaults are DESIGN's."""

    sync_interval_s: float = 10.0
    agent_down_s: float = 35.0
    silence_s: float = 30.0
    resend_s: tuple[float, ...] = (2.0, 5.0, 10.0, 30.0)
    join_limit_s: float = 600.0
    eject_limit_s: float = 1800.0
    migration_limit_s: float = 240.0
    short_limit_s: float = 120.0
    begin_limit_s: float = 600.0
    slow_at_least_s: float = 60.0
    observe_apart_s: float = 2.0
    retry_pause_s: float = 2.0
    refused_replan_s: float = 30.0
    move_attempts: int = 3
    replans: int = 5
    reenabled_times: int = 3
    reenabled_within_s: float = 600.0
    pool_backed_by_default: bool = True
    limits: Limits = field(default_factory=Limits)
    estimates: Estimates = field(default_factory=Estimates)
