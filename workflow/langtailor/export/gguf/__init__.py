"""Files for llama.cpp: architectures, tokenizers, and llama.cpp itself to certify them."""
