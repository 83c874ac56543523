"""HTTP: access, admission, the inference pipeline, dialects, control API, web dashboard."""
