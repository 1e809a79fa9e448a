"""What a runtime raises."""

from devpocket.errors import DevPocketError


class DriverError(DevPocketError):
    """The environment cannot do what was asked; ``public`` is a sentence for its user."""

    default_code = "driver_error"
