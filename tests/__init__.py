"""The tests; what supports them explains its failed assertions as they do."""

import pytest

pytest.register_assert_rewrite("tests.support")
