"""Under an OpenBLAS that is older than the processor the daemon starts again with the right kernel,
once; what was found out is kept; what the user says stays; everything tells what runs.
"""
import json
import os
import platform
import re
import subprocess
import tempfile

from daemon import BINARY, ENVIRONMENT, FIXTURES, SANITIZED, Daemon, equal, run, true

HERE = os.path.dirname(os.path.abspath(__file__))


def old_library(folder, how=""):
    path = f"{folder}/old_library.so"
    if not os.path.exists(path):
        subprocess.run(["cc", "-std=c17", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o",
                        path, f"{HERE}/old_library.c"], check=True)
    env = {"LD_PRELOAD": path, "RB_OLD_LIBRARY": how}
    if SANITIZED:
        env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return env


def blas(d):
    return d.get("/version").json["blas"]


def kept(d):
    folder = f"{d.data_dir}/cache/kernels"
    return sorted(f for f in os.listdir(folder) if f.startswith("kernel-"))


def wide():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return platform.machine() == "x86_64" and " avx2 " in f.read()


def test_the_kernel_is_told():
    with Daemon() as d:
        b = blas(d)
        true(b["kernel"] and b["cpu"], b)
        true(b["gflops_per_core"] > 0 and b["fma_limit_gflops"] > 0, b)
        check = [c for c in d.get("/readyz?verbose").json["checks"] if c["name"] == "blas"]
        equal(len(check), 1)
        true(b["kernel"] in check[0]["detail"], check)
        metrics = d.get("/metrics").body.decode()
        true(f'rebasind_blas_flops_per_second{{kernel="{b["kernel"]}"' in metrics, metrics)
        true("rebasind_fma_limit_flops_per_second " in metrics, metrics)
        true(f"kernel={b['kernel']}" in d.log(), d.log())


def test_a_job_tells_its_environment():
    with Daemon("--workers", "1") as d:
        d.register_fixtures()
        r = d.post("/v1/jobs", {"models": {"a": "bert-a", "b": "bert-b"}, "align": {"components": []},
                                "outputs": {"merged": [0.5]}})
        equal(r.status, 202, r)
        e = d.wait_finished(r.json["id"])["environment"]
        equal(e["blas_kernel"], blas(d)["kernel"])
        equal((e["threads"], e["executor"], e["nodes"]), (1, "local", 1))
        equal(e["cpu"], blas(d)["cpu"])


def test_a_better_kernel_is_taken_once_and_kept():
    if not wide():
        return
    with tempfile.TemporaryDirectory() as folder, Daemon(env=old_library(folder)) as d:
        first = blas(d)
        true(first["kernel"] != "Prescott", first)
        equal(first["chosen_by"], "daemon")
        equal(first["proven"], True)
        equal(len(kept(d)), 1)
        # The second start believes the first: a verdict that is changed on disk is what it takes.
        path = f"{d.data_dir}/cache/kernels/{kept(d)[0]}"
        with open(path, encoding="utf-8") as f:
            text = f.read()
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace(text.split()[4], "1.25e+10"))
        equal(d.stop(), 0)
        d.start()
        second = blas(d)
        equal(second["kernel"], first["kernel"])
        equal(second["gflops_per_core"], 12.5)


SPEC = {"models": {"a": "bert-a", "b": "bert-b"}, "align": {"dataset": "align", "max_sequences": 50},
        "interpolate": {"points": 2}, "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 4}}


def seconds(d):
    return d.post("/v1/jobs?dry_run=true", SPEC).json["estimate"]["seconds"]


def test_what_jobs_took_is_known_after_a_restart_and_to_their_kernel_alone():
    with Daemon() as d:
        d.register_fixtures()
        fresh = seconds(d)
        equal(d.wait_finished(d.post("/v1/jobs", SPEC).json["id"])["status"], "succeeded")
        learnt = seconds(d)
        true(abs(learnt - fresh) > 1e-6 * fresh, (fresh, learnt))
        equal(d.stop(), 0)
        d.start()
        equal(seconds(d), learnt)
        if not wide():
            return
        other = "Haswell" if blas(d)["kernel"] != "Haswell" else "Nehalem"
        equal(d.stop(), 0)
        d.env = {**d.env, "OPENBLAS_CORETYPE": other}
        d.start()
        true(abs(seconds(d) - learnt) > 1e-6 * learnt, learnt)


def test_a_library_that_does_not_listen_is_asked_once():
    if not wide():
        return
    with tempfile.TemporaryDirectory() as folder, Daemon(env=old_library(folder, "stubborn")) as d:
        b = blas(d)
        equal(b["kernel"], "Prescott")
        equal(b["proven"], False)


def test_what_the_user_says_stays():
    with Daemon(env={"OPENBLAS_CORETYPE": "Prescott"}) as d:
        b = blas(d)
        if platform.machine() == "x86_64":
            equal(b["kernel"], "Prescott")
        equal(b["chosen_by"], "user")
        equal(kept(d), [])
        if wide() and not SANITIZED:
            true("below half" in d.log() and "OPENBLAS_CORETYPE was set" in d.log(), d.log())
            true(re.search("better=(SkylakeX|Zen|Haswell)", d.log()), d.log())


def test_run_keeps_its_verdict_in_the_cache():
    with tempfile.TemporaryDirectory() as folder:
        env = {**ENVIRONMENT, "XDG_CACHE_HOME": folder}
        spec = f"{folder}/spec.json"
        models = {side: f"{FIXTURES}/models/bert-{side}" for side in "ab"}
        with open(spec, "w", encoding="utf-8") as f:
            json.dump({"models": models, "align": {"components": []}, "outputs": {"merged": [0.5]}}, f)
        done = subprocess.run([BINARY, "run", spec, "--output", f"{folder}/out"], env=env,
                              capture_output=True, check=False)
        equal(done.returncode, 0, done.stderr)
        files = [f for f in os.listdir(f"{folder}/rebasind") if f.startswith("kernel-")]
        equal(len(files), 1)


if __name__ == "__main__":
    run([test_the_kernel_is_told, test_a_job_tells_its_environment, test_a_better_kernel_is_taken_once_and_kept,
         test_what_jobs_took_is_known_after_a_restart_and_to_their_kernel_alone,
         test_a_library_that_does_not_listen_is_asked_once, test_what_the_user_says_stays,
         test_run_keeps_its_verdict_in_the_cache])
