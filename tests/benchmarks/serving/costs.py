"""Costs: what a server's queries take of a core, and each stage of the time, from its own metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tests.benchmarks.serving.servers import Server

STAGES = ("decode", "queue", "encode", "search", "hydrate")


@dataclass(frozen=True)
class Costs:
    """What a server has used so far: seconds of a processor, and of each stage the seconds and how many there were."""

    processor: float
    stages: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, server: Server) -> Self:
        """Ask a server."""
        samples = server.samples()

        def stage(name: str) -> tuple[float, float]:
            sums = (f'lookalike_stage_seconds_{what}{{stage="{name}"}}' for what in ("sum", "count"))
            seconds, count = (samples.get(one, 0.0) for one in sums)
            return seconds, count

        return cls(samples["process_cpu_seconds_total"], {name: stage(name) for name in STAGES})

    def __sub__(self, before: Costs) -> Costs:
        stages = {
            name: (seconds - before.stages[name][0], count - before.stages[name][1])
            for name, (seconds, count) in self.stages.items()
        }
        return Costs(self.processor - before.processor, stages)

    def __add__(self, other: Costs) -> Costs:
        return self - (Costs(0.0, dict.fromkeys(STAGES, (0.0, 0.0))) - other)

    def processor_ms(self, queries: int) -> float:
        """Return the milliseconds of a core that a query took in the server."""
        return 1000 * self.processor / max(1, queries)

    def means(self) -> dict[str, float]:
        """Return the mean milliseconds of each stage that there was; `encode` is that of a batch."""
        return {name: 1000 * seconds / count for name, (seconds, count) in self.stages.items() if count}
