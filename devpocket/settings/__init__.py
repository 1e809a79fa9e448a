"""Settings from the environment and ``.env``: frozen dataclasses, one per concern."""

from devpocket.settings.load import all_settings, load_settings
from devpocket.settings.model import (
    AuthSettings,
    BusSettings,
    HttpSettings,
    LimitSettings,
    LocalNetwork,
    LocalSandbox,
    LogFormat,
    LogLevel,
    MailSettings,
    ObservationSettings,
    OwnershipSettings,
    RuntimeKind,
    RuntimeSettings,
    ServerSettings,
    Settings,
    StoreSettings,
)
from devpocket.settings.plans import load_plans
from devpocket.settings.values import Secret, Url

__all__ = [
    "AuthSettings",
    "BusSettings",
    "HttpSettings",
    "LimitSettings",
    "LocalNetwork",
    "LocalSandbox",
    "LogFormat",
    "LogLevel",
    "MailSettings",
    "ObservationSettings",
    "OwnershipSettings",
    "RuntimeKind",
    "RuntimeSettings",
    "Secret",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "Url",
    "all_settings",
    "load_plans",
    "load_settings",
]
