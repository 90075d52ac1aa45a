//! `torch.randn` on the CPU: a seed gives the same noise as in diffusers.
//!
//! Facts from PyTorch's `DistributionTemplates.h` and `TransformationHelper.h`, checked against torch 2.15:
//! the engine is MT19937, seeded with the low 32 bits. Normal numbers come from Box–Muller, in a different order for fewer
//! than 16 numbers.

use std::f32::consts::TAU as TAU_F32;
use std::f64::consts::TAU;

const N: usize = 624;
const M: usize = 397;

/// The Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998): 32 random bits per draw.
#[derive(Clone, PartialEq)]
struct Mt19937 {
    state: [u32; N],
    next: usize,
}

impl Mt19937 {
    fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let previous = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(i as u32);
        }
        Self { state, next: N }
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn draw(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }
}

/// `torch.Generator("cpu")`. Its state is part of a snapshot, so that a step that runs again draws the same numbers.
#[derive(Clone, PartialEq)]
pub struct Generator {
    /// What it was seeded with.
    seed: u64,
    engine: Mt19937,
    /// The second number of the last pair of a small draw.
    spare: Option<f64>,
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generator(mt19937 at {})", self.engine.next)
    }
}

impl Generator {
    /// `torch.Generator("cpu").manual_seed(seed)`. Only the low 32 bits count, as in torch.
    pub fn manual_seed(seed: u64) -> Self {
        Self { seed, engine: Mt19937::new(seed as u32), spare: None }
    }

    /// `torch.Generator.get_state()`, byte for byte: `CPUGeneratorImplState` in PyTorch's `CPUGeneratorImpl.cpp`.
    pub fn state(&self) -> Vec<u8> {
        let Mt19937 { state, next } = &self.engine;
        // torch counts down to the next twist, and begins with a count of 1 at position 0.
        let is_fresh = *self == Self::manual_seed(self.seed);
        let (left, next) = if is_fresh { (1, 0) } else { (N + 1 - next, *next) };
        let mut bytes = Vec::with_capacity(5056);
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend((left as u32).to_le_bytes());
        bytes.extend(1u32.to_le_bytes()); // seeded
        bytes.extend((next as u64).to_le_bytes());
        bytes.extend(state.iter().flat_map(|&word| u64::from(word).to_le_bytes()));
        bytes.extend(0f64.to_le_bytes()); // normal_x, no longer used
        bytes.extend(self.spare.unwrap_or(0.).to_le_bytes()); // normal_y
        bytes.extend(0f64.to_le_bytes()); // normal_rho, no longer used
        bytes.extend(u64::from(self.spare.is_some()).to_le_bytes());
        bytes.extend([0; 8]); // a spare number in f32, and whether there is one
        bytes
    }

    /// `torch.randn(n, generator=self, dtype=torch.float32)`: `n` numbers of mean 0 and variance 1.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        if n < 16 { (0..n).map(|_| self.normal() as f32).collect() } else { self.normal_blocks(n) }
    }

    /// Uniform on [0, 1) with 24 bits, as torch's `uniform_real_distribution<float>`.
    fn uniform(&mut self) -> f32 {
        (self.engine.draw() & 0x00ff_ffff) as f32 * (1. / (1 << 24) as f32)
    }

    /// Uniform on [0, 1) with 53 bits from two draws.
    fn uniform_f64(&mut self) -> f64 {
        let bits = (u64::from(self.engine.draw()) << 32) | u64::from(self.engine.draw());
        (bits & ((1 << 53) - 1)) as f64 * (1. / (1u64 << 53) as f64)
    }

    /// One number of a small draw: Box–Muller in `f64`, a pair at a time.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (u1, u2) = (self.uniform_f64(), self.uniform_f64());
        let (r, theta) = ((-2. * (-u2).ln_1p()).sqrt(), TAU * u1);
        self.spare = Some(r * theta.sin());
        r * theta.cos()
    }

    /// A draw of 16 or more numbers: Box–Muller over blocks of 16 uniforms, eight radii and eight angles.
    /// If the length is no multiple of 16, the last 16 outputs are drawn again.
    fn normal_blocks(&mut self, n: usize) -> Vec<f32> {
        let mut out: Vec<f32> = (0..n).map(|_| self.uniform()).collect();
        for block in out.chunks_exact_mut(16) {
            box_muller(block);
        }
        if !n.is_multiple_of(16) {
            let tail = &mut out[n - 16..];
            tail.fill_with(|| self.uniform());
            box_muller(tail);
        }
        out
    }
}

/// 16 uniforms to 16 normals, in place: `u[j]` gives the radius and `u[j + 8]` the angle of outputs j, j + 8.
fn box_muller(block: &mut [f32]) {
    for j in 0..8 {
        let radius = (-2. * (1. - block[j]).ln()).sqrt();
        let theta = TAU_F32 * block[j + 8];
        block[j] = radius * theta.cos();
        block[j + 8] = radius * theta.sin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_mt19937() {
        // The C++ standard's check: draw 10,000 from the default seed.
        let mut engine = Mt19937::new(5489);
        let last = (0..10_000).map(|_| engine.draw()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn only_the_low_32_bits_of_a_seed_count() {
        let draw = |seed| Generator::manual_seed(seed).randn(20);
        assert_eq!(draw(5), draw((1 << 32) + 5));
        assert_ne!(draw(5), draw(6));
    }

    /// Seeds, the sizes of draws after each, and the digest of the state.
    const STATES: &[(u64, &[usize], u64)] = &[
        (0, &[], 0xd383_c07a_b3df_60e4),
        (5, &[], 0x1b35_da5b_1d8e_2398),
        ((1 << 32) + 5, &[], 0xc5e3_328f_8f82_99e5),
        (u64::MAX, &[], 0x6c31_680f_0748_56a2),
        (0, &[3], 0xe261_32cc_fee7_865d),
        (0, &[4], 0xaa07_661f_76f7_74a7),
        (7, &[20], 0xfb8b_6149_5daa_7501),
        (7, &[3, 20, 5], 0xbc6e_6405_1e04_f7c1),
        (1, &[624], 0xf2b2_3243_b765_3575),
        (1, &[16, 600, 8], 0x1e07_6c5a_3fec_17ea),
    ];

    /// Digests of `torch.Generator().manual_seed(seed).get_state()` after draws, torch 2.15.
    #[test]
    fn the_state_is_torchs() {
        for (seed, draws, digest) in STATES {
            let mut generator = Generator::manual_seed(*seed);
            draws.iter().for_each(|&n| drop(generator.randn(n)));
            let state = generator.state();
            assert_eq!(state.len(), 5056);
            // FNV-1a, 64 bits.
            let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            let found = state.iter().fold(0xcbf2_9ce4_8422_2325, hash);
            assert_eq!(found, *digest, "seed {seed} after {draws:?}");
        }
    }

    #[test]
    fn a_cloned_generator_repeats() {
        let mut a = Generator::manual_seed(0);
        a.randn(3);
        let mut b = a.clone();
        assert_eq!(a.randn(5), b.randn(5));
    }
}
