# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Codecs, profiles and models by name: what calls take as strings or paths, as objects."""

from __future__ import annotations

import os
from typing import Union

from . import _core
from .errors import InvalidArgument, WrongProfile

PathLike = Union[str, "os.PathLike[str]"]
CodecLike = Union[str, _core.Codec]
ProfileLike = Union[PathLike, _core.Profile, None]


def profile_of(profile: ProfileLike) -> _core.Profile | None:
    if profile is None or isinstance(profile, _core.Profile):
        return profile
    return _core.Profile.load(os.fspath(profile))


def codec_of(codec: CodecLike, profile: ProfileLike = None) -> _core.Codec:
    """A codec with its profile; one that needs none ignores it."""
    spec = codec if isinstance(codec, str) else codec.spec
    loaded = profile_of(profile)
    if loaded is None and not isinstance(codec, str):
        return codec
    return _core.Codec(spec, loaded)


def fingerprint_of(model: _core.Model | str | None, profile: _core.Profile | None) -> str:
    """By which a frame or a store names the model whose caches it holds; empty: not named."""
    if isinstance(model, _core.Model):
        model = model.fingerprint
    if model is None:
        return profile.model if profile else ""
    if profile and model and profile.model != model:
        raise WrongProfile(f"the profile is of model {profile.model[:16]}, the cache of model {model[:16]}")
    return model


def rope_of(rope: _core.Rope | None, model: _core.Model | str | None, profile: _core.Profile | None) -> _core.Rope:
    """The one given, else that of the profile or the model, else none."""
    if rope is not None:
        return rope
    if profile is not None:
        return profile.shape.rope
    return model.shape().rope if isinstance(model, _core.Model) else _core.Rope()


def runtime_of(codec: _core.Codec, model: _core.Model | str | None) -> _core.Model | None:
    """The model that a codec runs. Errors: InvalidArgument (it needs one)."""
    if not codec.needs_model:
        return None
    if not isinstance(model, _core.Model):
        raise InvalidArgument(f"codec {codec.spec} needs the model: model=seqkv.Model.load(folder)")
    return model
