//! `CLIPTextModel` (transformers): 77 token ids → 77 embeddings (Radford et al., 2021, section 2.4).

use crate::nn::activation::Activation;
use crate::nn::attention::DotProductAttention;
use crate::nn::layers::{Embedding, LayerNorm, Leaf, Linear, embedding, layer_norm, linear};
use crate::nn::{ConfigError, ConfigFile, Path, Probe, Result, Weights, WeightsError, watch};
use crate::phrase::phrase;
use candle_core::{DType, Device, Tensor};
use serde_json::json;
use tr::tr;

/// `text_encoder/config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipTextConfig {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Width of an embedding (C).
    pub hidden_size: usize,
    /// Width of the MLP's hidden layer.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of heads of each attention.
    pub num_attention_heads: usize,
    /// The largest number of tokens: 77.
    pub max_position_embeddings: usize,
    /// The MLP's activation.
    pub hidden_act: Activation,
    /// Epsilon of every layer norm.
    pub layer_norm_eps: f64,
    /// Whether attention masks the padding. False in Stable Diffusion: padding is attended to.
    pub use_attention_mask: bool,
}

impl ClipTextConfig {
    /// Reads the file, with transformers' defaults for absent keys. From a whole `CLIPModel` it reads `text_config`.
    ///
    /// # Errors
    /// When a known key has a value that is not supported.
    pub fn read(file: &ConfigFile) -> std::result::Result<Self, ConfigError> {
        file.only("model_type", &[json!("clip_text_model"), json!("clip")])?;
        if file.raw("model_type") == Some(&json!("clip")) {
            for ignored in WHOLE_MODEL_ONLY.into_iter().chain(TRAINING_ONLY) {
                file.raw(ignored);
            }
            return Self::read(
                &file.section("text_config", phrase("an object, the text model's configuration"))?,
            );
        }
        let hidden_act = match file.or("hidden_act", "quick_gelu".to_string(), phrase("a name"))?.as_str() {
            "gelu" => Activation::Gelu,
            "quick_gelu" => Activation::QuickGelu,
            _ => return Err(file.wrong("hidden_act", phrase(r#"one of "gelu", "quick_gelu""#))),
        };
        let config = Self {
            vocab_size: file.count("vocab_size", 49408)?,
            hidden_size: file.count("hidden_size", 512)?,
            intermediate_size: file.count("intermediate_size", 2048)?,
            num_hidden_layers: file.count("num_hidden_layers", 12)?,
            num_attention_heads: file.count("num_attention_heads", 8)?,
            max_position_embeddings: file.count("max_position_embeddings", 77)?,
            hidden_act,
            layer_norm_eps: file.number("layer_norm_eps", 1e-5)?,
            use_attention_mask: file.or("use_attention_mask", false, phrase("true or false"))?,
        };
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            let expected = tr!("a divisor of `hidden_size`, {}", config.hidden_size);
            return Err(file.wrong("num_attention_heads", &expected));
        }
        if config.max_position_embeddings < 77 {
            return Err(file.wrong("max_position_embeddings", phrase("at least 77, the length of a prompt")));
        }
        for ignored in TRAINING_ONLY {
            file.raw(ignored);
        }
        Ok(config)
    }
}

/// Keys about training, and token ids, which come from the tokenizer.
const TRAINING_ONLY: [&str; 13] = [
    "architectures",
    "attention_dropout",
    "bos_token_id",
    "dropout",
    "dtype",
    "eos_token_id",
    "initializer_factor",
    "initializer_range",
    "pad_token_id",
    "projection_dim",
    "torch_dtype",
    "transformers_version",
    "gradient_checkpointing",
];

/// Keys of a `CLIPModel` that do not concern the text model.
const WHOLE_MODEL_ONLY: [&str; 4] =
    ["vision_config", "text_config_dict", "vision_config_dict", "logit_scale_init_value"];

/// CLIP's text encoder.
#[derive(Debug)]
pub struct ClipTextModel {
    path: Path,
    embeddings: ClipTextEmbeddings,
    encoder: ClipEncoder,
    final_layer_norm: Leaf<LayerNorm>,
    config: ClipTextConfig,
    device: Device,
    dtype: DType,
}

impl ClipTextModel {
    /// Loads the model, with the key names of transformers 4 (`text_model.…`) or 5. From a whole `CLIPModel`, the vision model,
    /// the projections and `logit_scale` are left out.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit `config`.
    pub fn load(weights: &Weights, config: ClipTextConfig) -> std::result::Result<Self, WeightsError> {
        let old_names = weights.has("text_model.embeddings.token_embedding.weight");
        let weights = if old_names { weights.pp_in_file("text_model") } else { weights.clone() };
        let (size, eps) = (config.hidden_size, config.layer_norm_eps);
        Ok(Self {
            path: weights.path(),
            embeddings: ClipTextEmbeddings::load(&weights.pp("embeddings"), &config)?,
            encoder: ClipEncoder::load(&weights.pp("encoder"), &config)?,
            final_layer_norm: layer_norm(&weights.pp("final_layer_norm"), size, eps)?,
            config,
            device: weights.device().clone(),
            dtype: weights.dtype(),
        })
    }

    /// Gives `ids`, which are in a row, vectors of their own (textual inversion).
    ///
    /// # Errors
    /// When the vectors do not have the width of an embedding, or the ids are not in a row.
    pub fn add_vectors(&mut self, ids: &[u32], vectors: &[Vec<f32>]) -> candle_core::Result<()> {
        let Some(&first) = ids.first() else { return Ok(()) };
        if !(first..).zip(ids).all(|(expected, id)| expected == *id) {
            candle_core::bail!("{}", tr!("the added tokens' ids are not in a row"));
        }
        let rows = Tensor::from_vec(vectors.concat(), (ids.len(), self.config.hidden_size), &self.device)?;
        self.embeddings.token_embedding.add_rows(first, rows.to_dtype(self.dtype)?);
        Ok(())
    }

    /// The configuration that it was loaded with.
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// `input_ids` (B, N) of `u32`, and `attention_mask` (B, N) of 0 and 1, if there is one → the embeddings (B, N, C), after
    /// `final_layer_norm`. Stable Diffusion has no mask, unless the configuration sets `use_attention_mask`.
    ///
    /// `clip_skip` has a number N for each row: its embeddings are the output of the layer that is N before the last. For 0, and for
    /// rows that it lacks, they are transformers' `last_hidden_state`.
    ///
    /// # Errors
    /// When an id is outside the vocabulary, or a row skips more layers than there are.
    pub fn forward(
        &self,
        input_ids: &Tensor,
        attention_mask: Option<&Tensor>,
        clip_skip: &[usize],
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        watch(probe, &self.path, &[input_ids], |probe| {
            let mut hidden_states = self.embeddings.forward(input_ids, probe)?;
            let mut mask = causal_mask(input_ids.dim(1)?, input_ids.device())?;
            if let Some(attention_mask) = attention_mask {
                mask = mask.broadcast_add(&padding_mask(attention_mask)?)?;
            }
            let mut of_layers = vec![hidden_states.clone()];
            hidden_states = self.encoder.forward(&hidden_states, &mask, &mut of_layers, probe)?;
            if clip_skip.iter().any(|&layers| layers > 0) {
                hidden_states = skipped(&hidden_states, &of_layers, clip_skip)?;
            }
            self.final_layer_norm.forward(&hidden_states, probe)
        })
    }
}

/// `last` (B, N, C) with the rows that skip layers taken from `of_layers`: the encoder's input, then every layer's output (transformers
/// `hidden_states`).
fn skipped(last: &Tensor, of_layers: &[Tensor], clip_skip: &[usize]) -> Result<Tensor> {
    let row = |row: usize| match clip_skip.get(row) {
        None | Some(0) => Ok(last.narrow(0, row, 1)?),
        Some(&layers) => match of_layers.len().checked_sub(layers + 1) {
            Some(layer) => Ok(of_layers[layer].narrow(0, row, 1)?),
            None => Err(crate::nn::Error::Input(tr!(
                "clip_skip is {layers}, and the text encoder ran {} layers",
                of_layers.len() - 1,
                layers
            ))),
        },
    };
    Ok(Tensor::cat(&(0..last.dim(0)?).map(row).collect::<Result<Vec<_>>>()?, 0)?)
}

/// Token embeddings plus position embeddings (transformers `CLIPTextEmbeddings`).
#[derive(Debug)]
struct ClipTextEmbeddings {
    path: Path,
    token_embedding: Leaf<Embedding>,
    position_embedding: Leaf<Embedding>,
}

impl ClipTextEmbeddings {
    fn load(weights: &Weights, config: &ClipTextConfig) -> std::result::Result<Self, WeightsError> {
        let table = |name, count| embedding(&weights.pp(name), count, config.hidden_size);
        Ok(Self {
            path: weights.path(),
            token_embedding: table("token_embedding", config.vocab_size)?,
            position_embedding: table("position_embedding", config.max_position_embeddings)?,
        })
    }

    /// (B, N) of `u32` → (B, N, C).
    fn forward(&self, input_ids: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[input_ids], |probe| {
            let position_ids =
                Tensor::arange(0, input_ids.dim(1)? as u32, input_ids.device())?.unsqueeze(0)?;
            let tokens = self.token_embedding.forward(input_ids, probe)?;
            let positions = self.position_embedding.forward(&position_ids, probe)?;
            Ok(tokens.broadcast_add(&positions)?)
        })
    }
}

/// The stack of transformer layers (transformers `CLIPEncoder`).
#[derive(Debug)]
struct ClipEncoder {
    path: Path,
    layers: Vec<ClipEncoderLayer>,
}

impl ClipEncoder {
    fn load(weights: &Weights, config: &ClipTextConfig) -> std::result::Result<Self, WeightsError> {
        Ok(Self {
            path: weights.path(),
            layers: (0..config.num_hidden_layers)
                .map(|i| ClipEncoderLayer::load(&weights.pp("layers").pp(i), config))
                .collect::<std::result::Result<_, _>>()?,
        })
    }

