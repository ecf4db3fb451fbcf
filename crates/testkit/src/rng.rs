//! A small deterministic generator (SplitMix64), so that a failure can be
//! repeated from the seed that the test printed.

/// A stream of pseudo-random numbers that its seed determines.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The stream of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream seeded by the kernel's random source, and its seed.
    ///
    /// # Panics
    /// When the kernel has no randomness.
    #[must_use]
    pub fn random() -> (Self, u64) {
        let mut bytes = [0; 8];
        let n = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .expect("getrandom works");
        assert_eq!(n, bytes.len());
        let seed = u64::from_ne_bytes(bytes);
        (Self(seed), seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Fills `buffer` with incompressible bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_determines_the_stream() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        assert_eq!([a.next(), a.next()], [b.next(), b.next()]);
        assert_ne!(Rng::new(8).next(), Rng::new(7).next());
    }
}
