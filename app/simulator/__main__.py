"""`python -m app.simulator`: the simulator alone, until it is told to stop.

It prints one line, its URL, once it listens, and ends on Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from app.simulator.faults import Faults
from app.simulator.library import Library
from app.simulator.server import Simulator


def main() -> int:
    """0 after an orderly end, 1 where the port is taken, 2 on wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m app.simulator", description="A simulated Ollama.")
    parser.add_argument(
        "--port", type=int, default=0, help="port to listen on; 0 takes any free one (default)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; inside a container 0.0.0.0"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="1 is real time (default)")
    parser.add_argument("--parallel", type=int, default=1, help="requests served at once (default 1)")
    parser.add_argument(
        "--models",
        type=Path,
        default=None,
        metavar="DIR",
        help="keep models in this folder, where there are none at first (default: some, in memory)",
    )
    parser.add_argument("--empty", action="store_true", help="without --models: begin without any model")
    parser.add_argument(
        "--cpu-only", action="store_true", help="load models into main memory, as where no GPU is reached"
    )
    arguments = parser.parse_args()
    try:
        simulator = Simulator(
            speed=arguments.speed,
            parallel=arguments.parallel,
            library=Library(arguments.models, empty=arguments.empty),
            faults=Faults(cpu_only=arguments.cpu_only),
        )
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        print(f"The simulator cannot keep models in {arguments.models}: {error.strerror}.", file=sys.stderr)
        return 1
    try:
        asyncio.run(_serve(simulator, arguments.port, arguments.host))
    except OSError as error:
        print(
            f"The simulator cannot listen on port {arguments.port}: {error.strerror}; choose another.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        pass
    return 0


async def _serve(simulator: Simulator, port: int, host: str) -> None:
    told = asyncio.Event()
    # Windows' loops have no signal handlers; there Ctrl-C arrives as KeyboardInterrupt.
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
    print(await simulator.start(port, host), flush=True)
    await told.wait()
    await simulator.stop()


if __name__ == "__main__":
    sys.exit(main())
