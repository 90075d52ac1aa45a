//! The table of the classes of modules.

use super::{Class, File, Forward};

/// A layer without parts, anywhere.
const LAYER: Class = Class { name: "", with_attentions: None, paths: &["**"], rank: None, forward: None };
/// What most forward passes have.
const FORWARD: Forward = Forward {
    file: File::Clip,
    owner: "",
    inputs: &["hidden_states"],
    reference: "",
    parediffusers: None,
    source: "",
    paper: "",
};

const CLIP: &str = "transformers/models/clip/modeling_clip.py";
const UNET: &str = "diffusers/models/unets/unet_2d_condition.py";
const BLOCKS: &str = "diffusers/models/unets/unet_2d_blocks.py";
const VAE: &str = "diffusers/models/autoencoders/vae.py";
const RADFORD: &str = "CLIP: Radford et al., 2021";
const RONNEBERGER: &str = "U-Net: Ronneberger et al., 2015";
const HE: &str = "residual blocks: He et al., 2016";
const VASWANI: &str = "attention: Vaswani et al., 2017, equation 1";
const ROMBACH: &str = "cross-attention: Rombach et al., 2022, section 3.3";
const ESSER: &str = "the autoencoder: Esser et al., 2021";
const TIMED: &[&str] = &["hidden_states", "temb"];
const ATTENDING: &[&str] = &["hidden_states", "encoder_hidden_states"];
const BLOCK: &[&str] = &["hidden_states", "temb", "encoder_hidden_states"];

