"""How often a model is wrong: exact match of all n + 2 tokens of the answer, in one pass over the true text.

If every token is the most likely one after the true tokens before it, greedy decoding writes just these, and else it
departs at the first that is not; so one pass decides what decoding would.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from carryproof.circuits.texts import Problems, context, prompt_length, write
from carryproof.models.decoder import Decoder
from carryproof.models.stack import Stack

PROBLEMS_AT_ONCE = 2_048


@torch.inference_mode()
def right(model: Decoder, problems: Problems) -> NDArray[np.bool_]:
    """Whether each problem is answered right, in single precision."""
    stack, start = Stack([model]), prompt_length(problems.digits)
    device = model.embed.W_E.device
    ids, rows = torch.arange(context(problems.digits) - 1, device=device)[None, None], slice(start - 1, None)
    found = []
    for low in range(0, len(problems), PROBLEMS_AT_ONCE):
        texts = torch.from_numpy(write(problems.at(slice(low, low + PROBLEMS_AT_ONCE)))).to(device)
        logits = stack.logits(texts[None, :, :-1], ids, rows, torch.float32)[0]
        found.append((logits.argmax(-1) == texts[:, start:]).all(dim=1).cpu().numpy())
    return np.concatenate(found)
