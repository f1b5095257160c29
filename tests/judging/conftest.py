"""The fixtures of judging are those of serving that need no server."""

from tests.trees.models import _no_starter, clip, make_tone, make_wav, model_folder, new_model  # noqa: F401  fixtures