/// Every class. The first entry whose paths and rank a module has is its class.
pub const CLASSES: &[Class] = &[
    // Layers of torch, by the rank of their weight.
    Class { name: "Conv2d", rank: Some(4), ..LAYER },
    Class {
        name: "Embedding",
        rank: Some(2),
        paths: &["**.token_embedding", "**.position_embedding"],
        ..LAYER
    },
    Class { name: "Linear", rank: Some(2), ..LAYER },
    Class {
        name: "LayerNorm",
        rank: Some(1),
        paths: &["text_encoder.**", "**.transformer_blocks.**"],
        ..LAYER
    },
    Class { name: "GroupNorm", rank: Some(1), ..LAYER },
    // The text encoder.
    Class {
        name: "CLIPTextModel",
        paths: &["text_encoder"],
        forward: Some(Forward {
            file: File::Clip,
            owner: "ClipTextModel",
            inputs: &["input_ids"],
            reference: "CLIPTextModel.forward (transformers)",
            source: CLIP,
            paper: RADFORD,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "CLIPTextEmbeddings",
        paths: &["text_encoder.embeddings"],
        forward: Some(Forward {
            file: File::Clip,
            owner: "ClipTextEmbeddings",
            inputs: &["input_ids"],
            reference: "CLIPTextEmbeddings.forward (transformers)",
            source: CLIP,
            paper: RADFORD,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "CLIPEncoder",
        paths: &["text_encoder.encoder"],
        forward: Some(Forward {
            file: File::Clip,
            owner: "ClipEncoder",
            reference: "CLIPEncoder.forward (transformers)",
            source: CLIP,
            paper: RADFORD,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "CLIPEncoderLayer",
        paths: &["text_encoder.**.layers.*"],
        forward: Some(Forward {
            file: File::Clip,
            owner: "ClipEncoderLayer",
            reference: "CLIPEncoderLayer.forward (transformers)",
            source: CLIP,
            paper: RADFORD,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "CLIPAttention",
        paths: &["**.self_attn"],
        forward: Some(Forward {
            file: File::Clip,
            owner: "ClipAttention",
            reference: "CLIPAttention.forward (transformers)",
            source: CLIP,
            paper: VASWANI,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "CLIPMLP",
        paths: &["**.mlp"],
        forward: Some(Forward {
            file: File::Clip,
            owner: "ClipMlp",
            reference: "CLIPMLP.forward (transformers)",
            source: CLIP,
            paper: RADFORD,
            ..FORWARD
        }),
        ..LAYER
    },
    // The UNet.
    Class {
        name: "UNet2DConditionModel",
        paths: &["unet"],
        forward: Some(Forward {
            file: File::UNet,
            owner: "UNet2DConditionModel",
            inputs: &["sample", "encoder_hidden_states", "timestep_cond"],
            reference: "UNet2DConditionModel.forward",
            parediffusers: Some("PareUNet2DConditionModel.forward"),
            source: UNET,
            paper: RONNEBERGER,
        }),
        ..LAYER
    },
    Class { name: "Timesteps", paths: &["unet.time_proj"], ..LAYER },
    Class {
        name: "TimestepEmbedding",
        paths: &["unet.time_embedding"],
        forward: Some(Forward {
            file: File::Embeddings,
            owner: "TimestepEmbedding",
            inputs: &["sample", "condition"],
            reference: "TimestepEmbedding.forward",
            source: "diffusers/models/embeddings.py",
            paper: "Ho et al., 2020, appendix B",
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "DownBlock2D",
        with_attentions: Some("CrossAttnDownBlock2D"),
        paths: &["unet.down_blocks.*"],
        forward: Some(Forward {
            file: File::Blocks,
            owner: "DownBlock2D",
            inputs: BLOCK,
            reference: "CrossAttnDownBlock2D.forward, DownBlock2D.forward",
            source: BLOCKS,
            paper: RONNEBERGER,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "UNetMidBlock2DCrossAttn",
        paths: &["unet.mid_block"],
        forward: Some(Forward {
            file: File::Blocks,
            owner: "UNetMidBlock2DCrossAttn",
            inputs: BLOCK,
            reference: "UNetMidBlock2DCrossAttn.forward",
            source: BLOCKS,
            paper: RONNEBERGER,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "UpBlock2D",
        with_attentions: Some("CrossAttnUpBlock2D"),
        paths: &["unet.up_blocks.*"],
        forward: Some(Forward {
            file: File::Blocks,
            owner: "UpBlock2D",
            inputs: BLOCK,
            reference: "CrossAttnUpBlock2D.forward, UpBlock2D.forward",
            source: BLOCKS,
            paper: RONNEBERGER,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "Transformer2DModel",
        paths: &["unet.**.attentions.*"],
        forward: Some(Forward {
            file: File::Transformer,
            owner: "Transformer2DModel",
            inputs: ATTENDING,
            reference: "Transformer2DModel.forward",
            source: "diffusers/models/transformers/transformer_2d.py",
            paper: ROMBACH,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "BasicTransformerBlock",
        paths: &["**.transformer_blocks.*"],
        forward: Some(Forward {
            file: File::Transformer,
            owner: "BasicTransformerBlock",
            inputs: ATTENDING,
            reference: "BasicTransformerBlock.forward",
            source: "diffusers/models/attention.py",
            paper: ROMBACH,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "Attention",
        paths: &["**.attn1", "**.attn2"],
        forward: Some(Forward {
            file: File::Attention,
            owner: "Attention",
            inputs: ATTENDING,
            reference: "Attention.forward, AttnProcessor2_0.__call__",
            source: "diffusers/models/attention_processor.py",
            paper: VASWANI,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "FeedForward",
        paths: &["**.ff"],
        forward: Some(Forward {
            file: File::Transformer,
            owner: "FeedForward",
            reference: "FeedForward.forward",
            source: "diffusers/models/attention.py",
            paper: "Vaswani et al., 2017, section 3.3",
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "GEGLU",
        paths: &["**.ff.net.0"],
        forward: Some(Forward {
            file: File::Transformer,
            owner: "Geglu",
            reference: "GEGLU.forward",
            source: "diffusers/models/activations.py",
            paper: "GEGLU: Shazeer, 2020",
            ..FORWARD
        }),
        ..LAYER
    },
    // The VAE.
    Class { name: "AutoencoderKL", paths: &["vae"], ..LAYER },
    Class {
        name: "Encoder",
        paths: &["vae.encoder"],
        forward: Some(Forward {
            file: File::Vae,
            owner: "Encoder",
            inputs: &["sample"],
            reference: "Encoder.forward",
            source: VAE,
            paper: ESSER,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "Decoder",
        paths: &["vae.decoder"],
        forward: Some(Forward {
            file: File::Vae,
            owner: "Decoder",
            inputs: &["sample"],
            reference: "Decoder.forward",
            source: VAE,
            paper: ESSER,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "DownEncoderBlock2D",
        paths: &["vae.*.down_blocks.*"],
        forward: Some(Forward {
            file: File::Vae,
            owner: "DownEncoderBlock2D",
            reference: "DownEncoderBlock2D.forward",
            source: BLOCKS,
            paper: ESSER,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "UNetMidBlock2D",
        paths: &["vae.*.mid_block"],
        forward: Some(Forward {
            file: File::Vae,
            owner: "UNetMidBlock2D",
            reference: "UNetMidBlock2D.forward",
            source: BLOCKS,
            paper: ESSER,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "UpDecoderBlock2D",
        paths: &["vae.*.up_blocks.*"],
        forward: Some(Forward {
            file: File::Vae,
            owner: "UpDecoderBlock2D",
            reference: "UpDecoderBlock2D.forward",
            source: BLOCKS,
            paper: ESSER,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "Attention",
        paths: &["vae.**.attentions.*"],
        forward: Some(Forward {
            file: File::Attention,
            owner: "SpatialAttention",
            reference: "Attention.forward",
            source: "diffusers/models/attention_processor.py",
            paper: VASWANI,
            ..FORWARD
        }),
        ..LAYER
    },
    // Of both.
    Class {
        name: "ResnetBlock2D",
        paths: &["**.resnets.*"],
        forward: Some(Forward {
            file: File::Resnet,
            owner: "ResnetBlock2D",
            inputs: TIMED,
            reference: "ResnetBlock2D.forward",
            source: "diffusers/models/resnet.py",
            paper: HE,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "Downsample2D",
        paths: &["**.downsamplers.*"],
        forward: Some(Forward {
            file: File::Resnet,
            owner: "Downsample2D",
            reference: "Downsample2D.forward",
            source: "diffusers/models/downsampling.py",
            paper: RONNEBERGER,
            ..FORWARD
        }),
        ..LAYER
    },
    Class {
        name: "Upsample2D",
        paths: &["**.upsamplers.*"],
        forward: Some(Forward {
            file: File::Resnet,
            owner: "Upsample2D",
            reference: "Upsample2D.forward",
            source: "diffusers/models/upsampling.py",
            paper: RONNEBERGER,
            ..FORWARD
        }),
        ..LAYER
    },
    Class { name: "SiLU", paths: &["**.nonlinearity", "**.conv_act", "**.act"], ..LAYER },
    Class { name: "Dropout", paths: &["**.dropout", "**.to_out.1", "**.ff.net.1"], ..LAYER },
];
