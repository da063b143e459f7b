"""Run rewrite_llm: `python -m services.rewrite_llm`."""

from servekit.app import launch
from services.rewrite_llm.bootstrap import build
from services.rewrite_llm.settings import RewriteSettings

if __name__ == "__main__":
    launch(RewriteSettings, build)
