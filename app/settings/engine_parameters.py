"""The engine, the container it may run in, and its models."""

from dataclasses import dataclass

from app.settings.declare import (
    BaseUrl,
    Daemon,
    EngineKind,
    Flag,
    Hosts,
    Image,
    Model,
    Ports,
    Processor,
    Whole,
    parameter,
)


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Engine and models."""

    engine: EngineKind = parameter(
        "endpoint",
        "Where answers come from",
        "endpoint: an engine that runs already and is never stopped. container: an Ollama in Docker, kept by this app.",
        group="Engine",
        restart=True,
    )
    upstream_url: BaseUrl = parameter(
        "http://127.0.0.1:11434",
        "Engine",
        "Address of the engine that answers, where it runs already.",
        group="Engine",
        restart=True,
    )
    engine_parallel: Whole = parameter(
        0,
        "Answers at once",
        "How many requests the engine works on at the same time (OLLAMA_NUM_PARALLEL); further ones wait here. "
        "0: one in the container, and found out by watching of an engine that runs already.",
        group="Engine",
        ge=0,
        le=64,
        restart=True,
    )
    request_timeout_seconds: Whole = parameter(
        600,
        "Patience",
        "How long the engine may be silent before a request is given up.",
        group="Engine",
        unit="s",
        ge=1,
        le=86_400,
        restart=True,
    )
    docker_host: Daemon = parameter(
        "",
        "Docker",
        "Address of the Docker or Podman that runs the container. Empty: found by itself.",
        group="Engine",
        restart=True,
    )
    engine_image: Image = parameter(
        "",
        "Image of the engine",
        "What the container is made from. Empty: ollama/ollama, or ollama/ollama:rocm for an AMD GPU.",
        group="Engine",
    )
    engine_gpu: Processor = parameter(
        "auto",
        "Processor",
        "What the container answers with. auto: the GPU that is found. cpu: slow, and never chosen unsaid.",
        group="Engine",
    )
    engine_port: Whole = parameter(
        0,
        "Port of the engine",
        "Where the container answers on 127.0.0.1; 0 takes any free one.",
        group="Engine",
        ge=0,
        le=65535,
    )
    engine_memory_gb: Whole = parameter(
        0,
        "Memory limit",
        "Main memory the container may use; 0: no limit.",
        group="Engine",
        unit="GB",
        ge=0,
        le=4096,
    )
    engine_cpus: Whole = parameter(
        0, "Processor limit", "Cores the container may use; 0: all.", group="Engine", ge=0, le=1024
    )
    engine_context_length: Whole = parameter(
        4096,
        "Context",
        "How many tokens of a conversation a model keeps in mind; more needs more of the GPU's memory.",
        group="Engine",
        unit="tokens",
        ge=256,
        le=1_048_576,
    )
    engine_keep_alive_minutes: Whole = parameter(
        5,
        "Model stays loaded",
        "How long after its last answer a model stays in the GPU's memory.",
        group="Engine",
        unit="min",
        ge=0,
        le=1440,
    )
    engine_max_queue: Whole = parameter(
        64,
        "Waiting requests",
        "How many requests may wait in the engine's own queue.",
        group="Engine",
        ge=1,
        le=4096,
    )
    engine_flash_attention: Flag = parameter(
        True, "Flash attention", "Less of the GPU's memory for the same context.", group="Engine"
    )
    engine_isolated: Flag = parameter(
        True,
        "No way out",
        "The container reaches no network, except while a model is being pulled.",
        group="Engine",
    )
    discovery_ports: Ports = parameter(
        (), "More ports to look at", "Where else on this machine an engine may answer.", group="Engine"
    )
    default_model: Model = parameter(
        "",
        "Model for tests",
        "Loaded and asked when the engine is tried out. Empty: the smallest one there is.",
        group="Models",
    )
    models_quota_gb: Whole = parameter(
        0,
        "Room for models",
        "Models may take this much of the disk; 0: no limit.",
        group="Models",
        unit="GB",
        ge=0,
        le=100_000,
    )
    allow_model_updates: Flag = parameter(
        False,
        "Model updates",
        "Let a client push new versions of a model.",
        group="Models",
        seed=True,
    )
    model_update_hosts: Hosts = parameter(
        ("huggingface.co", "*.huggingface.co", "*.hf.co"),
        "Where models may come from",
        "A pushed model is fetched from these hosts only.",
        group="Models",
    )
    model_update_http: Flag = parameter(
        False, "Plain http for models", "Fetch pushed models without encryption too.", group="Models"
    )
    model_update_max_gb: Whole = parameter(
        64, "Largest pushed model", "Larger ones are refused.", group="Models", unit="GB", ge=1, le=10_000
    )
