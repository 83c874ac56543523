"""Putting a newer image in the place of an older one, and going back where the newer one does not come up.

Rule: the old image is kept until the new one has answered; models lie in the volume and are not touched.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from app.containers.base import Container, ContainerError, DaemonUnreachable, Image
from app.managed.faults import problem_and_fix
from app.managed.making import Making, digest_of
from app.managed.names import LABEL_DIGEST
from app.managed.recipe import made_port

log = logging.getLogger(__name__)


async def put_in_place(
    making: Making,
    old: Container | None,
    image: Image,
    bring_up: Callable[[Container], Awaitable[None]],
) -> str:
    """Replace `old` by a container of `image`; one sentence about what came of it.

    `bring_up` returns once a container's engine answers. Raises ContainerError where not even the old image comes up.
    """
    if old is None:
        await bring_up(await making.make_of(image))
        return "Ollama was installed."
    if old.image_id == image.id:
        return "Ollama is up to date."
    port = made_port(old)
    try:
        await bring_up(await making.make(image.id, digest_of(image, making.reference), port=port))
    except DaemonUnreachable:
        raise
    except ContainerError as error:
        log.warning("The new Ollama did not come up, going back: %s %s", error, error.detail)
        await bring_up(await making.make(old.image_id, old.labels.get(LABEL_DIGEST, ""), port=port))
        problem, _ = problem_and_fix(error)
        return f"The new Ollama did not come up, so the old one runs again: {problem}"
    await making.drop_image(old.image_id)
    return "Ollama was updated; its models are kept."
