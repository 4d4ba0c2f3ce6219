"""The ``[notify]`` of lab.toml: by which ways people of a bench are told.

Belongs here: keys and what they must meet. Not here: sending (flows.notify), what is told (chiploop.questions).

No secret stands in lab.toml, which is copied into the folder of every run: a password, or the address of a webhook
that is one, comes from an environment variable or a file of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Address = Annotated[str, Field(pattern=r"^[^@\s<>,]+@[^@\s<>,]+$")]


class Way(BaseModel):
    """What every way has."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    timeout_s: float = Field(20.0, gt=0, le=120)
    """How long one attempt may take."""


class SecretNotThere(Exception):
    """A password or address that lab.toml says where to find, and it is not there."""


def secret(env: str | None, file: str | None) -> str:
    """Return a secret from an environment variable or the first line of a file; empty where neither is named.

    Raises SecretNotThere, which never says a secret.
    """
    if env is not None:
        if not os.environ.get(env):
            raise SecretNotThere(f"the environment variable {env} is not set")
        return os.environ[env]
    if file is not None:
        try:
            text = Path(file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as problem:
            raise SecretNotThere(f"{file} can not be read ({type(problem).__name__})") from problem
        if not text:
            raise SecretNotThere(f"{file} is empty")
        return text.splitlines()[0]
    return ""


class MailSettings(Way):
    """Electronic mail by SMTP."""

    host: str = Field(min_length=1)
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    """``none`` sends in the clear, and is refused beside a user."""
    ca_file: str | None = None
    """Certificates of the house's own authority; absent: those of the system."""
    sender: Address = Field(alias="from")
    to: list[Address] = Field(min_length=1)
    user: str | None = None
    password_env: str | None = None
    password_file: str | None = None

    @model_validator(mode="after")
    def _password_goes_with_the_user(self) -> MailSettings:
        named = [self.password_env, self.password_file]
        places = sum(one is not None for one in named)
        if places != (0 if self.user is None else 1):
            raise ValueError(
                "user needs one of password_env and password_file, and neither stands without user"
            )
        if self.user is not None and self.security == "none":
            raise ValueError('a password is not sent in the clear: security must not be "none"')
        return self

    @property
    def told(self) -> str:
        """Where it goes, as it may stand on record."""
        return f"{', '.join(self.to)} by {self.host}:{self.port}"


class WebhookSettings(Way):
    """A JSON object sent by POST to a chat or a service of the house."""

    url: str | None = Field(None, pattern=r"^https?://")
    url_env: str | None = None
    url_file: str | None = None
    """For an address that is a secret itself, as those of chats are."""

    @model_validator(mode="after")
    def _one_address(self) -> WebhookSettings:
        if sum(one is not None for one in (self.url, self.url_env, self.url_file)) != 1:
            raise ValueError("one of url, url_env and url_file is needed")
        return self

    @property
    def told(self) -> str:
        """Where it goes, as it may stand on record: never the address, which may be a secret."""
        return "webhook"


class DesktopSettings(Way):
    """A notice on the screen of the bench's computer."""

    @property
    def told(self) -> str:
        """Where it goes."""
        return "this computer's desktop"


class NotifySettings(BaseModel):
    """The ways of a bench; an absent one is not used."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    mail: MailSettings | None = None
    webhook: WebhookSettings | None = None
    desktop: DesktopSettings | None = None

    def ways(self) -> dict[str, MailSettings | WebhookSettings | DesktopSettings]:
        """Return name -> settings of every way that is used."""
        named = {"mail": self.mail, "webhook": self.webhook, "desktop": self.desktop}
        return {name: way for name, way in named.items() if way is not None}


WAYS: dict[str, type[Way]] = {
    "mail": MailSettings,
    "webhook": WebhookSettings,
    "desktop": DesktopSettings,
}
"""Key below ``[notify]`` -> its settings."""
