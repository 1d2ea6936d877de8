"""A small completion server whose layers are autotuned Triton kernels of our own.

It exists to show, on any machine, what a cold start costs and what is left of it when tuning
results are kept. ``tuneonce demo serve`` or ``python -m tuneonce.demo`` starts it; on a machine
without a GPU the kernels run in Triton's interpreter, with sizes to match.

    presets    sizes of the two models
    kernels    the Triton kernels; the only part that imports triton (and torch) when imported
    reference  the same functions in plain PyTorch
    model      the language model: weights, prefill, decode, sampling
    tokenizer  bytes to tokens, tokens to text
    engine     one thread that runs the model, requests in order of arrival
    protocol   what a completion request and its answers look like
    server     HTTP
"""
