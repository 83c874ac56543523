"""Where inference happens: the Ollama client, existing endpoints, the simulator."""
