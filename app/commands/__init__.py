"""What each command of `mortdecai-gateway` does. Imported one at a time, so that `serve` never loads Qt."""
