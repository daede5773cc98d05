from __future__ import annotations
class Sweep:
    pass
