"""How long ``ctx.notify_resource_updated()`` takes to reach clients of both eras, on its own process and on another."""

from __future__ import annotations

import argparse
import queue
import random
import statistics
import threading
import time
from http.client import HTTPResponse

from benchmarks.clients import Client, messages
from benchmarks.sites import bench_site

URI = "bench://thing"


class Listener:
    """Notes when each notification arrives on a stream."""

    def __init__(self, name: str, response: HTTPResponse) -> None:
        self.name = name
        self.arrivals: queue.SimpleQueue[float] = queue.SimpleQueue()
        self.delays: list[float] = []
        threading.Thread(target=self._read, args=(response,), daemon=True).start()

    def _read(self, response: HTTPResponse) -> None:
        for message in messages(response):
            if message.get("method") == "notifications/resources/updated":
                self.arrivals.put(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    with bench_site(processes=2) as bench:
        here, there = bench.urls
        caller = Client(here).begin()
        listeners = []
        for place, url in (("same process", here), ("other process", there)):
            listeners.append(Listener(f"listen stream, {place}", Client(url, modern=True).listen(URI)))
            session = Client(url).begin()
            session.request("resources/subscribe", {"uri": URI})
            listeners.append(Listener(f"subscribed session, {place}", session.stream()))
        time.sleep(2)
        for _ in range(options.rounds):
            sent = time.perf_counter()
            caller.call("changed", uri=URI)
            for listener in listeners:
                listener.delays.append(listener.arrivals.get(timeout=30) - sent)
            # Out of step with the poller, whose next look would else always be a whole interval away.
            time.sleep(random.uniform(0, 0.5))  # noqa: S311
        for listener in listeners:
            cuts = statistics.quantiles(listener.delays, n=100)
            print(f"{listener.name}: p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms")


if __name__ == "__main__":
    main()
