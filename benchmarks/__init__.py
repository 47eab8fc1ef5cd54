"""Programs that measure. Threads wait in them as they do in the service."""

import models  # noqa: F401  # it says how, before a benchmark loads torch
