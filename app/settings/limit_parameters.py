"""How large a request may be, and how long each of its parts may keep the gateway waiting."""

from dataclasses import dataclass

from app.settings.declare import Fields, Models, Whole, parameter


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """The bounds of one request, whoever sends it."""

    allowed_models: Models = parameter(
        (), "Models on offer", "Only these may be asked for. Empty: all of them.", group="Limits"
    )
    max_output_tokens: Whole = parameter(
        4096, "Longest answer", "No answer gets longer.", group="Limits", unit="tokens", ge=1, le=1_000_000
    )
    extra_request_fields: Fields = parameter(
        (),
        "Further request fields",
        "Fields of a request that are passed on to the engine besides those known here; other ones are left out.",
        group="Limits",
    )
    max_body_mb: Whole = parameter(
        32,
        "Largest request",
        "Larger requests are refused.",
        group="Limits",
        unit="MB",
        ge=1,
        le=256,
    )
    max_messages: Whole = parameter(
        2048,
        "Messages in a request",
        "Requests with more messages, or more texts to embed, are refused.",
        group="Limits",
        ge=1,
        le=100_000,
    )
    max_images: Whole = parameter(
        100,
        "Pictures in a request",
        "Requests with more pictures, sounds and files together are refused.",
        group="Limits",
        ge=0,
        le=1000,
    )
    queue_length: Whole = parameter(
        2048,
        "Requests that may wait",
        "Requests that the engine has no place for wait for their turn; when so many wait, further ones are refused.",
        group="Limits",
        ge=0,
        le=100_000,
    )
    queue_length_per_key: Whole = parameter(
        1024,
        "Requests of one key that may wait",
        "So that one key cannot take all of the places.",
        group="Limits",
        ge=0,
        le=100_000,
    )
    queue_seconds: Whole = parameter(
        600,
        "Time until its turn",
        "A request whose turn has not come by then is refused.",
        group="Limits",
        unit="s",
        ge=1,
        le=86_400,
    )
    header_seconds: Whole = parameter(
        15,
        "Time for headers",
        "A connection that has not sent all headers of its request by then is closed.",
        group="Limits",
        unit="s",
        ge=1,
        le=300,
        restart=True,
    )
    body_seconds: Whole = parameter(
        60,
        "Time for a body",
        "A request whose body has not come by then is refused.",
        group="Limits",
        unit="s",
        ge=1,
        le=3600,
        restart=True,
    )
    first_token_seconds: Whole = parameter(
        600,
        "Time until an answer begins",
        "A streamed answer that has not begun by then is given up; loading the model counts.",
        group="Limits",
        unit="s",
        ge=1,
        le=86_400,
    )
    idle_stream_seconds: Whole = parameter(
        600,
        "Silence within an answer",
        "A streamed answer in which nothing comes for so long is ended.",
        group="Limits",
        unit="s",
        ge=1,
        le=86_400,
    )
    unread_seconds: Whole = parameter(
        300,
        "Answer not taken",
        "A client that takes nothing of its answer for so long is given up. The engine waits for it meanwhile.",
        group="Limits",
        unit="s",
        ge=1,
        le=3600,
        restart=True,
    )
    hold_seconds: Whole = parameter(
        30,
        "Money held ahead",
        "A running request keeps money for this long at full power, so that the cap is never passed.",
        group="Limits",
        unit="s",
        ge=5,
        le=300,
    )