    /// (B, N, C) → (B, N, C). Every layer's output is added to `of_layers`.
    fn forward(
        &self,
        hidden_states: &Tensor,
        mask: &Tensor,
        of_layers: &mut Vec<Tensor>,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            let mut hidden_states = hidden_states.clone();
            for layer in &self.layers {
                hidden_states = layer.forward(&hidden_states, mask, probe)?;
                of_layers.push(hidden_states.clone());
            }
            Ok(hidden_states)
        })
    }
}

/// Added to a masked score: its probability becomes 0. Finite, so that a row in which everything is masked gives no NaN.
const MASKED: f32 = -1e30;

/// (N, N): 0 for a token itself and earlier ones, [`MASKED`] for later ones.
fn causal_mask(n: usize, device: &Device) -> candle_core::Result<Tensor> {
    let mask: Vec<f32> = (0..n).flat_map(|i| (0..n).map(move |j| if j > i { MASKED } else { 0. })).collect();
    Tensor::from_vec(mask, (n, n), device)
}

/// (B, N) of 0 and 1 → (B, 1, 1, N): [`MASKED`] at the padding.
fn padding_mask(attention_mask: &Tensor) -> candle_core::Result<Tensor> {
    let (batch, n) = attention_mask.dims2()?;
    ((1. - attention_mask.to_dtype(DType::F32)?)? * f64::from(MASKED))?.reshape((batch, 1, 1, n))
}

