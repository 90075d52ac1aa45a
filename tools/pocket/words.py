"""Text to token ids and to what the UNet attends to. CLIP has 49,408 tokens and our captions use some two thousand:
training keeps a table of those and one more row, "any other token", which all the rest of CLIP's tokens get at the end.
So a word that was never seen does no harm."""
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import captions

LENGTH = 77
OTHER = 0
TEMPLATES = ("a an the of in on at and to left right above below top bottom small medium drawing style "
             "background noto flat glossy ,")


class Vocabulary:
    def __init__(self, folder, table):
        """`folder`: CLIP's vocab.json and merges.txt. `table`: the drawings' rows."""
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        texts = {TEMPLATES, " ".join(captions.NAMES)}
        texts |= {row["label"] for row in table} | {tag for row in table for tag in row["tags"]}
        used = set()
        for text in sorted(texts):
            used |= set(self.tokenizer(text).input_ids)
        self.clip_ids = [None] + sorted(used)  # row of the small table → CLIP's id
        self.rows = {clip_id: row for row, clip_id in enumerate(self.clip_ids) if row != OTHER}
        self.start = self.rows[self.tokenizer.bos_token_id]
        self.end = self.rows[self.tokenizer.eos_token_id]
        self.known = {}

    def __len__(self):
        return len(self.clip_ids)

    def row(self, text):
        """(77,) rows of the small table, padded with the end token as Stable Diffusion's tokenizer is told to here."""
        if text not in self.known:
            ids = self.tokenizer(text, truncation=True, max_length=LENGTH).input_ids
            rows = [self.rows.get(clip_id, OTHER) for clip_id in ids]
            self.known[text] = torch.tensor(rows + [self.end] * (LENGTH - len(rows)))
        return self.known[text]

    def batch(self, texts, generator=None, strange=0.1):
        """(n, 77). With a generator: in some captions an "other" token is put somewhere between start and end."""
        rows = torch.stack([self.row(text) for text in texts])
        if generator is not None:
            for row in rows:
                if captions.chance(strange, generator) and row[1] != self.end:
                    last = int((row == self.end).nonzero()[0])
                    where = int(torch.randint(1, last + 1, (1,), generator=generator))
                    row[where + 1:] = row[where:-1].clone()
                    row[where] = OTHER
        return rows


def build_encoder(preset, vocabulary_size):
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=vocabulary_size, hidden_size=preset.text_width, intermediate_size=4 * preset.text_width,
        num_hidden_layers=preset.text_layers, num_attention_heads=preset.text_heads, hidden_act="gelu",
        projection_dim=preset.text_width, max_position_embeddings=LENGTH,
        bos_token_id=0, eos_token_id=0, pad_token_id=0))  # the last hidden state does not depend on these three


@torch.no_grad()
def full_encoder(encoder, preset, vocabulary):
    """The encoder with CLIP's whole vocabulary, as it is written to the folder."""
    full = CLIPTextModel(CLIPTextConfig(**{
        **encoder.config.to_dict(), "vocab_size": len(vocabulary.tokenizer), "bos_token_id": 49406,
        "eos_token_id": 49407, "pad_token_id": 49407}))
    state = encoder.state_dict()
    name = next(key for key in state if key.endswith("token_embedding.weight"))
    small = state[name]
    table = small[OTHER].repeat(len(vocabulary.tokenizer), 1)
    for clip_id, row in vocabulary.rows.items():
        table[clip_id] = small[row]
    full.load_state_dict({**state, name: table})
    return full.eval()
