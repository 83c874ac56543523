"""What the clients' APIs have beyond inference, and the sentence with which each is refused.

Nothing of it is forwarded, whatever the engine may know; the sentence is for whoever reads the error that an SDK
raises, and would otherwise look for a mistake in the address or the model's name. docs/clients.md is the table.
"""

from __future__ import annotations

from app.access.refusals import Refusal, not_found

_KEEPS_NOTHING = "No prompt and no answer is kept here"
_SENTENCES: dict[str, str] = {
    "/v1/responses/input_tokens": "Tokens are not counted ahead here: the usage of an answer says how many there were.",
    "/v1/responses/compact": "Talks are not compacted here: send what the model is to know with each request.",
    "/v1/responses": f"{_KEEPS_NOTHING}, so no response can be looked up, cancelled or deleted later.",
    "/v1/chat/completions": f"{_KEEPS_NOTHING}, so no completion can be looked up, changed or deleted later.",
    "/v1/conversations": f"{_KEEPS_NOTHING}, so there are no conversations: send the whole talk with each request.",
    "/v1/assistants": "There are no assistants here: send instructions and tools with each request.",
    "/v1/threads": f"{_KEEPS_NOTHING}, so there are no threads: send the whole talk with each request.",
    "/v1/messages/batches": "There are no batches here: send the messages one by one, and each waits for its turn.",
    "/v1/batches": "There are no batches here: send the requests one by one, and each waits for its turn.",
    "/v1/files": "No files are kept here: send texts and pictures within the request.",
    "/v1/uploads": "No files are kept here: send texts and pictures within the request.",
    "/v1/vector_stores": "No vectors are kept here: /v1/embeddings makes them, and the client keeps them.",
    "/v1/images": "No pictures are made here; models that see take them within a message.",
    "/v1/videos": "No videos are made here.",
    "/v1/audio": "Neither speech nor its text is made here.",
    "/v1/realtime": "There are no live sessions here: stream /v1/chat/completions or /v1/responses.",
    "/v1/live": "There are no live sessions here: stream /v1/chat/completions or /v1/responses.",
    "/v1/moderations": "Nothing is moderated here: ask a model that is made for it by /v1/chat/completions.",
    "/v1/fine_tuning": "Nothing is trained here: models are used as they are.",
    "/v1/complete": "Text is not completed in Anthropic's old way here: use /v1/messages.",
    "/v1/rerank": "Nothing is ranked here: /v1/embeddings gives vectors to compare.",
    "/api/web_search": "The web is not searched here; Ollama's clients ask ollama.com for that.",
    "/api/web_fetch": "Nothing is fetched from the web here; Ollama's clients ask ollama.com for that.",
}
_OTHER_V1 = "There is no such endpoint here: chat, completions, embeddings, responses, messages and models are shared."
CODE = "not_served"


def not_served(path: str) -> Refusal:
    """404 for a path that is not in the table, with the sentence for the longest beginning of it that is known."""
    below = path
    while below:
        if below in _SENTENCES:
            return Refusal(404, CODE, _SENTENCES[below])
        below = below.rpartition("/")[0]
    return Refusal(404, CODE, _OTHER_V1) if path.startswith("/v1/") else not_found()
