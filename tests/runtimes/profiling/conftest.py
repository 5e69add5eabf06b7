"""Here measuring itself is tested."""

import pytest
from short_measurements import as_for_users


@pytest.fixture(autouse=True)
def whole_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are taken as they are for users."""
    as_for_users(monkeypatch)
