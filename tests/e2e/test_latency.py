"""With all workers busy: 200 status polls a second, none failed, 99 of 100 within 20 ms."""
import os
import threading
import time

from daemon import Daemon, LONG_JOB, SLOW_BUILD, equal, run, true

SECONDS = float(os.environ.get("REBASIND_LATENCY_SECONDS", "10"))
RATE, CLIENTS = 200, 10


def test_polls_while_workers_are_busy():
    with Daemon() as d:
        d.register_fixtures()
        jobs = [d.post("/v1/jobs", LONG_JOB).json["id"] for _ in range(2)]
        while d.get(f"/v1/jobs/{jobs[0]}").json["status"] == "queued":
            time.sleep(0.01)
        took, failed = [], []

        def poll(number):
            c = d.connect()
            begun = time.monotonic() + number / RATE
            for i in range(int(SECONDS * RATE / CLIENTS)):
                due = begun + i * CLIENTS / RATE
                time.sleep(max(0, due - time.monotonic()))
                sent = time.monotonic()
                r = d.get(f"/v1/jobs/{jobs[0]}", connection=c)
                took.append((time.monotonic() - sent) * 1000)
                if r.status != 200:
                    failed.append(r)
            c.close()
        threads = [threading.Thread(target=poll, args=(i,)) for i in range(CLIENTS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        phase = d.get(f"/v1/jobs/{jobs[0]}").json["phase"]
        lag = [x for x in d.get("/metrics").body.decode().splitlines() if "loop_lag" in x and "le=" in x]
        for job in jobs:
            d.post(f"/v1/jobs/{job}/cancel")
        took.sort()
        p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
        print(f"      {len(took)} polls, phase {phase}: median {p50:.2f} ms, p99 {p99:.2f} ms, "
              f"slowest {took[-1]:.2f} ms")
        equal(failed, [])
        if not SLOW_BUILD:
            true(p99 < 20, (p99, lag))


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])
