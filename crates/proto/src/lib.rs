//! The contract between services, generated from `proto/clarion/v1`, and the one place that turns it into the domain's
//! words and back.

pub mod convert;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

/// The generated types and services of `clarion.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
pub mod v1 {
    tonic::include_proto!("clarion.v1");
}

pub use v1::*;
