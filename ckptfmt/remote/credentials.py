"""Keys of stores, from where the provider's own tools keep them; they are handed on and nowhere kept or told.

What the environment says (`AWS_ACCESS_KEY_ID`, `AZURE_STORAGE_ACCOUNT_KEY`, `GOOGLE_APPLICATION_CREDENTIALS`, roles of
machines and pods) is read by the store's client itself. It does not read the two files of the AWS tools.
"""

import configparser
import os
from collections.abc import Mapping

__all__ = ["aws_settings", "azure_settings"]

# What each field of a profile is called by the client, and in the environment, which comes first.
_FIELDS = {
    "aws_access_key_id": ("access_key_id", ("AWS_ACCESS_KEY_ID",)),
    "aws_secret_access_key": ("secret_access_key", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
    "aws_session_token": ("session_token", ("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN")),
    "region": ("region", ("AWS_REGION", "AWS_DEFAULT_REGION")),
    "endpoint_url": ("endpoint", ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")),
}


def aws_settings() -> dict[str, str]:
    """Return what the profile `AWS_PROFILE` of the AWS tools says and the environment does not."""
    profile = os.environ.get("AWS_PROFILE") or "default"
    shared = _section(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials", profile)
    named = profile if profile == "default" else f"profile {profile}"
    said = {**_section(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config", named), **shared}
    return {
        ours: said[name]
        for name, (ours, variables) in _FIELDS.items()
        if name in said and not any(map(os.environ.get, variables))
    }


def azure_settings() -> dict[str, bool]:
    """Return that the login of the Azure tools is to be used where the environment holds no key."""
    keys = ("ACCOUNT_KEY", "ACCESS_KEY", "SAS_KEY", "SAS_TOKEN", "CLIENT_ID", "TOKEN", "USE_EMULATOR")
    given = any(os.environ.get(f"AZURE_STORAGE_{name}") or os.environ.get(f"AZURE_{name}") for name in keys)
    tools = os.path.exists(os.path.expanduser(os.environ.get("AZURE_CONFIG_DIR") or "~/.azure/azureProfile.json"))
    return {"use_azure_cli": True} if tools and not given else {}


def _section(file: str, name: str) -> Mapping[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(os.path.expanduser(file), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}
    return dict(parser[name]) if parser.has_section(name) else {}
