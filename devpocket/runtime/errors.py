"""What a runtime raises."""

from devpocket.errors import DevPocketError


class RuntimeFailure(DevPocketError):
    """The environment cannot do what was asked; ``public`` is a sentence for its user."""

    default_code = "runtime_failure"
