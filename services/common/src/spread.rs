//! How measured times are spread, small enough to send every few seconds and to add up over processes.

use std::collections::BTreeMap;

/// The smallest time that is told from nothing, in milliseconds.
const LEAST_MS: f64 = 0.1;

/// Buckets for each doubling: a time is known to within 9 %.
const PER_DOUBLING: f64 = 4.0;

/// The last bucket: 105 s and above.
const LAST: u32 = 80;

/// How many times fell into each bucket; bucket `n` is around 0.1 ms × 2^(n/4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread(BTreeMap<u32, u32>);

impl Spread {
    /// From buckets and how many fell into each.
    pub fn from_buckets(buckets: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut spread = Self::default();
        for (bucket, count) in buckets {
            spread.count_in(bucket.min(LAST), count);
        }
        spread
    }

    /// Buckets and how many fell into each.
    pub fn buckets(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().map(|(&bucket, &count)| (bucket, count))
    }

    /// Counts a time, in milliseconds.
    pub fn add(&mut self, ms: f64) {
        let above = (ms / LEAST_MS).max(1.0).log2() * PER_DOUBLING;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and LAST"
        )]
        let bucket = above.round().min(f64::from(LAST)) as u32;
        self.count_in(bucket, 1);
    }

    /// Counts all times of another one too.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.buckets() {
            self.count_in(bucket, count);
        }
    }

    fn count_in(&mut self, bucket: u32, count: u32) {
        let counted = self.0.entry(bucket).or_default();
        *counted = counted.saturating_add(count);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.values().copied().fold(0, u32::saturating_add)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The time below which that part of them lies (nearest rank), in milliseconds.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let wanted = f64::from(self.len()) * part;
        let mut seen = 0_u32;
        self.buckets()
            .find(|&(_, count)| {
                seen = seen.saturating_add(count);
                f64::from(seen) >= wanted
            })
            .map(|(bucket, _)| LEAST_MS * (f64::from(bucket) / PER_DOUBLING).exp2())
    }

    /// Those of at most so many milliseconds.
    #[must_use]
    pub fn up_to(&self, ms: f64) -> Self {
        let mut last = Self::default();
        last.add(ms);
        let last = last.0.into_keys().next().unwrap_or(0);
        Self(
            self.0
                .range(..=last)
                .map(|(&b, &count)| (b, count))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    fn spread(times: impl IntoIterator<Item = f64>) -> Spread {
        let mut spread = Spread::default();
        for ms in times {
            spread.add(ms);
        }
        spread
    }

    #[test]
    fn quantiles_are_known_to_within_a_tenth() {
        let times = spread((1..=1_000).map(f64::from));
        assert_eq!(times.len(), 1_000);
        for (part, expected) in [(0.0, 1.0), (0.5, 500.0), (0.9, 900.0), (1.0, 1_000.0)] {
            let found = times.quantile(part).unwrap();
            assert!((found / expected - 1.0).abs() < 0.1, "{part}: {found}");
        }
        assert_eq!(Spread::default().quantile(0.5), None);
    }

    #[test]
    fn what_is_absurd_is_counted_at_the_ends() {
        let times = spread([f64::NAN, -1.0, 0.0, f64::INFINITY]);
        assert_eq!(times.len(), 4);
        assert!(times.quantile(0.5).unwrap() < 0.2);
        assert!(times.quantile(1.0).unwrap() > 100_000.0);
    }

    #[test]
    fn spreads_add_up_and_travel() {
        let mut one = spread([1.0, 2.0]);
        let other = spread([2.0, 400.0]);
        one.merge(&other);
        assert_eq!(one, spread([1.0, 2.0, 2.0, 400.0]));
        assert_eq!(Spread::from_buckets(one.buckets()), one);
        assert_eq!(Spread::from_buckets([(u32::MAX, 1)]).len(), 1);
        assert_eq!(one.up_to(300.0), spread([1.0, 2.0, 2.0]));
    }
}
