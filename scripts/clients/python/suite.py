"""Named checks, counted as scripts/test reads them. Used by the Python suites. Deliberately absent: a test framework."""

import asyncio
import os
import sys
import time
import traceback

BOOTSTRAP = os.environ["CORELOG_BOOTSTRAP"]
# Nothing is tried twice: for a broker that answers a change only when it is in force.
STRICT = "CORELOG_STRICT" in os.environ
# How long anything may take before it counts as hanging, in seconds.
PATIENCE = 60

_topics = 0


def fresh(prefix):
    """A topic name that no other run has used."""
    global _topics
    _topics += 1
    return f"{prefix}-{time.time_ns():x}-{_topics}"


def equal(expected, actual, what):
    if expected != actual:
        raise AssertionError(f"{what}: expected {expected!r:.500}, got {actual!r:.500}")


def eventually(body):
    """Kafka answers a change before its broker knows it; a strict broker does not get a second chance."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return body()
        except Exception:
            if STRICT or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


async def eventually_async(body):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await body()
        except Exception:
            if STRICT or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


class Suite:
    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = 0

    def _settle(self, what, start, failure):
        ms = int((time.monotonic() - start) * 1000)
        if failure is None:
            self.passed += 1
            print(f"ok      {self.name}: {what} ({ms} ms)", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {self.name}: {what} ({ms} ms)\n{failure}", flush=True)

    def check(self, what, body, *arguments):
        """Runs one check; what it raises is its failure, and the next check runs all the same."""
        start, failure = time.monotonic(), None
        try:
            body(*arguments)
        except Exception:
            failure = traceback.format_exc()
        self._settle(what, start, failure)

    async def check_async(self, what, body, *arguments):
        start, failure = time.monotonic(), None
        try:
            await body(*arguments)
        except Exception:
            failure = traceback.format_exc()
        self._settle(what, start, failure)

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.stdout.flush()
        # Client threads that are still about must not hold the end up.
        os._exit(0 if self.failed == 0 else 1)
