"""Text encoder and UNet. First the text encoder alone learns to say what a picture looks like (no noise, a small head that
paints latents from its tokens): a caption of ours leaves little open, so this is most of what the denoiser has to know,
at a third of the price. Then both learn to denoise together."""
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import nn
from torch.nn import functional as F

import scenes as pictures
import steps
import words


def build_unet(preset):
    down = ["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in preset.attention]
    up = ["CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(preset.attention)]
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=preset.channels, layers_per_block=1,
        down_block_types=down, up_block_types=up, cross_attention_dim=preset.text_width, use_linear_projection=True,
        attention_head_dim=[channels // 32 for channels in preset.channels])


def build_scheduler():
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading")


class Painter(nn.Module):
    """64 places, each of which asks the tokens twice and then paints its 2×2 latents."""

    def __init__(self, text_width, width=192, heads=6):
        super().__init__()
        self.places = nn.Parameter(torch.randn(64, width) * 0.5)
        self.heads = heads
        self.blocks = nn.ModuleList([nn.ModuleDict({
            "norm": nn.LayerNorm(width), "query": nn.Linear(width, width),
            "pair": nn.Linear(text_width, 2 * width), "out": nn.Linear(width, width),
            "mlp": nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)),
        }) for _ in range(2)])
        self.paint = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 16))

    def questions(self, tokens):
        """What each block asks: its queries, (n, 64, width)."""
        asked = []
        self.forward(tokens, asked)
        return asked

    def forward(self, tokens, asked=None):
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        x = self.places.expand(len(tokens), -1, -1)
        for block in self.blocks:
            key, value = block["pair"](tokens).chunk(2, -1)
            query = block["query"](block["norm"](x))
            if asked is not None:
                asked.append(query)
            seen = F.scaled_dot_product_attention(split(query), split(key), split(value))
            x = x + block["out"](seen.transpose(1, 2).flatten(2))
            x = x + block["mlp"](x)
        return F.pixel_shuffle(self.paint(x).transpose(1, 2).unflatten(-1, (8, 8)), 2)


class Batches(torch.utils.data.Dataset):
    """Number → captions as token rows, which scenes, timesteps and noise of that step. Made by other processes where
    there are cores for it: a GPU does not wait for captions."""

    def __init__(self, stage, scenes, drawings, vocabulary, preset, seed, count, steps_in_all, openness):
        self.stage, self.scenes, self.drawings, self.vocabulary = stage, scenes, drawings, vocabulary
        self.styles, self.seed, self.count, self.steps, self.openness = (
            len(preset.styles), seed, count, steps_in_all, openness)
        self.whites = torch.tensor([i for i, scene in enumerate(scenes)
                                    if scene["size"] == 1.0 and scene["colour"] == "white"])

    def __len__(self):
        return self.steps

    def __getitem__(self, number):
        generator = steps.randomness(self.seed, self.stage, number)
        chosen = torch.randint(len(self.scenes), (self.count,), generator=generator)
        white = torch.randint(len(self.whites), (self.count,), generator=generator)
        more_white = torch.rand(self.count, generator=generator) < 0.15
        chosen = torch.where(more_white, self.whites[white], chosen)
        texts = [pictures.words(self.scenes[i], self.drawings, self.styles, generator, **self.openness)
                 for i in chosen.tolist()]
        rows = self.vocabulary.batch(texts, generator)
        noise = torch.randn((self.count, 4, 16, 16), generator=generator)
        # more often rather noisy than rather clean, above all in the beginning: that is where the words decide
        lean = 0.3 + 0.5 * number / self.steps
        timesteps = (1000 * torch.rand(self.count, generator=generator) ** lean).long().clamp(max=999)
        return rows, chosen, noise, timesteps


