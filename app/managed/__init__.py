"""The Ollama that runs in a container of ours: made, started, watched, updated, stopped."""
