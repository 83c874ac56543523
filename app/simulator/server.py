"""The simulator: Ollama's HTTP interface on 127.0.0.1 with nothing behind it but arithmetic.

Rule 1: it says what it is, in its version, on its front page and in every text it writes.
Rule 2: it listens on the loopback address, unless it is told otherwise to stand inside a container.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import unquote

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage

from app.simulator import openai_api
from app.simulator.anthropic_api import AnthropicApi, anthropic_error
from app.simulator.embedding_api import EmbeddingApi
from app.simulator.exchange import SimulatedRefusal, reply
from app.simulator.faults import Faults
from app.simulator.inference import ConnectionCut, InferenceFailed, SimulatedInference
from app.simulator.library import Library
from app.simulator.management_api import ManagementApi
from app.simulator.native_api import NativeApi
from app.simulator.physics import SimulatedGpu, SimulatedGpuState
from app.simulator.responses_api import ResponsesApi
from app.simulator.scheduler import MAX_QUEUE, OutOfMemory, QueueFull, Scheduler
from app.simulator.tasks import SimulatedTasks

VERSION = "0.32.0-simulated"

_BODY_LIMIT_B = 64 * 1024 * 1024
_GRACE_S = 0.01
_QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"
_OUT_OF_MEMORY = "llama runner process has terminated: cudaMalloc failed: out of memory (simulated)"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class Simulator:
    """An Ollama look-alike. `speed` 1 is real time, 1000 is for tests; `parallel` as OLLAMA_NUM_PARALLEL.

    `clock_us` measures durations: monotonic microseconds. Set `faults` to make requests fail. `library` holds the
    models; without one they live in memory, those that it is born with.
    """

    def __init__(
        self,
        speed: float = 1.0,
        parallel: int = 1,
        clock_us: Callable[[], int] = _monotonic_us,
        *,
        max_queue: int = MAX_QUEUE,
        library: Library | None = None,
        faults: Faults | None = None,
    ) -> None:
        if not speed > 0 or parallel < 1:
            raise ValueError("The simulator needs a speed above 0 and at least one parallel request.")
        self.faults = faults or Faults()
        library = library or Library()
        self.gpu = SimulatedGpu(clock_us)
        self.url = ""
        self._scheduler = Scheduler(
            self.gpu,
            speed=speed,
            parallel=parallel,
            clock_us=clock_us,
            max_queue=max_queue,
            cpu_only=lambda: self.faults.cpu_only,
        )
        self._inference = SimulatedInference(self._scheduler, speed=speed, clock_us=clock_us)
        tasks = SimulatedTasks(library, lambda: self.faults)
        native = NativeApi(self._inference, self._scheduler, VERSION, tasks)
        vectors = EmbeddingApi(tasks, self._inference)
        self._management = ManagementApi(library, self._scheduler, speed=speed, faults=lambda: self.faults)
        self._openai = openai_api.OpenAIApi(tasks, self._inference)
        self._routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": _front_page, "HEAD": _front_page},
            "/api/version": {"GET": native.version, "HEAD": native.version},
            "/api/tags": {"GET": native.tags, "HEAD": native.tags},
            "/api/ps": {"GET": native.ps},
            "/api/show": {"POST": native.show},
            "/api/chat": {"POST": native.chat},
            "/api/generate": {"POST": native.generate},
            "/api/embed": {"POST": vectors.embed},
            "/api/embeddings": {"POST": vectors.embeddings},
            "/api/pull": {"POST": self._management.pull},
            "/api/create": {"POST": self._management.create},
            "/api/copy": {"POST": self._management.copy},
            "/api/delete": {"DELETE": self._management.delete},
            "/v1/models": {"GET": self._openai.models},
            "/v1/chat/completions": {"POST": self._openai.chat},
            "/v1/completions": {"POST": self._openai.completions},
            "/v1/embeddings": {"POST": vectors.compatible},
            "/v1/responses": {"POST": ResponsesApi(tasks, self._inference).responses},
            "/v1/messages": {"POST": AnthropicApi(tasks, self._inference).messages},
        }
        self._web: web.Server | None = None
        self._server: asyncio.Server | None = None

    @property
    def asked(self) -> int:
        """How many inferences have been asked for, whatever became of them."""
        return self._inference.asked

    @property
    def running(self) -> int:
        """Inferences that occupy a place now."""
        return self._scheduler.running

    @property
    def waiting(self) -> int:
        """Inferences in the queue."""
        return self._scheduler.waiting

    def gpu_state(self) -> SimulatedGpuState:
        """The simulated card now; any thread may ask."""
        return self.gpu.state()

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> str:
        """Listen (port 0: any free one); returns the URL. Raises OSError where the port is taken."""
        loop = asyncio.get_running_loop()
        self._web = web.Server(
            self._handle, request_factory=_request, handler_cancellation=True, access_log=None
        )
        self._server = await loop.create_server(self._web, host, port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self.url

    async def stop(self) -> None:
        """Close the port and every connection, and unload every model."""
        if self._server is not None and self._web is not None:
            self._server.close()
            await self._web.shutdown(_GRACE_S)
            await self._server.wait_closed()
        self._server = self._web = None
        self._scheduler.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        methods = self._routes.get(path) or self._below(path, request)
        if methods is None:
            return web.Response(status=404, text="404 page not found")
        handler = methods.get(request.method)
        if handler is None:
            return web.Response(status=405, text="405 method not allowed")
        return await self._answer(handler, request)

    def _below(self, path: str, request: web.BaseRequest) -> dict[str, Handler] | None:
        """The handlers of a path that ends in a name."""
        for prefix in ("/v1/models/", "/api/blobs/"):
            if path.startswith(prefix):
                name = unquote(request.rel_url.raw_path[len(prefix) :])
                if prefix == "/v1/models/":
                    return {"GET": partial(self._openai.model, name=name)}
                return {
                    "HEAD": partial(self._management.has_blob, digest=name),
                    "POST": partial(self._management.push_blob, digest=name),
                }
        return None

    async def _answer(self, handler: Handler, request: web.BaseRequest) -> web.StreamResponse:
        """The answer, or in the dialect of the path why there is none."""
        try:
            return await handler(request)
        except SimulatedRefusal as refused:
            status, message = refused.status, str(refused)
        except QueueFull:
            status, message = 503, _QUEUE_FULL
        except OutOfMemory:
            status, message = 500, _OUT_OF_MEMORY
        except InferenceFailed as failed:
            status, message = 500, str(failed)
        except ConnectionCut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        except ConnectionResetError:
            # The client is gone; nobody will read this.
            return web.Response(status=499)
        if request.path == "/v1/messages":
            return anthropic_error(status, message)
        if request.path.startswith("/v1/"):
            return openai_api.error(status, message)
        return reply({"error": message}, status=status)


async def _front_page(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="Ollama is running (simulated: no model runs here)")


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """aiohttp's own kind of request, with room for pictures."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_BODY_LIMIT_B)
