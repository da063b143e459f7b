"""The bundled language model: a small Qwen2 trained on generated text for the three tasks of rewrite_llm."""
