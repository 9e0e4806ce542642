"""Actors that outlive a start: the host of the controllers, and the releaser of their workers.

This module does not import Ray Train: every process with a handle of these actors imports it.
"""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.util.placement_group import PlacementGroup, remove_placement_group

RETRY_SECONDS = 1.0


class ControllerHost:
    """Actor in which the controllers of a driver's starts run, one after the other."""

    def __init__(self, releaser: Any) -> None:
        self._controller: Any = None
        self._releaser = releaser

    async def run(self, make_controller: Callable[..., Any], settings: dict[str, Any]) -> Any:
        """Run a controller and return its result."""
        self._controller = make_controller(self._releaser, **settings)
        try:
            await self._controller.run()
            return self._controller.get_result()
        finally:
            self._controller = None
            # An actor ends when nothing refers to it, and Ray's objects form cycles.
            gc.collect()

    async def wait_for_exit(self) -> None:
        """Never return, so that a caller notices the end of this process."""
        await asyncio.Event().wait()

    async def abort(self) -> None:
        """End the run, and this process with it."""
        if self._controller:
            await self._controller.abort()


class PlacementGroupReleaser:
    """Detached actor that removes the workers' placement group after the end of their host.

    It outlives the process of the host and its driver.
    """

    def __init__(self) -> None:
        self._group: PlacementGroup | None = None

    async def register(self, group: PlacementGroup) -> None:
        """Store the placement group to remove, in place of an earlier one."""
        self._group = group

    async def wait(self, host: Any) -> None:
        """Wait for the end of the host's process, remove the placement group, and exit."""
        while True:
            try:
                await host.wait_for_exit.remote()
            except ActorUnavailableError:
                await asyncio.sleep(RETRY_SECONDS)
            except RayActorError:
                break
        if self._group is not None:
            remove_placement_group(self._group)
        ray.actor.exit_actor()
