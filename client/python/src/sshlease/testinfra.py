# SPDX-License-Identifier: MIT
"""The testinfra backend `sshlease://TARGET`: existing testinfra suites run over the daemon's pool.

With the pytest plugin it is there by itself (`--hosts=sshlease://web1`); elsewhere `import sshlease.testinfra` makes
`testinfra.get_host("sshlease://web1")` work. Where testinfra is not installed, importing this does nothing.
"""

__all__ = ["register"]


def register() -> bool:
    """Tells testinfra of the backend; once or often makes no difference. False where testinfra is not installed."""
    try:
        from testinfra.backend import BACKENDS
    except ImportError:
        return False
    BACKENDS.setdefault("sshlease", "sshlease._testinfra_backend.SshleaseBackend")
    return True


register()
