//! The session descriptions that are understood and given: audio in Opus, one bundle, the server passive and ICE-lite.

mod answer;
mod fragment;
mod offer;

pub(crate) use answer::{Candidates, Local, Plan, Stream, answer};
pub(crate) use fragment::{Fragment, fragment};
pub(crate) use offer::{Media, OfferError, parse};
