"""The model on the plain PyTorch operators; tests/kernels runs it on the kernels."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from tuneonce.demo import presets, reference  # noqa: E402
from tuneonce.demo.model import Model  # noqa: E402
from tuneonce.demo.tokenizer import EOS  # noqa: E402

PROMPT = [72, 101, 5_000, 108, 32_767, 0, 111]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(presets.CPU, reference)


def test_the_same_weights_on_every_start(model: Model) -> None:
    logits, states = model.prefill(PROMPT)
    again, states_again = Model(presets.CPU, reference).prefill(PROMPT)
    assert torch.equal(logits, again)
    assert all(map(torch.equal, states, states_again))
    other = Model(dataclasses.replace(presets.CPU, seed=1), reference)
    assert not torch.equal(logits, other.prefill(PROMPT)[0])


def test_reading_a_token_more_equals_reading_a_longer_prompt(model: Model) -> None:
    whole, states = model.prefill(PROMPT)
    _, stepped_states = model.prefill(PROMPT[:4])
    for token in PROMPT[4:]:
        stepped = model.step(token, stepped_states)
    assert torch.equal(whole, stepped)
    for state, stepped_state in zip(states, stepped_states, strict=True):
        torch.testing.assert_close(state, stepped_state, rtol=0, atol=1e-9)


def test_logits_and_kept_state_are_whole_numbers(model: Model) -> None:
    logits, states = model.prefill(PROMPT * 20)
    assert torch.equal(logits, logits.round())
    for state in states:
        # But for what is left of dropped state.
        assert (state - state.round()).abs().max() < 1e-9


def test_noise_in_attention_does_not_reach_the_logits(model: Model) -> None:
    class Noisy:
        """The reference, off by more than any order of summation makes of it."""

        def __getattr__(self, name: str) -> object:
            return getattr(reference, name)

        def gla_prefill(
            self,
            q: torch.Tensor,
            k: torch.Tensor,
            v: torch.Tensor,
            g: torch.Tensor,
            *,
            chunk: int,
        ) -> tuple[torch.Tensor, torch.Tensor]:
            o, state = reference.gla_prefill(q, k, v, g)
            return o + 0.01 * torch.rand_like(o), state

    noisy = Model(presets.CPU, Noisy())
    assert torch.equal(model.prefill(PROMPT)[0], noisy.prefill(PROMPT)[0])


def test_every_prompt_and_token_matters(model: Model) -> None:
    prompts = [PROMPT, PROMPT[1:], [1, *PROMPT[1:]], [*PROMPT[:-1], 1], PROMPT[::-1]]
    answers = [tuple(model.generate(prompt, max_tokens=6)) for prompt in prompts]
    assert len(set(answers)) == len(prompts)
    # No endless repetition of one token.
    assert all(len(set(answer)) > 1 for answer in answers)


def test_heads_forget_at_different_rates(model: Model) -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, presets.CPU.vocab_size, (500,), generator=generator)
    seen = []

    class Watching:
        def __getattr__(self, name: str) -> object:
            return getattr(reference, name)

        def gla_prefill(self, q: object, k: object, v: object, g: torch.Tensor, *, chunk: int):
            seen.append(g)
            return reference.gla_prefill(q, k, v, g)

    Model(presets.CPU, Watching()).prefill(tokens.tolist())
    for g in seen:
        assert ((g == 0) | (g <= -32)).all()
        dropped = (g < 0).float().mean(dim=0)
        assert 0.05 < dropped[0] < 0.25
        assert 0 < dropped[1] < dropped[0]


def test_sampling_repeats_with_its_seed(model: Model) -> None:
    def sample(seed: int, temperature: float = 1.0) -> list[int]:
        return list(model.generate(PROMPT, max_tokens=5, temperature=temperature, seed=seed))

    greedy = list(model.generate(PROMPT, max_tokens=5))
    assert sample(1) == sample(1)
    assert len({tuple(sample(seed)) for seed in range(4)} | {tuple(greedy)}) == 5
    assert sample(1, temperature=1e-6) == greedy


def test_the_end_of_text_token_ends_an_answer(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = iter([300, EOS, 301, 302])
    monkeypatch.setattr(model, "_choose", lambda *args: next(tokens))
    assert list(model.generate(PROMPT, max_tokens=4)) == [300, EOS]
    tokens = iter([300, EOS, 301, 302])
    assert list(model.generate(PROMPT, max_tokens=3, ignore_eos=True)) == [300, EOS, 301]


def test_ties_go_to_the_lowest_token(model: Model) -> None:
    logits = torch.zeros(presets.CPU.vocab_size)
    logits[[7, 30, 40]] = torch.tensor([5.0, 6.0, 6.0])
    assert model._choose(logits, 0, torch.Generator()) == 30


@pytest.mark.parametrize("preset", presets.PRESETS.values(), ids=presets.PRESETS)
def test_presets_stay_where_sums_are_exact(preset: presets.ModelConfig) -> None:
    assert preset.hidden * 64**2 < 2**24
    # Attention: keys of ±1, values up to 3, read by queries of ±1.
    assert preset.head_dim * preset.max_model_len * 3 < 2**24
    # Products within a chunk are kept in the model's dtype; bfloat16 is exact up to 256.
    assert preset.head_dim <= 256
