"""Run rewrite_llm: `python -m services.rewrite_llm`."""

from servekit.app import run
from services.rewrite_llm.bootstrap import build
from services.rewrite_llm.settings import RewriteSettings

if __name__ == "__main__":
    run(build(RewriteSettings()))
