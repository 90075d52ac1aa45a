//! The table of the constructor arguments of diffusers 0.42.1.
//!
//! This file is over 400 lines because it is one table, an entry an argument.

use super::{Argument, Of, of, only};
use crate::phrase::phrase;
use crate::scheduler::class::Class;

use Class::{
    Ddim, Ddpm, DpmSolverMultistep, EulerAncestralDiscrete, EulerDiscrete, HeunDiscrete, Lcm, LmsDiscrete,
    Pndm, UniPcMultistep,
};

const ALL: &[Class] = &[
    Ddim,
    Ddpm,
    Pndm,
    EulerDiscrete,
    EulerAncestralDiscrete,
    HeunDiscrete,
    LmsDiscrete,
    DpmSolverMultistep,
    UniPcMultistep,
    Lcm,
];
/// The classes with the betas of DDPM's paper by default.
const OF_DDPM: &[Class] = &[
    Ddim,
    Ddpm,
    Pndm,
    EulerDiscrete,
    EulerAncestralDiscrete,
    LmsDiscrete,
    DpmSolverMultistep,
    UniPcMultistep,
];
const WITH_GRIDS: &[Class] = &[EulerDiscrete, HeunDiscrete, LmsDiscrete, DpmSolverMultistep, UniPcMultistep];
const SOLVERS: &[Class] = &[DpmSolverMultistep, UniPcMultistep];
const BETAS: &[&str] = &[r#""linear""#, r#""scaled_linear""#, r#""squaredcos_cap_v2""#];
const FALSE: &[&str] = &["false"];
const NULL: &[&str] = &["null"];
const SPACINGS: &[&str] = &[r#""leading""#, r#""trailing""#, r#""linspace""#];
const PREDICTIONS: &[&str] = &[r#""epsilon""#, r#""v_prediction""#, r#""sample""#];
const NOT_SAMPLE: &[&str] = &[r#""epsilon""#, r#""v_prediction""#];

/// Every argument of diffusers 0.42.1.
pub const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "num_train_timesteps",
        summary: phrase("number of timesteps in training"),
        of: &[of(ALL, "1000")],
        field: Some(|c| &mut c.num_train_timesteps),
    },
    Argument {
        name: "beta_start",
        summary: phrase("the first beta"),
        of: &[of(OF_DDPM, "0.0001"), of(&[HeunDiscrete, Lcm], "0.00085")],
        field: Some(|c| &mut c.beta_start),
    },
    Argument {
        name: "beta_end",
        summary: phrase("the last beta"),
        of: &[of(OF_DDPM, "0.02"), of(&[HeunDiscrete, Lcm], "0.012")],
        field: Some(|c| &mut c.beta_end),
    },
    Argument {
        name: "beta_schedule",
        summary: phrase("the betas between the first and the last"),
        of: &[
            only(
                &[
                    Ddim,
                    Pndm,
                    EulerDiscrete,
                    EulerAncestralDiscrete,
                    LmsDiscrete,
                    DpmSolverMultistep,
                    UniPcMultistep,
                ],
                r#""linear""#,
                BETAS,
            ),
            only(
                &[Ddpm],
                r#""linear""#,
                &[
                    r#""linear""#,
                    r#""scaled_linear""#,
                    r#""squaredcos_cap_v2""#,
                    r#""sigmoid""#,
                    r#""laplace""#,
                ],
            ),
            only(
                &[HeunDiscrete],
                r#""linear""#,
                &[r#""linear""#, r#""scaled_linear""#, r#""squaredcos_cap_v2""#, r#""exp""#],
            ),
            only(&[Lcm], r#""scaled_linear""#, BETAS),
        ],
        field: Some(|c| &mut c.beta_schedule),
    },
    Argument {
        name: "trained_betas",
        summary: phrase("the betas themselves"),
        of: &[of(ALL, "null")],
        field: Some(|c| &mut c.trained_betas),
    },
    Argument {
        name: "rescale_betas_zero_snr",
        summary: phrase("the last timestep is pure noise"),
        of: &[of(
            &[Ddim, Ddpm, EulerDiscrete, EulerAncestralDiscrete, DpmSolverMultistep, UniPcMultistep, Lcm],
            "false",
        )],
        field: Some(|c| &mut c.rescale_betas_zero_snr),
    },
    Argument {
        name: "prediction_type",
        summary: phrase("what the model predicts"),
        of: &[
            only(
                &[
                    Ddim,
                    Ddpm,
                    EulerDiscrete,
                    HeunDiscrete,
                    LmsDiscrete,
                    DpmSolverMultistep,
                    UniPcMultistep,
                    Lcm,
                ],
                r#""epsilon""#,
                PREDICTIONS,
            ),
            only(&[Pndm, EulerAncestralDiscrete], r#""epsilon""#, NOT_SAMPLE),
        ],
        field: Some(|c| &mut c.prediction_type),
    },
    Argument {
        name: "timestep_spacing",
        summary: phrase("which training timesteps a run visits"),
        of: &[
            only(&[Ddim, Ddpm, Pndm], r#""leading""#, SPACINGS),
            // Known to LCM, and without effect there.
            only(&[Lcm], r#""leading""#, SPACINGS),
            only(
                &[
                    EulerDiscrete,
                    EulerAncestralDiscrete,
                    HeunDiscrete,
                    LmsDiscrete,
                    DpmSolverMultistep,
                    UniPcMultistep,
                ],
                r#""linspace""#,
                SPACINGS,
            ),
        ],
        field: Some(|c| &mut c.timestep_spacing),
    },
    Argument {
        name: "steps_offset",
        summary: phrase("added to every timestep under leading spacing"),
        of: &[of(ALL, "0")],
        field: Some(|c| &mut c.steps_offset),
    },
    Argument {
        name: "set_alpha_to_one",
        summary: phrase("ᾱ after the last step is 1, or that of timestep 0"),
        of: &[of(&[Ddim, Lcm], "true"), of(&[Pndm], "false")],
        field: Some(|c| &mut c.set_alpha_to_one),
    },
    Argument {
        name: "clip_sample",
        summary: phrase("pred_original_sample is clipped"),
        of: &[of(&[Ddim, Ddpm], "true"), of(&[HeunDiscrete, Lcm], "false")],
        field: Some(|c| &mut c.clip_sample),
    },
    Argument {
        name: "clip_sample_range",
        summary: phrase("the bound of clipping"),
        of: &[of(&[Ddim, Ddpm, HeunDiscrete, Lcm], "1.0")],
        field: Some(|c| &mut c.clip_sample_range),
    },
    Argument {
        name: "thresholding",
        summary: phrase("dynamic thresholding of pred_original_sample"),
        of: &[of(&[Ddim, Ddpm, DpmSolverMultistep, UniPcMultistep, Lcm], "false")],
        field: Some(|c| &mut c.thresholding),
    },
    Argument {
        name: "dynamic_thresholding_ratio",
        summary: phrase("the quantile of dynamic thresholding"),
        of: &[of(&[Ddim, Ddpm, DpmSolverMultistep, UniPcMultistep, Lcm], "0.995")],
        field: Some(|c| &mut c.dynamic_thresholding_ratio),
    },
    Argument {
        name: "sample_max_value",
        summary: phrase("the largest divisor of dynamic thresholding"),
        of: &[of(&[Ddim, Ddpm, DpmSolverMultistep, UniPcMultistep, Lcm], "1.0")],
        field: Some(|c| &mut c.sample_max_value),
    },
    Argument {
        name: "use_karras_sigmas",
        summary: phrase("sigmas spaced as Karras et al. do"),
        of: &[of(WITH_GRIDS, "false")],
        field: Some(|c| &mut c.use_karras_sigmas),
    },
    Argument {
        name: "use_exponential_sigmas",
        summary: phrase("logarithms of sigmas equally spaced"),
        of: &[of(WITH_GRIDS, "false")],
        field: Some(|c| &mut c.use_exponential_sigmas),
    },
    Argument {
        name: "use_beta_sigmas",
        summary: phrase("sigmas at quantiles of a beta distribution"),
        of: &[of(WITH_GRIDS, "false")],
        field: Some(|c| &mut c.use_beta_sigmas),
    },
    Argument {
        name: "use_lu_lambdas",
        summary: phrase("log SNR equally spaced"),
        of: &[of(&[DpmSolverMultistep], "false")],
        field: Some(|c| &mut c.use_lu_lambdas),
    },
    Argument {
        name: "use_flow_sigmas",
        summary: phrase("the sigmas of flow matching"),
        of: &[only(SOLVERS, "false", FALSE)],
        field: None,
    },
    Argument {
        name: "flow_shift",
        summary: phrase("without effect while use_flow_sigmas is false"),
        of: &[of(SOLVERS, "1.0")],
        field: None,
    },
    Argument {
        name: "use_dynamic_shifting",
        summary: phrase("sigmas that depend on the size of the image"),
        of: &[only(SOLVERS, "false", FALSE)],
        field: None,
    },
    Argument {
        name: "time_shift_type",
        summary: phrase("without effect while use_dynamic_shifting is false"),
        of: &[of(SOLVERS, r#""exponential""#)],
        field: None,
    },
    Argument {
        name: "shift_terminal",
        summary: phrase("the last timestep of flow matching"),
        of: &[only(&[UniPcMultistep], "null", NULL)],
        field: None,
    },
    Argument {
        name: "sigma_min",
        summary: phrase("the last sigma of a grid"),
        of: &[of(&[EulerDiscrete, UniPcMultistep], "null")],
        field: Some(|c| &mut c.sigma_min),
    },
    Argument {
        name: "sigma_max",
        summary: phrase("the first sigma of a grid"),
        of: &[of(&[EulerDiscrete, UniPcMultistep], "null")],
        field: Some(|c| &mut c.sigma_max),
    },
    Argument {
        name: "interpolation_type",
        summary: phrase("sigmas between training timesteps"),
        of: &[only(&[EulerDiscrete], r#""linear""#, &[r#""linear""#, r#""log_linear""#])],
        field: Some(|c| &mut c.interpolation_type),
    },
    Argument {
        name: "timestep_type",
        summary: phrase("whether the model is given a timestep or log σ / 4"),
        of: &[only(&[EulerDiscrete], r#""discrete""#, &[r#""discrete""#, r#""continuous""#])],
        field: Some(|c| &mut c.timestep_type),
    },
    Argument {
        name: "final_sigmas_type",
        summary: phrase("the sigma after the last step"),
        of: &[only(
            &[EulerDiscrete, DpmSolverMultistep, UniPcMultistep],
            r#""zero""#,
            &[r#""zero""#, r#""sigma_min""#],
        )],
        field: Some(|c| &mut c.final_sigmas_type),
    },
    Argument {
        name: "skip_prk_steps",
        summary: phrase("no Runge-Kutta steps at the start"),
        of: &[of(&[Pndm], "false")],
        field: Some(|c| &mut c.skip_prk_steps),
    },
    Argument {
        name: "variance_type",
        summary: phrase("the variance of the noise that a step draws"),
        of: &[only(
            &[Ddpm],
            r#""fixed_small""#,
            &[r#""fixed_small""#, r#""fixed_small_log""#, r#""fixed_large""#],
        )],
        field: Some(|c| &mut c.variance_type),
    },
    Argument {
        name: "variance_type",
        summary: phrase("a variance that the model predicts"),
        of: &[only(&[DpmSolverMultistep], "null", NULL)],
        field: None,
    },
    Argument {
        name: "algorithm_type",
        summary: phrase("the equation that is solved"),
        of: &[Of {
            aliases: &[(r#""deis""#, r#""dpmsolver++""#)],
            ..only(
                &[DpmSolverMultistep],
                r#""dpmsolver++""#,
                &[r#""dpmsolver""#, r#""dpmsolver++""#, r#""sde-dpmsolver""#, r#""sde-dpmsolver++""#],
            )
        }],
        field: Some(|c| &mut c.algorithm_type),
    },
    Argument {
        name: "solver_order",
        summary: phrase("the highest order of a step"),
        of: &[only(SOLVERS, "2", &["1", "2", "3"])],
        field: Some(|c| &mut c.solver_order),
    },
    Argument {
        name: "solver_type",
        summary: phrase("the form of a step of order 2"),
        of: &[
            Of {
                aliases: &[
                    (r#""logrho""#, r#""midpoint""#),
                    (r#""bh1""#, r#""midpoint""#),
                    (r#""bh2""#, r#""midpoint""#),
                ],
                ..only(&[DpmSolverMultistep], r#""midpoint""#, &[r#""midpoint""#, r#""heun""#])
            },
            Of {
                aliases: &[
                    (r#""midpoint""#, r#""bh2""#),
                    (r#""heun""#, r#""bh2""#),
                    (r#""logrho""#, r#""bh2""#),
                ],
                ..only(&[UniPcMultistep], r#""bh2""#, &[r#""bh1""#, r#""bh2""#])
            },
        ],
        field: Some(|c| &mut c.solver_type),
    },
    Argument {
        name: "lower_order_final",
        summary: phrase("the last steps of a short run have a lower order"),
        of: &[of(SOLVERS, "true")],
        field: Some(|c| &mut c.lower_order_final),
    },
    Argument {
        name: "euler_at_final",
        summary: phrase("the last step has order 1"),
        of: &[of(&[DpmSolverMultistep], "false")],
        field: Some(|c| &mut c.euler_at_final),
    },
    Argument {
        name: "lambda_min_clipped",
        summary: phrase("the lowest log(α / σ) at which a run begins"),
        of: &[of(&[DpmSolverMultistep], r#""-Infinity""#)],
        field: Some(|c| &mut c.lambda_min_clipped),
    },
    Argument {
        name: "predict_x0",
        summary: phrase("the solver works on x₀, or on ε"),
        of: &[of(&[UniPcMultistep], "true")],
        field: Some(|c| &mut c.predict_x0),
    },
    Argument {
        name: "disable_corrector",
        summary: phrase("steps after which the corrector does not run"),
        of: &[of(&[UniPcMultistep], "[]")],
        field: Some(|c| &mut c.disable_corrector),
    },
    Argument {
        name: "solver_p",
        summary: phrase("another scheduler as the predictor"),
        of: &[only(&[UniPcMultistep], "null", NULL)],
        field: None,
    },
    Argument {
        name: "original_inference_steps",
        summary: phrase("the number of timesteps in distillation"),
        of: &[of(&[Lcm], "50")],
        field: Some(|c| &mut c.original_inference_steps),
    },
    Argument {
        name: "timestep_scaling",
        summary: phrase("the factor of timesteps in the boundary condition"),
        of: &[of(&[Lcm], "10.0")],
        field: Some(|c| &mut c.timestep_scaling),
    },
];