/// One transformer layer (transformers `CLIPEncoderLayer`).
#[derive(Debug)]
struct ClipEncoderLayer {
    path: Path,
    layer_norm1: Leaf<LayerNorm>,
    self_attn: ClipAttention,
    layer_norm2: Leaf<LayerNorm>,
    mlp: ClipMlp,
}

impl ClipEncoderLayer {
    fn load(weights: &Weights, config: &ClipTextConfig) -> std::result::Result<Self, WeightsError> {
        let (size, eps) = (config.hidden_size, config.layer_norm_eps);
        Ok(Self {
            path: weights.path(),
            layer_norm1: layer_norm(&weights.pp("layer_norm1"), size, eps)?,
            self_attn: ClipAttention::load(&weights.pp("self_attn"), config)?,
            layer_norm2: layer_norm(&weights.pp("layer_norm2"), size, eps)?,
            mlp: ClipMlp::load(&weights.pp("mlp"), config)?,
        })
    }

    /// (B, N, C) → (B, N, C).
    fn forward(&self, hidden_states: &Tensor, mask: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            let normed = self.layer_norm1.forward(hidden_states, probe)?;
            let hidden_states = (hidden_states + self.self_attn.forward(&normed, mask, probe)?)?;
            let normed = self.layer_norm2.forward(&hidden_states, probe)?;
            Ok((&hidden_states + self.mlp.forward(&normed, probe)?)?)
        })
    }
}

