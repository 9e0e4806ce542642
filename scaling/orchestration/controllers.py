"""What stays from start to start of a driver: its controllers, and who gives their room back.

Nothing here imports Ray Train: whoever has a handle of an actor imports the module of its class.
"""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.util.placement_group import PlacementGroup, remove_placement_group

AGAIN_SECONDS = 1.0


class ControllerHost:
    """An actor in which the controllers of a driver's starts run, one after the other.

    Each in a process of its own would import Ray Train again, which takes seconds of every start.
    """

    def __init__(self, release: Any) -> None:
        self._controller: Any = None
        self._release = release

    async def run(self, made: Callable[..., Any], settings: dict[str, Any]) -> Any:
        """What the controller comes to that is made of these settings and told of our release."""
        self._controller = made(self._release, **settings)
        try:
            await self._controller.run()
            return self._controller.get_result()
        finally:
            self._controller = None
            # An actor of Ray's ends when nothing refers to it, and its objects form cycles.
            gc.collect()

    async def wait_for_exit(self) -> None:
        """Never answer: whoever waits for this learns of the end of this process."""
        await asyncio.Event().wait()

    async def abort(self) -> None:
        """End the run, and this process with it."""
        if self._controller:
            await self._controller.abort()


class PlacementGroupReleaser:
    """A detached actor beside the controllers: it gives the room of their workers back.

    It outlives the process of the controllers and their driver. Ray itself gives a room back at the
    end of the job that asked for it, and the job of a trial is all of its sweep. Ray Train's own
    helper asks the cluster's dashboard again and again whether the controller lives; this one is
    told by the call that it waits for.
    """

    def __init__(self) -> None:
        self._room: PlacementGroup | None = None

    async def take(self, room: PlacementGroup) -> None:
        """Keep this room in mind, in place of an earlier one."""
        self._room = room

    async def wait(self, controllers: Any) -> None:
        """Wait for the end of the process of these controllers, give the room back, and end."""
        while True:
            try:
                await controllers.wait_for_exit.remote()
            except ActorUnavailableError:
                await asyncio.sleep(AGAIN_SECONDS)
            except RayActorError:
                break
        if self._room is not None:
            remove_placement_group(self._room)
        ray.actor.exit_actor()
