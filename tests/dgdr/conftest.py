from tests.kubernetes.conftest import fake

__all__ = ["fake"]
