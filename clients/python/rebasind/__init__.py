"""Client of rebasind, the daemon that merges Transformers trained from different seeds.

    import rebasind as rb
    c = rb.Client("http://merge.lab:8686")             # token from $REBASIND_TOKEN
    a, b = c.model("runs/s1"), c.model("runs/s2")      # uploads, or finds again by digest
    al, ev = c.text("align.txt"), c.text("eval.txt")
    job = c.merge(a, b, align=al, evaluate=ev, task="mlm", merged=[0.5]).wait(progress=True)
    print(job.sentence())
    job.merged(0.5).save("out/")

Only Python's standard library is needed; pandas, matplotlib and IPython are used where they are.
"""
from .client import Client, Resource
from .errors import BadInput, Busy, Conflict, Error, JobFailed, NotAllowed, NotFound, Unreachable
from .jobs import Barrier, Job, Merged
from .sweeps import Sweep

__version__ = "0.1.0"
__all__ = ["Client", "Resource", "Job", "Barrier", "Merged", "Sweep", "Error", "Unreachable", "NotAllowed", "NotFound",
           "Conflict", "BadInput", "Busy", "JobFailed"]
