"""A public address for the gateway, for those who want one: cloudflared in a container of ours, never by default."""