class Apprenticeship(nn.Module):
    """The painter has learned where to look in the tokens for each of 8×8 places; the UNet's cross-attention in the up
    block of that size starts with the painter's keys and values, and is told what the painter would ask there. Besides,
    what that block has made of the tokens must already show the picture. Only training knows of this."""

    def __init__(self, painter, unet, level):
        super().__init__()
        self.painter = painter.eval().requires_grad_(False)
        attentions = unet.up_blocks[len(unet.up_blocks) - 1 - level].attentions
        self.show = nn.Conv2d(attentions[0].in_channels, 16, 1)
        self.asked, self.heads = {}, []
        for number, (attention, block) in enumerate(zip(attentions, painter.blocks)):
            layer = attention.transformer_blocks[0].attn2
            weight = block["out"].weight.detach().unflatten(1, (painter.heads, -1))  # (width, heads, 32)
            best = weight.square().sum((0, 2)).topk(layer.heads).indices.sort().values
            self.heads.append(best)
            key, value = block["pair"].weight.detach().chunk(2)
            with torch.no_grad():  # biases: of a key it does nothing, of a value the next layer's bias takes care
                layer.to_k.weight.copy_(key.unflatten(0, (painter.heads, -1))[best].flatten(0, 1))
                layer.to_v.weight.copy_(value.unflatten(0, (painter.heads, -1))[best].flatten(0, 1))
            layer.to_q.register_forward_hook(self.remember(number))
        attentions[len(painter.blocks) - 1].register_forward_hook(self.remember("picture"))

    def remember(self, name):
        def hook(_, __, output):
            self.asked[name] = output[0] if isinstance(output, tuple) else output
        return hook

    def loss(self, tokens, clean):
        """After the UNet's forward pass, on the same tokens."""
        with torch.no_grad():
            questions = self.painter.questions(tokens.float())
        loss = 0
        for number, best in enumerate(self.heads):
            wanted = questions[number].unflatten(-1, (self.painter.heads, -1))[:, :, best].flatten(2)
            loss = loss + F.mse_loss(self.asked[number].float(), wanted.float()) / wanted.float().var()
        shown = F.pixel_shuffle(self.show(self.asked["picture"].float()), 2)
        return 0.2 * loss + F.mse_loss(shown, clean)


def schedule_rates(optimizer, number, total):
    for group in optimizer.param_groups:
        group["lr"] = steps.learning_rate(number, total, group["peak"])


def pretrain_text(encoder, material, preset, folder, device, seed, clock):
    """`material`: scenes, their latents, drawings, vocabulary. Returns the painter."""
    scenes, latents, drawings, vocabulary = material
    batches = Batches("text", scenes, drawings, vocabulary, preset, seed, preset.text_batch, preset.text_steps,
                      {"empty": 0, "silent": 0})
    torch.manual_seed(seed + 1)
    painter = Painter(preset.text_width).to(device).train()
    encoder.train()
    parameters = [*encoder.parameters(), *painter.parameters()]
    optimizer = torch.optim.AdamW([{"params": parameters, "peak": preset.text_rate}], weight_decay=1e-2, betas=(0.9, 0.98))

    def step(number, batch):
        rows, chosen, _, _ = batch
        schedule_rates(optimizer, number, preset.text_steps)
        with torch.autocast(device, torch.bfloat16, enabled=preset.bf16):
            painted = painter(encoder(rows).last_hidden_state)
        loss = F.mse_loss(painted.float(), latents[chosen].float())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss

    steps.train("text", folder, preset.text_steps, step,
                {"encoder": encoder, "painter": painter, "optimizer": optimizer}, clock, batches, device)
    return painter


def predict(unet, clean, noise, alpha, timesteps, tokens):
    """What the UNet says of pictures noised to `timesteps`, where `alpha` of their variance is left, and the v that it
    should say."""
    noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
    return unet(noisy.contiguous(memory_format=torch.channels_last), timesteps, tokens).sample, velocity


