//! Labels are closed enums: their values are known before the first one is counted.

use super::LabelSet;

/// A label whose values are the variants of an enum.
pub trait Label: Copy + Send + Sync + 'static {
    /// The label and all its values.
    const SET: LabelSet;
    /// Every variant, in the order of [`LabelSet::values`].
    const VARIANTS: &'static [Self];

    /// The place of this variant.
    fn index(self) -> usize;

    /// The value on `/metrics`.
    fn as_str(self) -> &'static str {
        Self::SET.values[self.index()]
    }

    /// The variant with this value.
    fn parse(value: &str) -> Option<Self> {
        let index = Self::SET.values.iter().position(|v| *v == value)?;
        Self::VARIANTS.get(index).copied()
    }
}

/// An enum that is a label: its name, then each variant with its value.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident = $label:literal { $($variant:ident = $value:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = concat!("`", $value, "`")] $variant),* }
        impl $crate::metric::Label for $name {
            const SET: $crate::metric::LabelSet = $crate::metric::LabelSet { name: $label, values: &[$($value),*] };
            const VARIANTS: &'static [Self] = &[$(Self::$variant),*];
            fn index(self) -> usize { self as usize }
        }
    };
}
pub(super) use label;
