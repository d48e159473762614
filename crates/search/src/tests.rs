//! The service over a store of its own and an index that fails as planned.

mod bench;
mod faults;
mod following;
