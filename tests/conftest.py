"""What holds for every test: a fork of the test process ends as it should, whatever ran in it before."""

import os
import threading


def _forget_services() -> None:
    """Leave Prefect's services to the parent: in a fork, their calls at the end of the process fail (Prefect 3.8)."""
    kept = [one for one in threading._threading_atexits if not _is_of_prefect(one)]
    threading._threading_atexits[:] = kept


def _is_of_prefect(call) -> bool:
    owner = getattr(getattr(call, "func", call), "__self__", None)
    return type(owner).__module__.partition(".")[0] == "prefect"


os.register_at_fork(after_in_child=_forget_services)
