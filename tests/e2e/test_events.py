"""Events: pages, streams, replay, heartbeats, and hundreds of listeners."""
import json
import os
import resource
import socket
import time

from daemon import Daemon, LONG_JOB, SLOW_BUILD, SMALL_JOB, equal, problem, run, true


class Stream:
    """A reader of server-sent events over a socket of its own."""

    def __init__(self, d, path, headers=None, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", d.port), timeout=timeout)
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Accept: text/event-stream"]
        lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.buffer = b""
        self.ended = False
        head = self.until(b"\r\n\r\n").decode()
        self.status = int(head.split()[1])
        self.head = head
        self.text = b""

    def until(self, mark):
        while mark not in self.buffer:
            part = self.socket.recv(65536)
            if not part:
                raise EOFError(self.buffer)
            self.buffer += part
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def frame(self):
        """The next frame as a dict, None at the end of the stream."""
        while b"\n\n" not in self.text:
            if self.ended:
                return None
            size = int(self.until(b"\r\n"), 16)
            self.until_bytes(size)
        frame, self.text = self.text.split(b"\n\n", 1)
        result = {}
        for line in frame.decode().split("\n"):
            key, _, value = line.partition(":")
            result[key] = value.strip()
        return result

    def until_bytes(self, size):
        while len(self.buffer) < size + 2:
            self.buffer += self.socket.recv(65536)
        self.text += self.buffer[:size]
        self.buffer = self.buffer[size + 2:]
        self.ended = size == 0

    def events(self):
        """All events up to the end of the stream."""
        found = []
        while (frame := self.frame()) is not None:
            if "data" in frame:
                found.append(frame)
        return found

    def close(self):
        self.socket.close()


def data(frame):
    """What the event says; the frame holds it as a row of the JSON pages."""
    row = json.loads(frame["data"])
    equal((row["type"], str(row["id"] or "")), (frame["event"], frame.get("id", "")), frame)
    return row["data"]


def check_story(events):
    """What the events of a small job must tell, in order."""
    stored = [e for e in events if "id" in e]
    ids = [int(e["id"]) for e in stored]
    equal(ids, sorted(set(ids)))
    statuses = [data(e)["status"] for e in stored if e["event"] == "status"]
    equal((statuses[0], statuses[-1]), ("queued", "succeeded"), statuses)
    points = [data(e) for e in stored if e["event"] == "point"]
    equal(len([p for p in points if p["curve"] == "aligned"]), 3, points)
    equal(len([p for p in points if p["curve"] == "control"]), 3, points)


def test_story_of_a_job():
    with Daemon() as d:
        d.register_fixtures()
        everything = Stream(d, "/v1/events")
        equal(everything.status, 200, everything.head)
        true("Content-Type: text/event-stream" in everything.head, everything.head)
        job = d.post("/v1/jobs", SMALL_JOB).json["id"]
        live = Stream(d, f"/v1/jobs/{job}/events")
        events = live.events()
        check_story(events)
        equal(d.get(f"/v1/jobs/{job}").json["status"], "succeeded")
        # The stream of all jobs told the same.
        heard = []
        stored = [e for e in events if "id" in e]
        while len(heard) < len(stored):
            frame = everything.frame()
            if "id" in frame:
                heard.append(frame)
        equal(heard, stored)
        everything.close()
        # Replayed from the beginning, and from the middle.
        replay = Stream(d, f"/v1/jobs/{job}/events").events()
        equal(replay, stored)
        middle = stored[3]["id"]
        equal(Stream(d, f"/v1/jobs/{job}/events", {"Last-Event-ID": middle}).events(), stored[4:])
        equal(Stream(d, f"/v1/jobs/{job}/events", {"Last-Event-ID": stored[-1]["id"]}).status, 204)
        problem(d.get(f"/v1/jobs/{job}/events",
                      {"Accept": "text/event-stream", "Last-Event-ID": "x"}), 400, "invalid_header")
        problem(d.get(f"/v1/jobs/{job}/events", {"Accept": "text/html"}), 406, "not_acceptable")
        # As pages.
        found, path = [], f"/v1/jobs/{job}/events?limit=4"
        while path:
            page = d.get(path).json
            true(len(page["data"]) <= 4, page)
            found += page["data"]
            token = page.get("next_page_token")
            path = f"/v1/jobs/{job}/events?limit=4&page_token={token}" if token else None
        equal(found, [json.loads(e["data"]) for e in stored])
        equal(d.get("/v1/events?limit=500").json["data"], found)


def test_replay_of_all_jobs():
    with Daemon() as d:
        d.register_fixtures()
        first = d.post("/v1/jobs", SMALL_JOB).json["id"]
        d.wait_finished(first)
        count = len(d.get("/v1/events?limit=500").json["data"])
        stream = Stream(d, "/v1/events", {"Last-Event-ID": "0"})
        heard = [stream.frame() for _ in range(count + 1)]
        equal(heard[0], {"retry": "2000"})
        check_story(heard[1:])
        # and goes on live
        second = d.post("/v1/jobs", SMALL_JOB).json["id"]
        frame = stream.frame()
        equal(data(frame)["status"], "queued", frame)
        stream.close()
        d.wait_finished(second)


def test_long_replay():
    """More events than a batch, and a client that reads late."""
    with Daemon() as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", {**SMALL_JOB, "interpolate": {"points": 161}}).json["id"]
        d.wait_finished(job)
        stream = Stream(d, f"/v1/jobs/{job}/events")
        time.sleep(0.3)
        events = stream.events()
        points = [e for e in events if e["event"] == "point"]
        equal(len(points), 322)


def test_many_listeners():
    """Hundreds of idle listeners cost no thread, and a change reaches all of them."""
    count = 400
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Daemon("--max-connections-per-address", "1000") as d:
        d.register_fixtures()
        threads = len(os.listdir(f"/proc/{d.process.pid}/task"))
        streams = [Stream(d, "/v1/events") for _ in range(count)]
        for s in streams:
            equal(s.status, 200, s.head)
        equal(len(os.listdir(f"/proc/{d.process.pid}/task")), threads)
        true(f"rebasind_event_listeners {count}" in d.get("/metrics").body.decode())
        job = d.post("/v1/jobs", LONG_JOB).json["id"]
        begun = time.monotonic()
        for s in streams:
            while "data" not in (frame := s.frame()):
                pass
            equal(data(frame)["status"], "queued", frame)
        print(f"      {count} listeners heard within {(time.monotonic() - begun) * 1000:.0f} ms")
        d.post(f"/v1/jobs/{job}/cancel")
        for s in streams[::2]:
            s.close()
        deadline = time.monotonic() + 20
        while f"rebasind_event_listeners {count // 2}" not in d.get("/metrics").body.decode():
            true(time.monotonic() < deadline, "closed streams are not noticed")
            time.sleep(0.1)
        for s in streams[1::2]:
            s.close()


def test_heartbeat():
    with Daemon() as d:
        stream = Stream(d, "/v1/events")
        equal(stream.frame(), {"retry": "2000"})
        begun = time.monotonic()
        equal(stream.frame(), {"": "heartbeat"})
        true(10 < time.monotonic() - begun < 20)
        stream.close()


def test_drain_ends_streams():
    with Daemon() as d:
        d.register_fixtures()
        streams = [Stream(d, "/v1/events") for _ in range(5)]
        begun = time.monotonic()
        equal(d.stop(), 0)
        true(time.monotonic() - begun < 10)
        for s in streams:
            while s.frame() is not None:
                pass
            s.close()


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])
