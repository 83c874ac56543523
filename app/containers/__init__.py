"""Containers through the Docker SDK: find the daemon, pull, create, start, watch, stop, remove.

What is in a container is none of this room's business; `app.engine` knows Ollama, `app.tunnel` knows cloudflared.
"""
