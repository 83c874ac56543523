"""Where the gateway listens, under which names and certificate, and whom it believes what they say of others."""

from dataclasses import dataclass

from app.settings.declare import (
    File,
    Flag,
    Host,
    Hosts,
    Image,
    Networks,
    OptionalUrl,
    Origins,
    Public,
    Tls,
    Whole,
    parameter,
)


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The door."""

    host: Host = parameter(
        "127.0.0.1",
        "Listen address",
        "127.0.0.1 serves this machine only; 0.0.0.0 serves everyone who can reach it.",
        group="Network",
        restart=True,
    )
    port: Whole = parameter(
        8434,
        "Port",
        "The port clients connect to; 0 takes any free one.",
        group="Network",
        ge=0,
        le=65535,
        restart=True,
    )
    allowed_hosts: Hosts = parameter(
        (),
        "Further names of this machine",
        "Names under which programs on this machine may reach the gateway besides localhost, the machine's own name "
        "and names that end in .local or .internal; a web page could make any other one lead here.",
        group="Network",
    )
    cors_origins: Origins = parameter(
        (),
        "Web pages that may ask",
        "Origins of web pages whose scripts may use the gateway with a key. What is the operator's stays closed to "
        "them.",
        group="Network",
    )
    trusted_proxies: Networks = parameter(
        (),
        "Proxies that are believed",
        "Networks of reverse proxies whose X-Forwarded-For says where a request comes from. Programs on this machine "
        "are believed as well.",
        group="Network",
    )
    tls: Tls = parameter(
        "off",
        "Encryption",
        "off: plain HTTP. own: HTTPS with a certificate that the gateway makes once, by whose fingerprint clients know "
        "it. files: HTTPS with the certificate and key below.",
        group="Network",
        restart=True,
    )
    tls_certificate: File = parameter(
        "",
        "Certificate",
        "PEM file of the certificate and those that vouch for it. Read again when it changes.",
        group="Network",
    )
    tls_key: File = parameter(
        "", "Key of the certificate", "PEM file of its private key, without a password.", group="Network"
    )
    remote_admin: Flag = parameter(
        False,
        "Administration from elsewhere",
        "Let the operator's token work from other machines too.",
        group="Network",
    )
    audit_days: Whole = parameter(
        90,
        "Audit trail kept for",
        "What was refused and what was administered stays listed for so long.",
        group="Network",
        unit="days",
        ge=1,
        le=3650,
    )
    public_address: Public = parameter(
        "off",
        "Public address",
        "off: none. quick: a Cloudflare address that changes with every start. named: your own tunnel and its token.",
        group="Network",
    )
    public_hostname: OptionalUrl = parameter(
        "",
        "Address of the named tunnel",
        "Where clients reach the named tunnel, as set up at Cloudflare.",
        group="Network",
    )
    tunnel_image: Image = parameter(
        "cloudflare/cloudflared:latest",
        "Image of the tunnel",
        "What the tunnel's container is made from.",
        group="Network",
    )
