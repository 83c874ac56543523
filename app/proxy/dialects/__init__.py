"""The languages clients speak: Ollama's, OpenAI's. Pure: bytes in, bytes out, no network."""
