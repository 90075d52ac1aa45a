//! The arguments of schedulers that take one of a few names.

/// An enumeration of the values that an argument can have, with their names in diffusers.
macro_rules! choices {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// Every value with its name.
            pub const ALL: &[(&str, Self)] = &[$(($text, Self::$variant)),*];

            /// The value's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

choices! {
    /// `beta_schedule`: the betas from `beta_start` to `beta_end`.
    BetaSchedule {
        /// Equally spaced (Ho et al., 2020).
        Linear = "linear",
        /// Square roots equally spaced: Stable Diffusion's.
        ScaledLinear = "scaled_linear",
        /// ᾱ is a squared cosine (Nichol and Dhariwal, 2021).
        SquaredcosCapV2 = "squaredcos_cap_v2",
        /// ᾱ falls exponentially.
        Exp = "exp",
        /// Betas follow a sigmoid (Xu et al., 2022, "GeoDiff").
        Sigmoid = "sigmoid",
        /// log SNR follows a Laplace distribution.
        Laplace = "laplace",
    }
}

choices! {
    /// `prediction_type`: what the model predicts.
    PredictionType {
        /// The noise in the sample.
        Epsilon = "epsilon",
        /// Velocity v = √ᾱ·ε − √(1−ᾱ)·x₀ (Salimans and Ho, 2022, appendix D).
        VPrediction = "v_prediction",
        /// The sample without noise, x₀.
        Sample = "sample",
    }
}

choices! {
    /// `timestep_spacing` (Lin et al., 2024, table 2).
    TimestepSpacing {
        /// Multiples of T / N from 0 up: the last timestep is never visited.
        Leading = "leading",
        /// From the last timestep down.
        Trailing = "trailing",
        /// From the last timestep to 0, both visited.
        Linspace = "linspace",
    }
}

choices! {
    /// `interpolation_type`: sigmas between training timesteps.
    InterpolationType {
        /// Sigma is linear in the timestep.
        Linear = "linear",
        /// The logarithms of the run's sigmas are equally spaced.
        LogLinear = "log_linear",
    }
}

choices! {
    /// `timestep_type`: what the model is given.
    TimestepType {
        /// A timestep.
        Discrete = "discrete",
        /// log σ / 4, if the model predicts v; otherwise a timestep.
        Continuous = "continuous",
    }
}

choices! {
    /// `final_sigmas_type`: the sigma after the last step.
    FinalSigmasType {
        /// 0.
        Zero = "zero",
        /// The lowest of the schedule.
        SigmaMin = "sigma_min",
    }
}

choices! {
    /// `variance_type`: the variance of DDPM's noise (Ho et al., 2020, section 3.2).
    VarianceType {
        /// β̃_t, the variance of the posterior.
        FixedSmall = "fixed_small",
        /// The same, through its logarithm.
        FixedSmallLog = "fixed_small_log",
        /// β_t.
        FixedLarge = "fixed_large",
    }
}

choices! {
    /// `algorithm_type` of DPM-Solver.
    AlgorithmType {
        /// The ODE in ε (Lu et al., 2022, "DPM-Solver").
        DpmSolver = "dpmsolver",
        /// The ODE in x₀ (Lu et al., 2022, "DPM-Solver++").
        DpmSolverPlusPlus = "dpmsolver++",
        /// The SDE in ε.
        SdeDpmSolver = "sde-dpmsolver",
        /// The SDE in x₀ ("DPM-Solver++", section 6).
        SdeDpmSolverPlusPlus = "sde-dpmsolver++",
    }
}

impl AlgorithmType {
    /// Whether the solver works on x₀. If not, on ε.
    pub fn predicts_x0(self) -> bool {
        matches!(self, Self::DpmSolverPlusPlus | Self::SdeDpmSolverPlusPlus)
    }

    /// Whether each step draws noise.
    pub fn is_stochastic(self) -> bool {
        matches!(self, Self::SdeDpmSolver | Self::SdeDpmSolverPlusPlus)
    }
}

choices! {
    /// `solver_type` of DPM-Solver and UniPC.
    SolverType {
        /// DPM-Solver's second order as a midpoint method.
        Midpoint = "midpoint",
        /// DPM-Solver's second order as Heun's method.
        Heun = "heun",
        /// UniPC with B(h) = h (Zhao et al., 2023, section 3.1).
        Bh1 = "bh1",
        /// UniPC with B(h) = e^h − 1.
        Bh2 = "bh2",
    }
}
