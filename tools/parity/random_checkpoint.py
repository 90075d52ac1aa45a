#!/usr/bin/env python3
"""Writes a Stable Diffusion checkpoint of full size with random weights, in the diffusers folder layout: what a real one
takes of time and memory, and what diffusers makes of it, without 5 GB from the hub.

    python tools/parity/random_checkpoint.py sd15|sd2 FOLDER [--dtype float16|bfloat16|float32] [--seed N]
                                             [--max-shard-size 1GB]

The vocabulary is that of the bundled model, which is OpenAI CLIP's. Files of float16 are named as variant fp16. Weights are
what diffusers' and transformers' classes begin with. Needs the packages of tools/fixtures/requirements.txt, and 9 GB of
memory.
"""
import argparse
import pathlib

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TOKENIZER = pathlib.Path(__file__).resolve().parents[2] / "models" / "pocket" / "tokenizer"

KINDS = {
    "sd15": dict(
        heads=8, cross=768, linear=False, pad="<|endoftext|>", prediction="epsilon", size=64,
        text=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                  hidden_act="quick_gelu", projection_dim=768)),
    "sd2": dict(
        heads=[5, 10, 20, 20], cross=1024, linear=True, pad="!", prediction="v_prediction", size=96,
        text=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16,
                  hidden_act="gelu", projection_dim=512)),
}


def write(kind, folder, dtype=torch.float16, seed=0, max_shard_size="10GB"):
    """The checkpoint of `kind` in `folder`."""
    sizes = KINDS[kind]
    torch.manual_seed(seed)
    text_encoder = CLIPTextModel(CLIPTextConfig(
        vocab_size=49408, max_position_embeddings=77, bos_token_id=49406, eos_token_id=49407, pad_token_id=1, **sizes["text"]))
    unet = UNet2DConditionModel(
        sample_size=sizes["size"], in_channels=4, out_channels=4, layers_per_block=2,
        block_out_channels=(320, 640, 1280, 1280),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=sizes["cross"], attention_head_dim=sizes["heads"], use_linear_projection=sizes["linear"])
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, layers_per_block=2, latent_channels=4, sample_size=sizes["size"] * 8,
        block_out_channels=(128, 256, 512, 512), scaling_factor=0.18215,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, prediction_type=sizes["prediction"], timestep_spacing="leading")
    tokenizer = CLIPTokenizer(str(TOKENIZER / "vocab.json"), str(TOKENIZER / "merges.txt"), pad_token=sizes["pad"],
                              model_max_length=77)
    pipe = StableDiffusionPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, image_encoder=None, requires_safety_checker=False)
    variant = "fp16" if dtype == torch.float16 else None
    pipe.to(dtype=dtype).save_pretrained(folder, variant=variant, max_shard_size=max_shard_size)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder")
    parser.add_argument("--dtype", default="float16", choices=["float16", "bfloat16", "float32"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-shard-size", default="10GB")
    args = parser.parse_args()
    write(args.kind, args.folder, getattr(torch, args.dtype), args.seed, args.max_shard_size)


if __name__ == "__main__":
    main()
