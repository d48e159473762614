//! proto <-> model: the one place where the words of the contract become the domain's, and back.
//!
//! Going out never fails and borrows: `v1::X::from(&x)`. Coming in is checked: `X::try_from(v1)` names the first field
//! that is missing or means nothing. An id of zero is a missing id.

mod event;
mod guild;
mod key;
mod message;
mod presence;
mod read_state;
mod user;
mod voice;

pub use user::user_state;

use clarion_model::time::Timestamp;

/// A message of the contract lacks a field, or has one that means nothing: which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("missing or invalid: {0}")]
pub struct Invalid(pub &'static str);

/// What cannot be invalid may be asked for like everything else.
impl From<std::convert::Infallible> for Invalid {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// A field that must be there.
fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Invalid> {
    value.ok_or(Invalid(field))
}

/// An id that must be there.
fn id<T>(value: u64, make: impl Fn(u64) -> T, field: &'static str) -> Result<T, Invalid> {
    if value == 0 { Err(Invalid(field)) } else { Ok(make(value)) }
}

/// An id that may be absent, but not zero.
fn maybe_id<T>(value: Option<u64>, make: impl Fn(u64) -> T, field: &'static str) -> Result<Option<T>, Invalid> {
    value.map(|value| id(value, make, field)).transpose()
}

/// Ids, none of them zero.
fn ids<T, C: FromIterator<T>>(values: Vec<u64>, make: impl Fn(u64) -> T, field: &'static str) -> Result<C, Invalid> {
    values.into_iter().map(|value| id(value, &make, field)).collect()
}

/// Every element, or the first one's fault.
fn all<P, M: TryFrom<P, Error = Invalid>>(values: Vec<P>) -> Result<Vec<M>, Invalid> {
    values.into_iter().map(M::try_from).collect()
}

/// Every element, on its way out.
fn each<'a, M: 'a, P: From<&'a M>>(values: impl IntoIterator<Item = &'a M>) -> Vec<P> {
    values.into_iter().map(P::from).collect()
}

/// An instant, from its microseconds.
fn at(us: u64) -> Timestamp {
    Timestamp::from_micros(us)
}
