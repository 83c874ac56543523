"""From settings to the bounds of requests, of answers, and of the connections they come over."""

from __future__ import annotations

from dataclasses import replace

from app.proxy.admission import Policy
from app.proxy.connections import Bounds
from app.proxy.jobs import Patience
from app.proxy.waiting import QueueBounds
from app.settings.parameters import Settings


def policy_of(settings: Settings) -> Policy:
    """What a request may hold."""
    return Policy(
        max_body_b=settings.max_body_mb << 20,
        max_output_tokens=settings.max_output_tokens,
        allowed_models=frozenset(settings.allowed_models),
        extra_fields=frozenset(settings.extra_request_fields),
        max_messages=settings.max_messages,
        max_images=settings.max_images,
    )


def patience_of(settings: Settings) -> Patience:
    """How long an answer may stand still."""
    return Patience(
        first_s=settings.first_token_seconds,
        idle_s=settings.idle_stream_seconds,
        stall_s=settings.request_timeout_seconds,
    )


def queue_bounds_of(settings: Settings) -> QueueBounds:
    """How many requests may wait for their turn, and for how long."""
    return QueueBounds(
        most=settings.queue_length,
        most_of_key=settings.queue_length_per_key,
        wait_s=settings.queue_seconds,
    )


def bounds_of(settings: Settings) -> Bounds:
    """How many connections this process may have, and how long each may keep it waiting."""
    return replace(
        Bounds.here(),
        head_s=settings.header_seconds,
        body_s=settings.body_seconds,
        unread_s=settings.unread_seconds,
    )
