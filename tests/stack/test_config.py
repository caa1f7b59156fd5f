import pytest

from pytools.errors import LocalProtocolError
from pytools.stack.config import StackConfig


def test_settings_override_the_defaults():
    config = StackConfig(default_ttl=9)
    assert (config.default_ttl, config.forwarding, StackConfig().default_ttl) == (9, False, 64)


@pytest.mark.parametrize("name", ["ttl", "_x", "__init__"])
def test_an_unknown_setting_is_refused(name):
    with pytest.raises(LocalProtocolError, match=f"there is no stack setting '{name}'"):
        StackConfig(**{name: 1})