def train(encoder, unet, painter, material, preset, folder, device, seed, clock):
    """Both together (without a `text_share`: the UNet alone); leaves the averages in `encoder` and `unet`. `material` as
    above; `painter`: what `pretrain_text` returned."""
    scenes, latents, drawings, vocabulary = material
    batches = Batches("denoiser", scenes, drawings, vocabulary, preset, seed, preset.batch, preset.steps, {})
    unet = unet.to(device, memory_format=torch.channels_last).train()
    encoder.train().requires_grad_(preset.text_share > 0)
    teacher = Apprenticeship(painter, unet, level=1).to(device)
    optimizer = torch.optim.AdamW(
        [{"params": list(unet.parameters()), "peak": preset.rate},
         {"params": list(encoder.parameters()), "peak": preset.rate * preset.text_share},
         {"params": list(teacher.show.parameters()), "peak": preset.rate}],
        weight_decay=1e-2, betas=(0.9, 0.99), fused=True)
    average = steps.Average([unet, encoder], preset.average)
    kept = build_scheduler().alphas_cumprod.to(device)  # share of the picture's variance that is left at a timestep

    def step(number, batch):
        rows, chosen, noise, timesteps = batch
        schedule_rates(optimizer, number, preset.steps)
        clean, alpha = latents[chosen].float(), kept[timesteps][:, None, None, None]
        with torch.autocast(device, torch.bfloat16, enabled=preset.bf16):
            tokens = encoder(rows).last_hidden_state
            predicted, velocity = predict(unet, clean, noise, alpha, timesteps, tokens)
        # An error of v is one of the picture, times 1 + SNR: little is gained by the last bit of a picture that is
        # nearly clean, so that factor is cut off, as min-SNR weighting does (which for v would also take weight off
        # the noisiest timesteps, where the words decide everything).
        weight = (preset.min_snr * (1 - alpha)).clamp(max=1)
        loss = (weight * (predicted.float() - velocity) ** 2).mean()
        optimizer.zero_grad()
        (loss + preset.teach * teacher.loss(tokens, clean)).backward()
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        if preset.text_share > 0:
            nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        average.update()
        return loss

    parts = {"unet": unet, "encoder": encoder, "show": teacher.show, "optimizer": optimizer, "average": average}
    steps.train("denoiser", folder, preset.steps, step, parts, clock, batches, device)
    average.swap()
    unet.eval()
    encoder.eval().requires_grad_(True)


class Evenly(torch.utils.data.Dataset):
    """Number → what that step of settling learns from, as `Batches`: timesteps evenly; some pictures are strangers, which
    come behind the scenes and have no caption, and some of those with little noise have another's caption."""

    def __init__(self, scenes, strangers, drawings, vocabulary, preset, seed):
        self.scenes, self.strangers, self.drawings, self.vocabulary = scenes, strangers, drawings, vocabulary
        self.preset, self.seed = preset, seed

    def __len__(self):
        return self.preset.settle_steps

    def __getitem__(self, number):
        generator = steps.randomness(self.seed, "settle", number)
        count, known = self.preset.batch, len(self.scenes)
        told = torch.randint(known, (count,), generator=generator)
        other = known + torch.randint(self.strangers, (count,), generator=generator)
        chosen = torch.where(torch.rand(count, generator=generator) < self.preset.strangers, other, told)
        timesteps = torch.randint(1000, (count,), generator=generator)
        astray = (torch.rand(count, generator=generator) < 0.3) & (timesteps < 300)
        told = torch.where(astray, torch.randint(known, (count,), generator=generator), told)
        texts = ["" if scene >= known and not wrong else
                 pictures.words(self.scenes[text], self.drawings, len(self.preset.styles), generator)
                 for scene, text, wrong in zip(chosen.tolist(), told.tolist(), astray.tolist())]
        noise = torch.randn((count, 4, 16, 16), generator=generator)
        return self.vocabulary.batch(texts, generator), chosen, noise, timesteps


def settle(encoder, unet, material, strangers, preset, folder, device, seed, clock):
    """A caption of ours leaves so little open that the UNet paints from words alone, and hardly looks at a picture that
    is nearly clean. Here it learns to: every timestep as often, every error of v as grave, also on pictures that no
    caption tells of. `strangers`: their latents. Leaves the average in `unet`."""
    scenes, latents, drawings, vocabulary = material
    latents = torch.cat([latents, strangers.to(latents)])
    batches = Evenly(scenes, len(strangers), drawings, vocabulary, preset, seed)
    unet.train()
    encoder.eval().requires_grad_(False)
    optimizer = torch.optim.AdamW([{"params": list(unet.parameters()), "peak": preset.settle_rate}],
                                  weight_decay=1e-2, betas=(0.9, 0.99), fused=True)
    average = steps.Average([unet], 0.995)
    kept = build_scheduler().alphas_cumprod.to(device)

    def step(number, batch):
        rows, chosen, noise, timesteps = batch
        schedule_rates(optimizer, number, preset.settle_steps)
        with torch.autocast(device, torch.bfloat16, enabled=preset.bf16):
            tokens = encoder(rows).last_hidden_state
            clean, alpha = latents[chosen].float(), kept[timesteps][:, None, None, None]
            predicted, velocity = predict(unet, clean, noise, alpha, timesteps, tokens)
        loss = F.mse_loss(predicted.float(), velocity)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        average.update()
        return loss

    steps.train("settle", folder, preset.settle_steps, step,
                {"unet": unet, "optimizer": optimizer, "average": average}, clock, batches, device)
    average.swap()
    unet.eval()
    encoder.requires_grad_(True)