/// Causal self-attention (transformers `CLIPAttention`).
#[derive(Debug)]
struct ClipAttention {
    path: Path,
    q_proj: Leaf<Linear>,
    k_proj: Leaf<Linear>,
    v_proj: Leaf<Linear>,
    out_proj: Leaf<Linear>,
    attend: DotProductAttention,
}

impl ClipAttention {
    fn load(weights: &Weights, config: &ClipTextConfig) -> std::result::Result<Self, WeightsError> {
        let path = weights.path();
        let projection = |name| linear(&weights.pp(name), config.hidden_size, config.hidden_size);
        Ok(Self {
            q_proj: projection("q_proj")?,
            k_proj: projection("k_proj")?,
            v_proj: projection("v_proj")?,
            out_proj: projection("out_proj")?,
            attend: DotProductAttention::new(&path, config.num_attention_heads),
            path,
        })
    }

    /// (B, N, C) → (B, N, C).
    fn forward(&self, hidden_states: &Tensor, mask: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            let query = self.q_proj.forward(hidden_states, probe)?;
            let key = self.k_proj.forward(hidden_states, probe)?;
            let value = self.v_proj.forward(hidden_states, probe)?;
            let mixed = self.attend.forward(&query, &key, &value, Some(mask), probe)?;
            self.out_proj.forward(&mixed, probe)
        })
    }
}

/// Two linear layers, C → `intermediate_size` → C, with an activation between (transformers `CLIPMLP`).
#[derive(Debug)]
struct ClipMlp {
    path: Path,
    fc1: Leaf<Linear>,
    activation_fn: Leaf<Activation>,
    fc2: Leaf<Linear>,
}

impl ClipMlp {
    fn load(weights: &Weights, config: &ClipTextConfig) -> std::result::Result<Self, WeightsError> {
        Ok(Self {
            path: weights.path(),
            fc1: linear(&weights.pp("fc1"), config.hidden_size, config.intermediate_size)?,
            activation_fn: config.hidden_act.load(&weights.pp("activation_fn")),
            fc2: linear(&weights.pp("fc2"), config.intermediate_size, config.hidden_size)?,
        })
    }

    /// (B, N, C) → (B, N, C).
    fn forward(&self, hidden_states: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        watch(probe, &self.path, &[hidden_states], |probe| {
            let mut h = self.fc1.forward(hidden_states, probe)?;
            h = self.activation_fn.forward(&h, probe)?;
            self.fc2.forward(&h, probe)
        })
    }
}
